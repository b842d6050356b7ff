//! What only happens between two moments: writes against a commit that is being replaced, against repairs, against a mutator
//! that comes and goes, many at once, and right after the API server has started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use hyper::Method;
use kube::Client;
use serde_json::{Value, json};

use super::attack::{Body, Content, Identity, request};
use super::report::percentile;
use super::support::bypass::{get, send};
use super::support::shop::{SETTINGS_PATH, SHOP, WEB};
use super::support::{client, eventually};
use super::victim::Victim;
use super::wire::Answer;

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const RECONCILER: &str = "system:serviceaccount:gitadel-system:gitadel";

async fn victim() -> Victim {
    Victim::with(&[("shop.yaml", SHOP), ("web.yaml", WEB)], json!({})).await
}

fn paint(colour: &str) -> Value {
    json!([{"op": "replace", "path": "/data/colour", "value": colour}])
}

impl Victim {
    /// How often gitadel has written something since so many events.
    fn writes_of_gitadel(&mut self, resource: &str, name: &str, since: usize) -> usize {
        self.audit.read_on();
        let written = self.audit.events[since..].iter().filter(|event| {
            let object = &event["objectRef"];
            event["user"]["username"] == RECONCILER
                && (&object["resource"], &object["name"]) == (&json!(resource), &json!(name))
                && !event["requestURI"].as_str().unwrap().contains("dryRun")
        });
        written.count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_writes_at_once() {
    let mut victim = victim().await;
    let path = format!("{SETTINGS_PATH}?fieldManager=mallory");
    let edit = request("PATCH", &path, Content::JsonPatch, Body::Sent(paint("red")));
    let answers = join_all((0..1000).map(|_| async {
        let begun = Instant::now();
        let answer = victim.attackers.send(Identity::ClusterAdmin, &edit).await;
        (answer, begun.elapsed())
    }))
    .await;
    // The API server itself turns some away when it has too much to do.
    let turned_away = answers.iter().filter(|(answer, _)| answer.status == 429).count();
    // It fails closed where gitadel has not answered within its second: too many at once for a slow machine.
    let unanswered = |answer: &Answer| answer.status == 500 && answer.text.contains("failed calling webhook");
    let failed = answers.iter().filter(|(answer, _)| unanswered(answer)).count();
    let denied = answers.iter().filter(|(answer, _)| answer.is_denial()).count();
    let other = answers.iter().find(|(answer, _)| answer.status != 429 && !unanswered(answer) && !answer.is_denial());
    assert!(other.is_none() && denied > 0, "{other:?}");
    let mut took: Vec<Duration> = answers.iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    let decided = within(&super::support::metrics::scrape(victim.governed.webhook_probe), 99);
    println!(
        "1000 writes at once: {denied} denied by gitadel, {failed} failed without its answer, {turned_away} turned away \
         by the API server; \
         a decision took at most {decided} s (p99), a write p50 {:.0?}, p99 {:.0?}",
        percentile(&took, 50),
        percentile(&took, 99)
    );
    victim.is_as_before().await.unwrap();
}

/// The bound of the bucket in which that many percent of the decisions lie.
fn within(metrics: &str, percent: u64) -> String {
    let prefix = "gitadel_admission_decision_seconds_bucket{le=\"";
    let buckets: Vec<(&str, u64)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(prefix)?.split_once("\"} "))
        .map(|(bound, count)| (bound, count.parse().unwrap()))
        .collect();
    let all = buckets.last().expect("decisions").1;
    let found = buckets.iter().find(|(_, count)| count * 100 >= all * percent);
    found.expect("a bucket").0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_being_replaced() {
    let mut victim = victim().await;
    victim.audit.read_on();
    let before = victim.audit.events.len();
    let (over, admitted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers = ["blue", "red", "green"].map(|colour| {
        let (client, over, admitted) = (victim.client().clone(), Arc::clone(&over), Arc::clone(&admitted));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                if send(&client, Method::PATCH, SETTINGS_PATH, &paint(colour)).await.is_ok() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    let mut commits = 0;
    for colour in ["red", "blue", "red", "blue"] {
        victim.governed.commit(colour, &[("shop.yaml", &SHOP.replace("blue", colour))]);
        victim.governed.notify().await;
        victim.governed.converged().await;
        commits += 1;
        eventually("the colour of the commit", async || {
            (get(victim.client(), SETTINGS_PATH).await?["data"]["colour"] == *colour).then_some(())
        })
        .await;
        // Nobody moves it away again, although all three go on trying.
        let shown = join_all((0..50).map(|_| get(victim.client(), SETTINGS_PATH))).await;
        assert!(shown.iter().flatten().all(|settings| settings["data"]["colour"] == *colour), "{colour}");
    }
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let written = victim.writes_of_gitadel("configmaps", "settings", before);
    println!(
        "{commits} commits: {} writes admitted, each what Git said then; gitadel wrote {written} times",
        admitted.load(Ordering::Relaxed)
    );
    assert!(written <= 4 * commits, "{written} writes for {commits} commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_against_somebody_in_a_loop() {
    const EDITS: usize = 200;
    let mut victim = victim().await;
    victim.audit.read_on();
    let before = victim.audit.events.len();
    let wanted = get(victim.client(), CONFIGURATION).await.unwrap()["webhooks"].clone();
    let begun = Instant::now();
    let mut edits = 0;
    for number in 0..EDITS {
        let edit = json!([{"op": "add", "path": "/webhooks/0/timeoutSeconds", "value": 1 + number % 9}]);
        edits += usize::from(send(victim.client(), Method::PATCH, CONFIGURATION, &edit).await.is_ok());
    }
    let took = begun.elapsed();
    eventually("the configuration", async || {
        (get(victim.client(), CONFIGURATION).await?["webhooks"] == wanted).then_some(())
    })
    .await;
    victim.obeyed().await;
    let written = victim.writes_of_gitadel("validatingwebhookconfigurations", "gitadel", before);
    println!("{edits} edits of the webhook configuration in {took:.1?}: gitadel wrote it {written} times, and won");
    // One write undoes one edit or several; a conflict costs another attempt.
    assert!(edits > 0 && written > 0 && written <= 2 * edits, "{written} writes for {edits} edits");

    victim.audit.read_on();
    let before = victim.audit.events.len();
    let mut edits = 0;
    for _ in 0..EDITS / 10 {
        victim.governed.slip_in(Method::PATCH, SETTINGS_PATH, &paint("red")).await;
        edits += 1;
    }
    eventually("the colour", async || {
        (get(victim.client(), SETTINGS_PATH).await?["data"]["colour"] == "blue").then_some(())
    })
    .await;
    let written = victim.writes_of_gitadel("configmaps", "settings", before);
    println!("{edits} edits past admission: gitadel wrote {written} times, and won");
    assert!(written > 0 && written <= 2 * edits, "{written} writes for {edits} edits");
    victim.obeyed().await;
    let now = victim.state().await;
    assert!(now.objects == victim.before.objects, "{:#?}", now.differences(&victim.before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_moment_after_the_api_server_started() {
    let mut victim = victim().await;
    for _ in 0..2 {
        let over = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> =
            (0..4).map(|_| tokio::spawn(hammer(victim.client().clone(), Arc::clone(&over)))).collect();
        victim.governed.control_plane.restart_apiserver().await.unwrap();
        victim.governed.client = client(&victim.governed.control_plane).await;
        victim.obeyed().await;
        over.store(true, Ordering::Relaxed);
        let stored: usize = join_all(writers).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(stored, 0, "stored while the API server started");
    }
    assert_eq!(get(victim.client(), SETTINGS_PATH).await.unwrap()["data"]["colour"], "blue");
}

/// Writes, whatever the answer; returns how often it was stored.
async fn hammer(client: Client, over: Arc<AtomicBool>) -> usize {
    let mut stored = 0;
    while !over.load(Ordering::Relaxed) {
        match send(&client, Method::PATCH, SETTINGS_PATH, &paint("red")).await {
            Ok(_) => stored += 1,
            Err(kube::Error::Api(_)) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    stored
}

/// Adds a label to every ConfigMap, without a server of its own.
fn mutator() -> [(String, Value); 2] {
    let metadata = json!({"name": "mine"});
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]);
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": metadata,
        "spec": {"matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "Never", "mutations": [{"patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'mine': 'yes'}}}"}}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": metadata,
        "spec": {"policyName": "mine"}});
    [
        (format!("{ADMISSION}/mutatingadmissionpolicies"), policy),
        (format!("{ADMISSION}/mutatingadmissionpolicybindings"), binding),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutator_that_comes_while_a_commit_is_canonicalised() {
    let victim = victim().await;
    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let rogue = tokio::spawn({
        let (client, over, made) = (victim.client().clone(), Arc::clone(&over), Arc::clone(&made));
        async move {
            while !over.load(Ordering::Relaxed) {
                for (collection, object) in mutator() {
                    let is_made = send(&client, Method::POST, &collection, &object).await.is_ok();
                    made.fetch_add(usize::from(is_made), Ordering::Relaxed);
                }
                // More in a minute than the guard against mass deletion lets go.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    });
    let fresh = "{apiVersion: v1, kind: ConfigMap, metadata: {name: fresh, namespace: shop}, data: {a: b}}";
    let head = victim
        .governed
        .commit("while a mutator is there", &[("fresh.yaml", fresh), ("shop.yaml", &SHOP.replace("blue", "red"))]);
    victim.governed.notify().await;
    // Canonicalising waits for API servers to obey again, and here they have no peace.
    eventually("the commit to be seen", async || (victim.governed.status().await["seenCommit"] == *head).then_some(()))
        .await;
    let before = made.load(Ordering::Relaxed);
    eventually("more of them", async || (made.load(Ordering::Relaxed) >= before + 4).then_some(())).await;
    let unlabelled =
        async |path: &str| get(victim.client(), path).await.is_none_or(|o| o["metadata"]["labels"]["mine"].is_null());
    assert!(unlabelled(SETTINGS_PATH).await && unlabelled("/api/v1/namespaces/shop/configmaps/fresh").await);
    over.store(true, Ordering::Relaxed);
    rogue.await.unwrap();
    victim.governed.converged().await;
    assert!(unlabelled(SETTINGS_PATH).await && unlabelled("/api/v1/namespaces/shop/configmaps/fresh").await);
    assert_eq!(get(victim.client(), SETTINGS_PATH).await.unwrap()["data"]["colour"], "red");
    println!("{} mutators came, and the commit holds nothing of them", made.load(Ordering::Relaxed));
}
