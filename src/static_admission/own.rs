//! The policy over gitadel's own webhook configuration.
//!
//! It may be stored as the reconciler generates it, by anybody, and not be deleted. What may vary is what the reconciler
//! computes anew from one commit to the next:
//! - which kinds are registered, of those that are served, and that the entry for the rest leaves out no other: a rule
//!   for a version that is not served would match nothing, and what it names reach neither of the two;
//! - which exemptions the entry for registered kinds has: those that concern them;
//! - which of the given authorities are in use.
//!
//! Only what would be stored counts, not what was. So a policy for the next scope or the next version of gitadel can come
//! first: what is stored stays in force meanwhile, and nobody can change it but into what the new policy says.
//!
//! Traps: of an absent field, `==` is an error, and an error a denial: read with `.?`. `object` is null in a DELETE, which
//! has its name in `oldObject` alone where it is one of a collection.

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, ValidatingWebhook, Validation, Variable};
use serde_json::{Map, Value, json};

use super::manifest::{Policy, validation, variable};
use super::{Protection, seen};
use crate::admission::coverage::can_keep_out;
use crate::cel::{list, literal, quote};
use crate::reconcile::webhook_configuration::NAME;
use crate::reconcile::webhook_configuration::generate::{ENTRY_DOMAIN, KEPT_OUT, KEPT_OUT_NAME};

pub const RESOURCE: &str = "validatingwebhookconfigurations";
/// Fields of an entry that are looked at one by one; all others are one comparison, also those of a later API.
const APART: [&str; 4] = ["name", "clientConfig", "matchConditions", "rules"];

/// CEL that is true for requests that concern gitadel's configuration.
pub fn concerns_own() -> String {
    format!(
        "request.resource.resource == '{RESOURCE}' && \
         (request.operation == 'DELETE' ? oldObject : object).?metadata.?name.orValue('') == {}",
        quote(NAME)
    )
}

pub fn policy(protection: &Protection) -> Policy {
    let configuration = protection.configuration();
    let rests = configuration.webhooks.as_deref().unwrap_or_default();
    let mut variables = vec![
        // A write that leaves the entries as they are may mend the rest of the object.
        variable(
            "judged",
            "request.operation == 'CREATE' || (request.operation == 'UPDATE' && object.?webhooks != oldObject.?webhooks)",
        ),
        variable("entries", "object.?webhooks.orValue([])"),
        variable("clients", literal(&clients(protection))),
        variable("served", list(protection.served())),
    ];
    let names: Vec<_> = rests.iter().flat_map(|rest| [registered_name(rest), rest.name.clone()]).collect();
    let mut validations = vec![
        validation(
            "request.operation != 'DELETE'",
            "gitadel's webhook configuration cannot be deleted through the API: see \"Static protection\" in gitadel's docs/operations.md",
        ),
        validation(
            format!("request.operation == 'DELETE' || ({})", metadata(&seen(&configuration.metadata))),
            "gitadel's webhook configuration has no other labels, and no annotations, finalizers or owners",
        ),
        judged(
            &format!("variables.entries.all(w, w.name in {})", list(&names)),
            "gitadel's webhook configuration has no entries but gitadel's",
        ),
        judged(
            "variables.entries.all(w, w.clientConfig in variables.clients)",
            "gitadel's webhook is not to be found elsewhere, nor trusted by another authority: if either changed, generate the static policy anew",
        ),
    ];
    for rest in rests {
        let (more, checks) = entry_pair(rest);
        variables.extend(more);
        validations.extend(checks);
    }
    Policy {
        name: "gitadel",
        resources: &[RESOURCE],
        operations: &["CREATE", "UPDATE", "DELETE"],
        concerns: concerns_own(),
        variables,
        validations,
    }
}

