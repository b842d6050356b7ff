//! Makes the writes of the table one after the other, each on the cluster as the one before found it.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::attack::{Act, Attack, Identity, Outcome};
use super::audit;
use super::state::compared;
use super::support::bypass::get;
use super::victim::Victim;
use super::wire::Answer;

/// For what takes a moment of its own accord: a repair, or a controller that makes a Pod anew. No figure is measured
/// against it.
const PATIENCE: Duration = Duration::from_secs(20);
/// For what Kubernetes itself looks at every minute.
const LONG_PATIENCE: Duration = Duration::from_secs(90);
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";

/// How a row ended.
pub struct Trial {
    pub attack: Attack,
    /// From the answer to the write until the object was what it was before.
    pub undone_after: Option<Duration>,
    pub fault: Option<String>,
}

impl Victim {
    /// All of them, or those that `ATTACKS` names a part of.
    pub async fn suffer(&mut self, attacks: Vec<Attack>) -> Vec<Trial> {
        let mut trials = Vec::new();
        let chosen = std::env::var("ATTACKS").unwrap_or_default();
        for attack in attacks.into_iter().filter(|attack| attack.what.contains(&chosen)) {
            let begun = Instant::now();
            let result = self.try_one(&attack).await;
            let (undone_after, mut fault) = match result {
                Ok(took) => (took, None),
                Err(fault) => (None, Some(fault)),
            };
            for act in &attack.afterwards {
                if let Err(said) = self.tidy(act).await {
                    fault = Some(format!("{}; afterwards: {said}", fault.unwrap_or_default()));
                }
            }
            if let Err(left) = self.is_as_before().await {
                fault = Some(format!("{}; left: {left}", fault.unwrap_or_default()));
                // Each row is to be judged by itself.
                self.before = self.state().await;
            }
            let mark = if fault.is_some() { "FAULT" } else { "ok" };
            println!(
                "{mark:<5} {:>6.0?} {:?} {} [{}]",
                begun.elapsed(),
                attack.outcome,
                attack.what,
                attack.by.described()
            );
            if let Some(fault) = &fault {
                println!("      {}\n      {fault}", attack.act.described());
            }
            trials.push(Trial { attack, undone_after, fault });
        }
        trials
    }

