//! The classification of writes: against everything that a real API server serves, and in the documentation.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/page.rs"]
mod page;
#[path = "../support/served.rs"]
mod served;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::collections::BTreeSet;

use gitadel::admission::Operation;
use gitadel::admission::coverage::{Endpoint, ROWS, Resources, Target, classify};
use gitadel::demo::control_plane::{ControlPlane, Options};
use support::{eventually, kubectl_with_input};

/// What a row says of built-in resources.
fn builtin(target: Target) -> (&'static [Resources], &'static str) {
    match target {
        Target::Objects => (&[], ""),
        Target::Common { subresource, builtin } => (builtin, subresource),
        Target::Named { resources, subresource } => (resources, subresource),
    }
}

fn path(endpoint: &Endpoint) -> String {
    let Endpoint { group, resource, subresource, .. } = endpoint;
    [group, resource, subresource].map(String::as_str).join("/").trim_end_matches('/').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_that_is_served_is_classified_and_every_row_is_served() {
    let options = Options { controller_manager: false, apiserver_flags: served::all_of_it(), ..Options::default() };
    let control_plane = ControlPlane::start(options).await.unwrap();
    let defined = kubectl_with_input(control_plane.kubeconfig(), &["create", "-f", "-"], &served::definitions());
    assert!(defined.success, "{defined:?}");
    let client = support::client(&control_plane).await;
    let endpoints = eventually("the custom resources", async || {
        let endpoints = served::aggregated(&client).await;
        let custom: BTreeSet<_> = endpoints.iter().filter(|e| e.custom).map(path).collect();
        (custom == served::DEFINED.map(str::to_owned).into()).then_some(endpoints)
    })
    .await;

    // The older form of discovery knows no other writes.
    let writable = |all: &[Endpoint]| -> BTreeSet<(String, bool)> {
        let operations = |e: &Endpoint| classify(e).map_or(true, |rows| !rows.is_empty());
        all.iter().filter(|e| operations(e)).map(|e| (path(e), e.custom)).collect()
    };
    let older = eventually("the older form of discovery to know the custom resources", async || {
        let older = served::by_version(&client).await;
        older.iter().any(|endpoint| endpoint.custom).then_some(older)
    })
    .await;
    assert_eq!(writable(&endpoints), writable(&older));
    assert!(writable(&endpoints).len() > 100, "{endpoints:?}");

    let mut unclassified = Vec::new();
    let mut met: BTreeSet<(usize, String, &str)> = BTreeSet::new();
    for endpoint in &endpoints {
        match classify(endpoint) {
            Err(operations) => unclassified.push((path(endpoint), operations, &endpoint.verbs)),
            Ok(rows) => met.extend(rows.into_iter().map(|(operation, row)| {
                let at = ROWS.iter().position(|other| std::ptr::eq(other, row)).unwrap();
                (at, path(endpoint), operation.as_str())
            })),
        }
    }
    assert!(
        unclassified.is_empty(),
        "nothing says who judges these writes. Find out what each can change, and add a row to \
         src/admission/coverage/rows.rs:\n{unclassified:#?}"
    );

    let mut stale = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        let (resources, subresource) = builtin(row.target);
        let named = resources.iter().flat_map(|(group, names)| names.iter().map(move |name| (group, name)));
        for (group, resource) in named {
            let path = format!("{group}/{resource}/{subresource}").trim_end_matches('/').to_owned();
            for operation in row.operations {
                if !met.contains(&(at, path.clone(), operation.as_str())) {
                    stale.push((path.clone(), operation.as_str()));
                }
            }
        }
        assert!(met.iter().any(|(other, ..)| *other == at), "no write that is served has this row: {row:?}");
    }
    assert!(stale.is_empty(), "rows name what this API server does not serve:\n{stale:#?}");
}

/// If a Kubernetes version brought these, the test above would fail.
#[test]
fn something_new_would_be_noticed() {
    let core = serde_json::json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [{
        "resource": "pods", "scope": "Namespaced", "verbs": ["create", "get", "list"], "subresources": [
            {"subresource": "exec", "verbs": ["create", "get"]},
            {"subresource": "teleport", "verbs": ["create", "get"]}]}]}]}]});
    let endpoints = served::from_aggregated(&[core], &BTreeSet::new());
    let unknown: Vec<_> = endpoints.iter().filter_map(|e| Some((path(e), classify(e).err()?))).collect();
    assert_eq!(unknown, [("/pods/teleport".to_owned(), vec![Operation::Create])]);
}

#[test]
fn the_page_shows_the_table() {
    page::assert_section("docs/enforcement.md", "classification", &table::markdown());
}