/// The entry for the rest and the one for registered kinds, which may be missing.
fn entry_pair(rest: &ValidatingWebhook) -> (Vec<Variable>, Vec<Validation>) {
    let base = base_name(rest);
    let conditions = rest.match_conditions.as_deref().unwrap_or_default();
    let fixed: Map<_, _> = match seen(rest) {
        Value::Object(fields) => fields.into_iter().filter(|(field, _)| !APART.contains(&field.as_str())).collect(),
        _ => Map::new(),
    };
    let variables = vec![
        variable(&format!("{base}_rest"), format!("variables.entries.filter(w, w.name == {})", quote(&rest.name))),
        variable(base, format!("variables.entries.filter(w, w.name == {})", quote(&registered_name(rest)))),
        variable(&format!("{base}_fixed"), literal(&Value::Object(fixed))),
        variable(&format!("{base}_conditions"), literal(&seen(&conditions))),
        // As the entry for the rest names them.
        variable(
            &format!("{base}_names"),
            format!(
                "variables.{base}.map(w, w.?rules.orValue([]).map(r, r.resources.map(x, '\\'' + r.apiGroups[0] + '/' + x + '\\''))).flatten(2)"
            ),
        ),
    ];
    let count = conditions.len();
    let (prefix, suffix) = (quote(KEPT_OUT.0), quote(KEPT_OUT.1));
    let kept_out = format!(
        "w.matchConditions.size() == {} && w.matchConditions.slice(0, {count}) == variables.{base}_conditions && \
         w.matchConditions[{count}].name == {} && w.matchConditions[{count}].expression.startsWith({prefix}) && \
         w.matchConditions[{count}].expression.endsWith({suffix}) && \
         w.matchConditions[{count}].expression.substring({}, w.matchConditions[{count}].expression.size() - {}).split(', ')\
         .all(name, name in variables.{base}_names)",
        count + 1,
        quote(KEPT_OUT_NAME),
        KEPT_OUT.0.len(),
        KEPT_OUT.1.len(),
    );
    let rule = "r.?apiGroups.orValue([]).size() == 1 && r.?apiVersions.orValue([]).size() == 1 && \
         r.?operations.orValue([]) == ['*'] && r.?scope.orValue('') == '*' && r.?resources.orValue([]).size() > 0 && \
         r.resources.all(x, (r.apiGroups[0] + '/' + r.apiVersions[0] + '/' + x) in variables.served)";
    let validations = vec![
        judged(
            &format!("variables.{base}_rest.size() == 1 && variables.{base}.size() <= 1"),
            &format!("gitadel's webhook configuration has the entry {}", rest.name),
        ),
        judged(
            &format!(
                "(variables.{base}_rest + variables.{base}).all(w, \
                 w.transformMap(k, v, !(k in {}), v) == variables.{base}_fixed)",
                list(APART)
            ),
            &format!(
                "what gitadel's {base} entries say of failures, selectors, matching, versions or time is not as the static policy has it"
            ),
        ),
        judged(
            &format!(
                "variables.{base}_rest.all(w, w.?rules.orValue([]) == {}) && \
                 variables.{base}.all(w, w.?rules.orValue([]).size() > 0 && w.rules.all(r, {rule}))",
                literal(&seen(&rest.rules))
            ),
            &format!(
                "the rules of gitadel's {base} entries name what the API server did not serve when the static policy was generated, or less than everything"
            ),
        ),
        judged(
            &format!(
                "variables.{base}.all(w, w.?matchConditions.orValue([]).all(c, c in variables.{base}_conditions) && \
                 {}.all(c, c in w.?matchConditions.orValue([]))) && \
                 variables.{base}_rest.all(w, variables.{base}.size() == 0 ? \
                 w.?matchConditions.orValue([]) == variables.{base}_conditions : {kept_out})",
                literal(&seen(&always(conditions))),
            ),
            &format!(
                "the conditions of gitadel's {base} entries (what they govern and leave out) are not those of the static policy: if the scopes or gitadel's version changed, generate it anew"
            ),
        ),
    ];
    (variables, validations)
}

/// The conditions that are about every request. Of the others the entry for registered kinds has those that concern them;
/// without one that does, more would reach the webhook.
fn always(conditions: &[MatchCondition]) -> Vec<&MatchCondition> {
    let concerns_all = |condition: &&MatchCondition| can_keep_out(&condition.name, "", "");
    conditions.iter().filter(concerns_all).collect()
}

fn judged(expression: &str, message: &str) -> Validation {
    validation(format!("!variables.judged || ({expression})"), message)
}

/// `enforce` of `enforce-rest.gitadel.dev`.
fn base_name(rest: &ValidatingWebhook) -> &str {
    rest.name.split('-').next().unwrap_or_default()
}

fn registered_name(rest: &ValidatingWebhook) -> String {
    format!("{}.{ENTRY_DOMAIN}", base_name(rest))
}

fn clients(protection: &Protection) -> Value {
    let clients = protection.bundles().into_iter().map(|bundle| seen(&protection.target.client_config(&bundle)));
    clients.collect()
}

fn metadata(generated: &Value) -> String {
    let labels = generated.get("labels").cloned().unwrap_or_else(|| json!({}));
    let empty = ["annotations", "finalizers", "ownerReferences"]
        .map(|field| format!("object.metadata.?{field}.orValue([]).size() == 0"));
    format!("object.metadata.?labels.orValue({{}}) == {} && {}", literal(&labels), empty.join(" && "))
}