    async fn try_one(&mut self, attack: &Attack) -> Result<Option<Duration>, String> {
        let attack = &Attack { act: self.attackers.with_names(&attack.act).await, ..attack.clone() };
        let target = attack.target();
        let found = match &target {
            Some(path) => get(self.client(), path).await,
            None => None,
        };
        self.audit.read_on();
        let known = self.audit.events.len();
        let answer = self.write(attack).await?;
        let answered = Instant::now();
        match &attack.outcome {
            Outcome::Rejected(rule) => {
                self.was_rejected(&answer, rule, known).await?;
                let now = match &target {
                    Some(path) => get(self.client(), path).await,
                    None => None,
                };
                if !is_same(found.as_ref(), now.as_ref()) {
                    return Err(format!("it is rejected, and {} changed", target.unwrap_or_default()));
                }
                Ok(None)
            }
            outcome @ (Outcome::Undone | Outcome::PutBack(_)) => {
                let patience = if *outcome == Outcome::Undone { PATIENCE } else { LONG_PATIENCE };
                was_admitted(&answer, attack)?;
                let path = target.ok_or("nothing to look at")?;
                let before = found.as_ref().map(compared);
                if let Ok(stored) = serde_json::from_str::<Value>(&answer.text)
                    && stored["kind"] != "Status"
                    && before.as_ref() == Some(&compared(&stored))
                    && stored["metadata"]["deletionTimestamp"].is_null()
                {
                    return Err("it changed nothing that could be undone".into());
                }
                let gone = found.as_ref().filter(|_| attack.is_deletion()).map(|object| &object["metadata"]["uid"]);
                let is_back = |now: Option<Value>| {
                    let is_there_still = now.as_ref().is_some_and(|now| Some(&now["metadata"]["uid"]) == gone);
                    !is_there_still && now.as_ref().map(compared) == before
                };
                while !is_back(get(self.client(), &path).await) {
                    if answered.elapsed() > patience {
                        return Err(format!("it is not undone:\n{}", self.log()));
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let took = answered.elapsed();
                self.obeyed().await;
                Ok(Some(took))
            }
            Outcome::Harmless(_) | Outcome::Open { .. } => was_admitted(&answer, attack).map(|()| None),
        }
    }

    async fn write(&mut self, attack: &Attack) -> Result<Answer, String> {
        match &attack.act {
            Act::Kubectl { arguments, input } => {
                let said = self.attackers.kubectl(attack.by, arguments, input);
                let status = if said.success { 200 } else { 403 };
                Ok(Answer { status, text: format!("{}{}", said.stdout, said.stderr), id: String::new() })
            }
            act if attack.past_admission => self.slip_in(attack.by, act).await,
            act => Ok(self.attackers.send(attack.by, act).await),
        }
    }

    /// Deletes gitadel's webhook configuration and writes before the API server obeys it again.
    async fn slip_in(&self, by: Identity, act: &Act) -> Result<Answer, String> {
        let gone =
            super::attack::request("DELETE", CONFIGURATION, super::attack::Content::Json, super::attack::Body::Nothing);
        let mut last = None;
        for _ in 0..40 {
            // It may be on its way back from the last attempt.
            self.attackers.send(Identity::ClusterAdmin, &gone).await;
            for _ in 0..10 {
                let answer = self.attackers.send(by, act).await;
                if !answer.is_denial() && answer.status < 500 {
                    return Ok(answer);
                }
                last = Some(answer);
            }
        }
        Err(format!("no way past admission: {last:?}"))
    }

    async fn was_rejected(&mut self, answer: &Answer, expected: &str, known: usize) -> Result<(), String> {
        if answer.is_success() {
            return Err(format!("it is ADMITTED: {}", shortened(&answer.text)));
        }
        if !(answer.text.contains("gitadel.dev") && answer.text.contains("denied the request")) {
            return Err(format!("somebody else says no: {} {}", answer.status, shortened(&answer.text)));
        }
        // The log is written when the answer is on its way.
        let begun = Instant::now();
        loop {
            let rule = match answer.id.as_str() {
                "" => {
                    self.audit.read_on();
                    let by_kubectl =
                        |event: &&Value| event["userAgent"].as_str().is_some_and(|agent| agent.starts_with("kubectl"));
                    let mut rules = self.audit.events[known..].iter().filter(by_kubectl).filter_map(audit::rule);
                    rules.find(|rule| *rule == expected).map(str::to_owned)
                }
                id => self.audit.event(id).map(|event| audit::rule(event).unwrap_or("none").to_owned()),
            };
            match rule {
                Some(rule) if rule == expected => return Ok(()),
                Some(rule) => return Err(format!("rule {rule} says no: {}", shortened(&answer.text))),
                None if begun.elapsed() > Duration::from_secs(10) => {
                    return Err(format!("no rule {expected} in the audit log: {}", shortened(&answer.text)));
                }
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }

    async fn tidy(&self, act: &Act) -> Result<(), String> {
        let by = Identity::ClusterAdmin;
        let (done, text) = match act {
            Act::Kubectl { arguments, input } => {
                let said = self.attackers.kubectl(by, arguments, input);
                (said.success, said.stderr)
            }
            act => {
                let answer = self.attackers.send(by, &self.attackers.with_names(act).await).await;
                (answer.is_success(), answer.text)
            }
        };
        if done { Ok(()) } else { Err(shortened(&text)) }
    }

    /// Waits until the whole cluster is what every row finds. What was made anew has another uid.
    pub async fn is_as_before(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let now = self.state().await;
            if now.objects == self.before.objects {
                self.before = now;
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(now.differences(&self.before).join("\n      "));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn was_admitted(answer: &Answer, attack: &Attack) -> Result<(), String> {
    let expected = attack.answer.map_or(answer.is_success(), |status| status == answer.status);
    if expected && !answer.is_denial() {
        return Ok(());
    }
    Err(format!("it is not let pass: {} {}", answer.status, shortened(&answer.text)))
}

/// Also the same object, not one made anew.
fn is_same(found: Option<&Value>, now: Option<&Value>) -> bool {
    match (found, now) {
        (Some(found), Some(now)) => {
            found["metadata"]["uid"] == now["metadata"]["uid"] && compared(found) == compared(now)
        }
        (None, None) => true,
        _ => false,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(600).collect()
}
