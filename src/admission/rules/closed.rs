//! The closed world: in a governed scope nothing comes to be that Git does not declare. What is there already may go.

use super::{Judgement, Rule, admit, deny, is_finalizer_removal, kept};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::snapshot::Source;

pub const RULE: Rule = Rule { name: "undeclared", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if let Some(source) = sealed(context) {
        return unknown(context, source);
    }
    // One that is closed answers before those that are not.
    if context.source.is_some() && !context.is_closed() {
        return admit(Class::Undeclared);
    }
    match request.operation {
        Operation::Delete if request.subresource.is_none() => admit(Class::Undeclared),
        Operation::Create if request.subresource.is_none() => {
            deny(Class::Undeclared, denial::undeclared_creation(context))
        }
        Operation::Update if context.shows_whole_object() => {
            let Some((old, new)) = context.states() else { return Ok(None) };
            // Controllers go on with the children of an owner that left Git, until these are collected.
            let mut findings = kept::foreign_changes(context, old, new, kept::writers(context))?;
            // It could be deleted as well, so it may also lose what keeps it from going.
            findings.retain(|finding| !is_finalizer_removal(request, finding));
            if findings.is_empty() {
                return admit(Class::Undeclared);
            }
            deny(Class::Undeclared, denial::undeclared_change(context, &findings))
        }
        _ => deny(Class::Undeclared, denial::subresource(context)),
    }
}

/// The Enforcement of which this replica does not know all that it holds, if one governs the place.
fn sealed<'a>(context: &Context<'a>) -> Option<&'a Source> {
    let (meta, id) = (context.snapshot.meta(), context.id);
    let mut sealed = meta.sources.iter().filter(|source| meta.sealed.contains(&source.name));
    sealed.find(|source| source.governs_id(id))
}

/// Whether this object is declared, of the baseline or nothing at all, another replica may know.
fn unknown(context: &Context<'_>, source: &Source) -> Judgement {
    if let Some((old, new)) = context.states()
        && context.foreign_changes(old, new).is_empty()
    {
        return admit(Class::Undeclared);
    }
    let reason = format!(
        "stays as it is: Enforcement \"{}\" governs it, and this replica of gitadel does not know yet all that is in \
         force there. Its conditions say what cannot be read: its source, or its baseline.",
        source.name
    );
    deny(Class::Undeclared, denial::other(context, reason))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, set, with};
    use crate::api::Undeclared;

    #[test]
    fn nothing_comes_to_be_that_git_does_not_declare() {
        let changed = with(&config_map("x"), "/data/a", json!("2"));
        let finalized = with(&config_map("x"), "/metadata/finalizers", json!(["example.com/x"]));
        let world = World::new();
        world.expect(&[
            ("created", Review::create(&config_map("x")), Deny, RULE.name),
            ("changed", Review::update(&config_map("x"), &changed), Deny, RULE.name),
            ("no change", Review::update(&config_map("x"), &config_map("x")), Allow, RULE.name),
            ("a finalizer", Review::update(&config_map("x"), &finalized), Deny, RULE.name),
            ("that goes", Review::update(&finalized, &config_map("x")), Allow, RULE.name),
            ("deleted", Review::delete(&config_map("x")), Allow, RULE.name),
        ]);
        let message = world.verdict(&Review::create(&config_map("x"))).message.unwrap_or_default();
        let expected = "configmaps \"x\" in \"shop\" is not declared in Git at main@1a2b3c4 and cannot be created. \
            Add it by a commit to https://git.example.com/shop.git.";
        assert_eq!(message, expected);
    }

    #[test]
    fn what_is_not_known_yet_stays_as_it_is() {
        let sealed = || World::new().meta(|meta| meta.sealed = set(&["all"]));
        let changed = with(&config_map("x"), "/data/a", json!("2"));
        let cases = [
            ("created", Review::create(&config_map("x")), Deny, RULE.name),
            ("changed", Review::update(&config_map("x"), &changed), Deny, RULE.name),
            ("deleted", Review::delete(&config_map("x")), Deny, RULE.name),
            ("no change", Review::update(&config_map("x"), &config_map("x")), Allow, RULE.name),
        ];
        sealed().expect(&cases);
        sealed().source(|source| source.baseline_recorded = false).expect(&cases);
        sealed().declare(&config_map("x")).expect(&[("what is", Review::create(&config_map("x")), Allow, "declared")]);
    }

    #[test]
    fn an_open_world_where_the_enforcement_wants_it() {
        let create = Review::create(&config_map("x"));
        let world = World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        world.expect(&[("allowed", create.clone(), Allow, RULE.name)]);
        let world = World::new().source(|source| source.baseline_recorded = false);
        world.expect(&[("before the baseline", create, Allow, RULE.name)]);
    }
}
