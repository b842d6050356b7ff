//! Static protection on a real API server: nobody takes gitadel's webhook configuration out of force through the API.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attempts;
mod operation;
mod protected;
#[path = "../support/mod.rs"]
mod support;

use attempts::{Attempt, OWN};
use gitadel::static_admission::Credential;
use hyper::Method;
use protected::{Protected, certificate_of, client_of};
use serde_json::{Value, json};
use support::bypass::get;
use support::{client, gitadel};

const CREDENTIAL_HEADER: &str = "impersonate-extra-authentication.kubernetes.io%2fcredential-id";

/// A name for messages, a client, and whom it claims to be.
type Identity<'a> = (&'a str, &'a kube::Client, &'a [(&'a str, &'a str)]);

/// A rejection by the static policy, for what it says and not because it could not be evaluated. The API server's own
/// validation comes after admission.
fn is_denied((code, answer): &(u16, Value)) -> bool {
    *code == 403 && named(answer, "gitadel.static.k8s.io")
}

fn named(answer: &Value, policy: &str) -> bool {
    let message = answer["message"].as_str().unwrap_or_default();
    message.contains(&format!("ValidatingAdmissionPolicy '{policy}'"))
        && message.contains("denied request")
        && !message.contains("resulted in error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_the_configuration_out_of_force() {
    let protected = Protected::start(&[]).await;
    let plane = &protected.governed.control_plane;
    let administrator = client(plane).await;
    let token = plane.token("gitadel-system", "gitadel").await.unwrap();
    let reconciler = client_of(&plane.kubeconfig_with_token("stolen", &token).unwrap()).await;
    let forged = format!("X509SHA256={}", "0".repeat(64));
    let as_offline = [
        ("impersonate-user", "offline"),
        ("impersonate-group", "system:masters"),
        (CREDENTIAL_HEADER, forged.as_str()),
    ];
    let as_controller =
        [("impersonate-user", "system:kube-controller-manager"), ("impersonate-group", "system:masters")];
    let who: [Identity<'_>; 4] = [
        ("a cluster administrator", &administrator, &[]),
        ("the reconciler's token", &reconciler, &[]),
        ("whoever goes by the offline user's name", &administrator, &as_offline),
        ("whoever goes by a controller's name", &administrator, &as_controller),
    ];
    let before = get(&administrator, OWN).await.unwrap();
    let attempts = attempts::all(&before);
    let mut passed = Vec::new();
    for (name, client, headers) in who {
        for attempt in &attempts {
            let answer = attempt.make(client, headers).await;
            if !is_denied(&answer) {
                passed.push(format!("{name}: {}: {} {}", attempt.name, answer.0, answer.1["message"]));
            }
        }
    }
    assert!(passed.is_empty(), "of {} attempts: {passed:#?}", 4 * attempts.len());
    let after = get(&administrator, OWN).await.unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "nothing was written");
    eprintln!("{} attempts by {} identities, all rejected", attempts.len(), who.len());

    // And an audit finds that it is so.
    let report = gitadel().args(["audit", "-o", "json"]).env("KUBECONFIG", plane.kubeconfig()).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let ids: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["id"]).collect();
    assert!(!ids.is_empty() && !ids.iter().any(|id| *id == "GA-ADM-007" || *id == "GA-ADM-008"), "{ids:?}");

    // What changes nothing is nobody's harm.
    let same = Attempt::new("no change", Method::PATCH, OWN, "application/merge-patch+json", json!({}));
    assert_eq!(same.make(&administrator, &[]).await.0, 200);

    // The one thing that cannot be made up, and can be told: the digest of the certificate.
    let known = Credential::of_certificate(&certificate_of(&protected.offline)).unwrap();
    let told =
        [("impersonate-user", "anybody"), ("impersonate-group", "system:masters"), (CREDENTIAL_HEADER, known.id())];
    let delete = Attempt::new("delete", Method::DELETE, format!("{OWN}?dryRun=All"), "application/json", Value::Null);
    assert_eq!(
        delete.make(&administrator, &told).await.0,
        200,
        "documented: who knows the digest passes for its bearer"
    );
}
