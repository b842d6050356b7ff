//! Every other way: rejected, whoever asks.

use crate::demo::kubectl::Kubectl;
use crate::demo::report::{listed, took};
use crate::demo::repository::Pushed;
use crate::demo::story::{Person, Stage, StoryError, expect};

use super::state;

struct Attack {
    arguments: &'static [&'static str],
    /// Alice has rights in the shop only; outside of it Kubernetes itself would turn her away.
    in_shop: bool,
    /// What the answer must name.
    told: &'static [&'static str],
}

/// The value that must show up in no message.
const PASSWORD: &str = "hunter2";

const ATTACKS: [Attack; 13] = [
    in_shop(
        &["-n", "shop", "scale", "deployment", "web", "--replicas=9"],
        &["governed by Git", "spec.replicas", "2", "9", "web.yaml:"],
    ),
    in_shop(
        &["-n", "shop", "set", "image", "deployment/web", "web=registry.example/miner:1"],
        &["governed by Git", "image", "registry.example/shop/web:1.4.2", "registry.example/miner:1", "web.yaml:"],
    ),
    in_shop(&["-n", "shop", "delete", "deployment", "web"], &["governed by Git", "must not be deleted", "web.yaml:"]),
    in_shop(
        &["-n", "shop", "create", "configmap", "intruder", "--from-literal=a=b"],
        &["not declared in Git", "cannot be created"],
    ),
    in_shop(&["-n", "shop", "label", "deployment", "web", "team=raiders"], &["governed by Git", "team"]),
    in_shop(&["-n", "shop", "annotate", "service", "web", "example.com/owner=raiders"], &["governed by Git", "owner"]),
    in_shop(
        &[
            "-n",
            "shop",
            "patch",
            "deployment",
            "web",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"miner","image":"miner:1"}}]"#,
        ],
        &["governed by Git", "containers", "miner"],
    ),
    in_shop(
        &["-n", "shop", "patch", "secret", "credentials", "-p", r#"{"stringData":{"password":"hunter2"}}"#],
        &["governed by Git", "password", "settings.yaml:"],
    ),
    // RBAC lets the garbage collector delete anything.
    anywhere(
        &["--as=system:serviceaccount:kube-system:generic-garbage-collector", "-n", "shop", "delete", "service", "web"],
        &["governed by Git", "must not be deleted", "web.yaml:"],
    ),
    anywhere(
        &["create", "clusterrolebinding", "intruder", "--clusterrole=cluster-admin", "--user=mallory"],
        &["not declared in Git", "cannot be created"],
    ),
    anywhere(
        &[
            "patch",
            "clusterrole",
            "system:node-proxier",
            "--type=json",
            "-p",
            r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}}]"#,
        ],
        &["frozen", "rules", "baseline"],
    ),
    anywhere(&["delete", "namespace", "shop"], &["governed by Git", "must not be deleted", "namespace.yaml:"]),
    anywhere(&["delete", "enforcement", "demo"], &["must not be deleted"]),
];

const fn in_shop(arguments: &'static [&'static str], told: &'static [&'static str]) -> Attack {
    Attack { arguments, in_shop: true, told }
}

const fn anywhere(arguments: &'static [&'static str], told: &'static [&'static str]) -> Attack {
    Attack { arguments, in_shop: false, told }
}

pub async fn attack(stage: &mut Stage, newest: &Pushed) -> Result<(), StoryError> {
    stage.report.step("Every other way in is closed, whoever tries");
    stage.report.say(
        "Three try each: alice, whom RBAC lets do anything in the shop; a cluster administrator in system:masters, whom \
         Kubernetes asks for no right at all; and somebody with the token of gitadel's own reconciler. Alice is left \
         out where RBAC would turn her away.",
    );
    let before = state::read(&stage.client).await?;
    for attack in &ATTACKS {
        reject(stage, attack, newest).await?;
    }
    let changed = state::difference(&before, &state::read(&stage.client).await?);
    expect(
        changed.is_empty(),
        || "the shop and the cluster's role bindings after the attacks".into(),
        || "as before".into(),
        || format!("{} changed", changed.join(", ")),
    )?;
    stage.report.met(&format!("after {} attempts, {} objects are what they were", stage.denials, before.len()));
    Ok(())
}

async fn reject(stage: &mut Stage, attack: &Attack, newest: &Pushed) -> Result<(), StoryError> {
    let line = Kubectl::line(attack.arguments);
    stage.report.command(&line);
    let mut people = vec![stage.administrator.clone(), stage.thief.clone()];
    if attack.in_shop {
        people.insert(0, stage.alice.clone());
    }
    let mut answers: Vec<String> = Vec::new();
    let mut times = Vec::new();
    for person in &people {
        let answer = stage.kubectl.run(&person.kubeconfig, attack.arguments).await?;
        check(&line, attack, person, newest, answer.success, &answer.text)?;
        stage.denials += 1;
        times.push(format!("{} ({})", person.who, took(answer.took)));
        if !answers.contains(&answer.text) {
            stage.report.output(&answer.text);
            answers.push(answer.text);
        }
    }
    stage.report.met(&format!("denied to {}", listed(&times)));
    Ok(())
}

/// A denial names what is wrong, where Git says otherwise and at which commit; and never a Secret's value.
fn check(
    line: &str,
    attack: &Attack,
    person: &Person,
    newest: &Pushed,
    success: bool,
    text: &str,
) -> Result<(), StoryError> {
    let commit = newest.short();
    let in_baseline = text.contains("(in the baseline of Enforcement");
    let missing: Vec<&str> = attack
        .told
        .iter()
        .copied()
        .chain((!in_baseline).then_some(commit.as_str()))
        .filter(|part| !text.contains(part))
        .collect();
    expect(
        !success && text.contains("denied the request") && missing.is_empty() && !text.contains(PASSWORD),
        || format!("{line}, as {}", person.who),
        || format!("a denial that names {}, and no value of a Secret", listed(attack.told)),
        || text.trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_counts_as_a_denial() {
        let newest =
            Pushed { id: "1a2b3c4d5e6f".into(), subject: "Open".into(), began: Instant::now(), took: Duration::ZERO };
        let person = Person { who: "alice", kubeconfig: "/k".into() };
        let attack = in_shop(&["scale"], &["spec.replicas"]);
        let met = |success, text: &str| check("kubectl scale", &attack, &person, &newest, success, text).is_ok();
        let denial = "admission webhook denied the request: spec.replicas must be 2 (web.yaml:11 at main@1a2b3c4)";
        assert!(met(false, denial));
        assert!(!met(true, denial), "it was carried out");
        assert!(!met(false, "Forbidden: user alice cannot scale: spec.replicas main@1a2b3c4"), "RBAC's, not gitadel's");
        assert!(!met(false, &denial.replace("spec.replicas", "it")), "the field is missing");
        assert!(!met(false, &denial.replace("1a2b3c4", "ffffff0")), "another commit");
        assert!(!met(false, &format!("{denial} not {PASSWORD}")), "a secret");
    }
}
