//! The list types that are learned from OpenAPI, against the server's own word.

use std::collections::BTreeSet;

use gitadel::compare::{ListKind, ListSchema, SchemaNode};
use gitadel::reconcile::refusal::Refusal;
use gitadel::reconcile::rest;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::namespace;

/// `fieldsV1` of a server-side apply is the server's own word on which lists are keyed.
#[tokio::test]
async fn list_schemas_agree_with_the_server() {
    let cluster = Cluster::new().await;
    let namespace = namespace(&cluster.client, "schemas").await;
    let mut keyed = BTreeSet::new();
    for subject in cluster.subjects(&namespace).await {
        let kind = &subject.kind;
        let path =
            rest::object_path(kind, subject.at().0, subject.at().1) + "?dryRun=All&fieldManager=probe&force=true";
        let request = hyper::Request::patch(path)
            .header("content-type", "application/apply-patch+yaml")
            .body(subject.manifest.to_string().into_bytes())
            .unwrap();
        let answer: Value = cluster.client.request(request).await.unwrap();
        let fields = &answer["metadata"]["managedFields"][0]["fieldsV1"];
        let schema = &kind.schema;
        agree(fields, &subject.manifest, schema, schema.root(), &kind.kind, &mut keyed);
    }
    for expected in
        ["Deployment.spec.template.spec.containers", "Service.spec.ports", "Job.spec.template.spec.containers"]
    {
        assert!(keyed.contains(expected), "{expected} is not among {keyed:?}");
    }
}

/// The server redirects from a document that was replaced since to the one of today.
#[tokio::test]
async fn an_answer_that_only_names_another_address_is_no_document() {
    let cluster = Cluster::new().await;
    let outdated = rest::get_bytes(&cluster.client, "/openapi/v3/apis/apps/v1?hash=0", "application/json").await;
    assert!(matches!(outdated, Err(Refusal::Unexpected { code: 301, .. })), "{outdated:?}");
}

fn agree(
    fields: &Value,
    value: &Value,
    schema: &ListSchema,
    node: Option<&SchemaNode>,
    at: &str,
    keyed: &mut BTreeSet<String>,
) {
    let fields: Vec<(&String, &Value)> =
        fields.as_object().expect("fields").iter().filter(|(name, _)| name.as_str() != ".").collect();
    let list = node.and_then(|node| node.list.as_ref());
    match value {
        Value::Object(members) if fields.is_empty() => {
            // The server takes the map as one value.
            assert!(members.is_empty() || node.is_some_and(|node| node.atomic), "{at} is atomic");
        }
        Value::Object(members) => {
            assert!(!node.is_some_and(|node| node.atomic), "{at} is granular");
            for (name, fields) in fields {
                let name = name.strip_prefix("f:").expect("a field");
                // stringData and the like are no longer there, or null.
                let Some(member) = members.get(name) else { continue };
                agree(fields, member, schema, schema.field(node, name), &format!("{at}.{name}"), keyed);
            }
        }
        Value::Array(items) => match fields.first().map(|(name, _)| name.split_at(2)) {
            None => assert!(items.is_empty() || matches!(list, None | Some(ListKind::Atomic)), "{at} is atomic"),
            Some(("v:", _)) => assert_eq!(list, Some(&ListKind::Set), "{at} is a set"),
            Some(("k:", keys)) => {
                keyed.insert(at.to_owned());
                let keys: Value = serde_json::from_str(keys).unwrap();
                let keys: BTreeSet<&String> = keys.as_object().unwrap().keys().collect();
                let Some(ListKind::Map(names)) = list else { panic!("{at} is keyed by {keys:?}, not {list:?}") };
                assert_eq!(names.iter().collect::<BTreeSet<_>>(), keys, "{at}");
                for ((_, fields), item) in fields.iter().zip(items).filter(|_| items.len() == 1) {
                    agree(fields, item, schema, schema.item(node), at, keyed);
                }
            }
            Some(other) => panic!("{at}: {other:?}"),
        },
        _ => {}
    }
}
