//! Edits made and judged on the API server.

use futures::{StreamExt, stream};
use kube::Client;
use kube::discovery::Discovery;
use serde_json::Value;

use crate::drift::State;
use crate::edits::{self, Pool, Subject};
use crate::oracle::{Expected, expected};
use crate::random::Random;
use crate::support::governed::Governed;
use crate::wire::{Answer, Target, Write, live, scale};

pub struct Fuzz {
    seed: u64,
    pub targets: Vec<Target>,
    /// The places among the targets of those that are drawn more rarely: they are so large that each takes long.
    small: Vec<usize>,
    pool: Pool,
    /// Whose dry-runs reach no webhook.
    gitadel: Client,
    administrator: Client,
}

/// What became of an edit.
pub enum Outcome {
    /// Nobody was asked: the API server would not store it.
    Refused(String),
    Judged(Box<Judged>),
}

pub struct Judged {
    pub edit: u64,
    /// The place of the object among the targets.
    pub target: usize,
    pub what: String,
    pub expected: Expected,
    pub changes: Vec<String>,
    /// What gitadel says against it.
    pub denial: Option<String>,
    /// What a write to the object itself would have made of it.
    pub state: Option<State>,
}

impl Fuzz {
    pub async fn new(governed: &Governed, objects: Vec<Value>, seed: u64) -> Self {
        let token = governed.control_plane.token("gitadel-system", "gitadel").await.unwrap();
        let config = governed.control_plane.client_config_with_token("rehearsal", &token).await.unwrap();
        let administrator = governed.client.clone();
        let discovery = Discovery::new(administrator.clone()).run().await.unwrap();
        // No API server asks a webhook about webhook configurations: `tests/webhook_configuration` is about those.
        let asked = objects.into_iter().filter(|manifest| manifest["kind"] != "ValidatingWebhookConfiguration");
        let targets: Vec<Target> = asked.map(|manifest| Target::new(&discovery, manifest)).collect();
        let lives: Vec<Value> = stream::iter(&targets).then(|target| live(&administrator, target)).collect().await;
        let small = (0..targets.len()).filter(|at| targets[*at].resource.kind != "CustomResourceDefinition").collect();
        let pool = Pool::of(&lives);
        Self { seed, targets, small, pool, gitadel: Client::try_from(config).unwrap(), administrator }
    }

    pub async fn edit(&self, edit: u64) -> Outcome {
        // Controllers may write in between; then the same edit is made of what is there now.
        for _ in 0..20 {
            if let Some(outcome) = self.attempt(edit).await {
                return outcome;
            }
        }
        panic!("edit {edit} met another write every time");
    }

    async fn attempt(&self, edit: u64) -> Option<Outcome> {
        let mut random = Random::new(self.seed, edit);
        let at = if random.percent(4) { random.below(self.targets.len()) } else { *random.pick(&self.small)? };
        let target = &self.targets[at];
        let before = live(&self.administrator, target).await;
        let (write, did) = self.write(target, &before, &mut random);
        let what = format!("{} {}: {did}", write.how, target.title);
        let after = match write.send(&self.gitadel).await {
            Answer::Taken(after) => after,
            Answer::Refused(why) => return Some(Outcome::Refused(format!("{what}: {why}"))),
            Answer::Denied(message) => panic!("gitadel's own dry-run was judged: {message}"),
            Answer::Conflict => return None,
        };
        let after = if write.how == "scale" { scaled(&before, &after) } else { after };
        let (expected, changes) = expected(&before, &after, write.how == "status");
        let denial = match write.send(&self.administrator).await {
            Answer::Taken(_) => None,
            Answer::Denied(message) => Some(message),
            Answer::Refused(why) => panic!("edit {edit}, {what}: refused to one only: {why}"),
            Answer::Conflict => return None,
        };
        if live(&self.administrator, target).await["metadata"]["resourceVersion"]
            != before["metadata"]["resourceVersion"]
        {
            return None;
        }
        let state =
            (!changes.is_empty() && !["scale", "status"].contains(&write.how)).then_some(State { edit, before, after });
        Some(Outcome::Judged(Box::new(Judged { edit, target: at, what, expected, changes, denial, state })))
    }

    fn write(&self, target: &Target, before: &Value, random: &mut Random) -> (Write, String) {
        if target.scales && random.percent(15) {
            let replicas = random.below(7) as i64;
            return (Write::through("scale", target, scale(before, replicas)), format!("{replicas} replicas"));
        }
        let mut edited = before.clone();
        let did = edits::edit(&mut edited, random, &Subject { manifest: &target.manifest, pool: &self.pool });
        if target.has_status && random.percent(7) {
            edited["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            return (Write::through("status", target, edited), did);
        }
        (Write::of(target, before, &edited, random), did)
    }
}

/// The object with the replicas of a Scale.
fn scaled(object: &Value, scale: &Value) -> Value {
    let mut object = object.clone();
    object["spec"]["replicas"] = scale["spec"]["replicas"].clone();
    object
}
