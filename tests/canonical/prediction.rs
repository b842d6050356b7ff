//! Predictions, against what the server answers.

use gitadel::reconcile::canonicalise::{Declared, canonicalise};
use gitadel::reconcile::environment::Environment;
use gitadel::reconcile::predict::Predictor;
use serde_json::json;

use crate::cluster::{Cluster, deployment};
use crate::support::namespace;

#[tokio::test]
async fn two_hundred_predictions_are_what_the_server_answers() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "predicted").await;
    let environment = Environment::read(&cluster.client).await.unwrap();
    let mut predictor = Predictor::new(&environment.digest);
    let manifest = |n: usize| match n % 4 {
        0 => {
            let mut manifest = deployment(&format!("web-{n}"));
            manifest["spec"]["replicas"] = (n / 12 % 3).into();
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] =
                [format!("web:{n}"), "web".to_owned(), "web:latest".to_owned()][n / 4 % 3].clone().into();
            manifest
        }
        1 => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c-{n}")},
            "data": {format!("key-{n}"): "value"}}),
        2 => json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s-{n}")},
            "spec": {"selector": {"app": format!("web-{n}")}, "ports": [{"port": 80}]}}),
        _ => json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("s-{n}")},
            "stringData": {"a": format!("value-{n}")}}),
    };
    let mut predicted = 0;
    for n in 0..200 {
        let subject = cluster.subject_in(&namespace, manifest(n)).await;
        let declared = Declared::new(&subject.kind, &subject.manifest).unwrap();
        let prediction = predictor.predict(&subject.kind, &declared);
        let asked = canonicalise(&cluster.client, &subject.target(), &subject.manifest, None).await.unwrap().object;
        if let Some(prediction) = prediction {
            assert_eq!(prediction, asked);
            predicted += 1;
        }
        predictor.learn(&subject.kind, &declared, &asked);
    }
    // All but the first of each shape: four of Deployments (replicas or none, latest or another tag), one of each other.
    assert_eq!(predicted, 193);
}
