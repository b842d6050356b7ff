//! Numbers of every kind, from Git to the server and back.

use gitadel::compare::judge;
use gitadel::document::Document;
use gitadel::reconcile::apply::Action;
use gitadel::reconcile::canonicalise::LiveState;
use gitadel::reconcile::discovery::Discovery;
use serde_json::{Value, json};

use crate::cluster::{Cluster, differences};
use crate::support::{eventually, namespace};

/// As a manifest may write them, and the number that is meant.
const NUMBERS: &[(&str, f64)] = &[
    ("0.30000000000000004", 0.1 + 0.2),
    ("1e-7", 1e-7),
    ("5e-324", 5e-324),
    ("1.7976931348623157e308", f64::MAX),
    ("123456789012345680000", 123_456_789_012_345_680_000.0),
    ("-0.0", 0.0),
    ("1.0", 1.0),
    ("1", 1.0),
    ("9223372036854775807", 9_223_372_036_854_775_807.0),
    ("51.248178375505404", 51.248_178_375_505_404),
    ("-93.31137037688033", -93.311_370_376_880_33),
    ("97.45365320034685", 97.453_653_200_346_85),
];

#[tokio::test]
async fn numbers_of_custom_resources_keep_their_last_bit() {
    let mut cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "numbers").await;
    let definition = cluster
        .subject(json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "measures.numbers.example.com"},
            "spec": {"group": "numbers.example.com", "scope": "Namespaced",
                "names": {"plural": "measures", "kind": "Measure"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                    {"type": "object", "properties": {
                        "typed": {"type": "array", "items": {"type": "number"}},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}}))
        .await;
    cluster.converge(&definition).await;
    cluster.discovery = eventually("the kind", async || {
        let discovery = Discovery::read(&cluster.client).await.unwrap();
        discovery.with_version("numbers.example.com", "Measure", "v1").is_some().then_some(discovery)
    })
    .await;

    let texts: Vec<_> = NUMBERS.iter().map(|(text, _)| *text).collect();
    let list: Value = serde_json::from_str(&format!("[{}]", texts.join(","))).unwrap();
    let manifest = json!({"apiVersion": "numbers.example.com/v1", "kind": "Measure", "metadata": {"name": "all"},
        "typed": list, "free": {"numbers": list}});
    let subject = cluster.subject_in(&namespace, manifest).await;
    let canonical = cluster.canonical(&subject).await.unwrap();
    let stored = cluster.apply(&subject, &canonical.object).await.unwrap().object;
    let live = cluster.live(&subject).await.unwrap();
    for object in [&canonical.object, &stored, &live] {
        for numbers in [&object["typed"], &object["free"]["numbers"]] {
            let numbers = numbers.as_array().unwrap();
            assert_eq!(numbers.len(), NUMBERS.len(), "{numbers:?}");
            for ((text, meant), number) in NUMBERS.iter().zip(numbers) {
                // What is equal as a number may differ in its sign: the server does not keep that of a zero.
                assert_eq!(number.as_f64(), Some(*meant), "{text}");
            }
        }
        assert_eq!(differences(&subject, object, &canonical.object), Vec::<String>::new());
        let (found, wanted) = (Document::from_value(object), Document::from_value(&canonical.object));
        let target = subject.target();
        let tampered = subject.with("/free/numbers/0", json!(0.3)).manifest;
        let tampered = Document::from_value(&tampered);
        assert_eq!(judge(tampered.root(), found.root(), wanted.root(), &target.latitude()), []);
        assert_eq!(judge(found.root(), tampered.root(), wanted.root(), &target.latitude()).len(), 1);
    }
    let again = cluster.canonical(&subject).await.unwrap();
    assert_eq!((&again.object, again.live), (&canonical.object, LiveState::Matches));
    assert_eq!(cluster.apply(&subject, &again.object).await.unwrap().action, Action::Unchanged);
}
