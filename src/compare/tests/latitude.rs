//! What a write may touch besides the declared state, and what a repair leaves alone.

use serde_json::{Value, json};

use super::super::*;
use super::{Case, case, object, texts, with_metadata};
use crate::document::Document;

#[test]
fn last_applied_is_free_where_it_describes_the_same_object() {
    let annotated = |text: String| with_metadata(&json!({"annotations": {LAST_APPLIED: text}}));
    let plain = with_metadata(&json!({}));
    let manifest = |version: &str, name: &str, namespace: Value| {
        json!({"apiVersion": version, "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "x": [1]}).to_string()
    };
    for (text, admitted) in [
        (manifest("apps/v1", "web", json!("shop")), true),
        (manifest("apps/v1beta1", "web", json!("shop")), true),
        (manifest("apps/v1", "web", Value::Null), true),
        (manifest("v1", "web", json!("shop")), false),
        (manifest("apps/v1", "other", json!("shop")), false),
        (manifest("apps/v1", "web", json!("other")), false),
        ("{}".into(), false),
        ("text".into(), false),
    ] {
        let new = annotated(text.clone());
        assert_eq!(case().judge(&plain, &new, &plain).is_empty(), admitted, "{text}");
        assert_eq!(case().create(&new, &plain).is_empty(), admitted, "{text}");
        assert_eq!(case().difference(&new, &plain).is_empty(), admitted, "{text}");
        assert_eq!(case().carry(&plain, &new), if admitted { new } else { plain.clone() });
    }
}

#[test]
fn allotted_values_are_set_once() {
    let port = |node: Option<u16>| {
        let mut port = json!({"port": 80, "protocol": "TCP"});
        if let Some(node) = node {
            port["nodePort"] = json!(node);
        }
        json!({"type": "NodePort", "ports": [port]})
    };
    let by_label = case().allotted("metadata.labels[uid]");
    let case = case().allotted("spec.ports[*].nodePort").allotted("spec.clusterIP");
    case.specs(&[
        ("allotment", port(None), port(Some(32071)), port(None), &[]),
        (
            "moved",
            port(Some(32071)),
            port(Some(31999)),
            port(None),
            &["spec.ports[port=80,protocol=TCP].nodePort is set once by the API server and cannot be changed"],
        ),
        (
            "dropped alone",
            port(Some(32071)),
            port(None),
            port(None),
            &["spec.ports[port=80,protocol=TCP].nodePort is set once by the API server and cannot be changed"],
        ),
        (
            "declared and moved",
            port(Some(1)),
            port(Some(2)),
            port(Some(1)),
            &["spec.ports[port=80,protocol=TCP].nodePort must be 1, not 2"],
        ),
        ("declared otherwise", port(Some(1)), port(Some(2)), port(Some(2)), &[]),
        (
            "dropped with the type",
            json!({"type": "NodePort", "clusterIP": "x"}),
            json!({"type": "ExternalName"}),
            json!({"type": "ExternalName"}),
            &[],
        ),
        (
            "the item goes",
            json!({"ports": [{"port": 1, "protocol": "TCP", "nodePort": 5}]}),
            json!({"ports": []}),
            json!({"ports": []}),
            &[],
        ),
    ]);
    // What changes in the metadata takes nothing along, and nothing in it is taken along.
    let labelled = |spec: &Value, labels: Value| {
        let mut object = object(spec);
        object["metadata"]["labels"] = labels;
        object
    };
    let (had, lost) = (port(Some(32071)), port(None));
    assert_eq!(case.judge(&labelled(&had, json!({"x": "y"})), &object(&lost), &object(&lost)).len(), 1);
    let (old, new) = (labelled(&json!({"a": 1}), json!({"uid": "1"})), object(&json!({"a": 2})));
    assert_eq!(by_label.judge(&old, &new, &new).len(), 1);
    assert_eq!(case.create(&object(&port(Some(3))), &object(&port(None))), []);
    assert_eq!(case.carry(&object(&port(None)), &object(&port(Some(3)))), object(&port(Some(3))));
    assert_eq!(case.difference(&object(&port(Some(3))), &object(&port(None))), []);
}

#[test]
fn delegated_fields_are_free_within_bounds() {
    let case = case()
        .free("spec.replicas", Some((2, 10)))
        .free("metadata.annotations[pv.kubernetes.io/*]", None)
        .free("webhooks[*].clientConfig.caBundle", None)
        .free("spec.containers[name=proxy]", None)
        .free("spec.tuning.level", None);
    let replicas = |n: i64| json!({"replicas": n});
    let containers =
        |names: &[&str]| json!({"containers": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    case.specs(&[
        ("within", replicas(3), replicas(10), replicas(3), &[]),
        ("beyond", replicas(3), replicas(11), replicas(3), &["spec.replicas must be between 2 and 10, not 11"]),
        ("undeclared, within", json!({}), replicas(4), json!({}), &[]),
        ("removed where declared", replicas(3), json!({}), replicas(3), &["spec.replicas must be between 2 and 10"]),
        ("a whole item", containers(&["web"]), containers(&["web", "proxy"]), containers(&["web"]), &[]),
        (
            "another item",
            containers(&["web"]),
            containers(&["web", "miner"]),
            containers(&["web"]),
            &["spec.containers[name=miner] is not declared in Git"],
        ),
        ("a map for the free field", json!({}), json!({"tuning": {"level": 1}}), json!({}), &[]),
        ("no map without it", json!({}), json!({"tuning": {}}), json!({}), &["spec.tuning is not declared in Git"]),
        (
            "nothing beside it",
            json!({}),
            json!({"tuning": {"level": 1, "x": 1}}),
            json!({}),
            &["spec.tuning is not declared in Git"],
        ),
        (
            "beside drift that stays",
            json!({"tuning": {"x": 1, "y": 1}}),
            json!({"tuning": {"x": 1, "y": 1, "level": 2}}),
            json!({}),
            &[],
        ),
        (
            "beside drift that goes in part",
            json!({"tuning": {"x": 1, "y": 1}}),
            json!({"tuning": {"x": 1, "level": 2}}),
            json!({}),
            &["spec.tuning is not declared in Git"],
        ),
        (
            "drift goes, the free field stays",
            json!({"tuning": {"x": 1, "level": 2}}),
            json!({"tuning": {"level": 2}}),
            json!({}),
            &[],
        ),
    ]);
    case.metadata(&[
        ("annotations come", json!({}), json!({"annotations": {"pv.kubernetes.io/bound": "yes"}}), json!({}), &[]),
        (
            "and another",
            json!({}),
            json!({"annotations": {"pv.kubernetes.io/bound": "yes", "x": "y"}}),
            json!({}),
            &["metadata.annotations[x] is not declared in Git"],
        ),
    ]);
    let hooks = |bundle: Option<&str>, url: &str| {
        let mut hook = json!({"name": "a.b.c", "clientConfig": {"url": url}});
        if let Some(bundle) = bundle {
            hook["clientConfig"]["caBundle"] = json!(bundle);
        }
        json!({"apiVersion": "v1", "kind": "W", "webhooks": [hook]})
    };
    assert_eq!(case.judge(&hooks(None, "u"), &hooks(Some("ca"), "u"), &hooks(None, "u")), []);
    assert_eq!(
        texts(&case.judge(&hooks(None, "u"), &hooks(Some("ca"), "v"), &hooks(None, "u"))),
        ["webhooks[name=a.b.c].clientConfig.url must be \"u\", not \"v\""]
    );
    assert_eq!(case.carry(&hooks(None, "u"), &hooks(Some("ca"), "v")), hooks(Some("ca"), "u"));
    assert_eq!(case.carry(&hooks(Some("git"), "u"), &hooks(Some("ca"), "u")), hooks(Some("ca"), "u"));
}

#[test]
fn bounds_are_restored() {
    let case = case().free("spec.replicas", Some((2, 10)));
    for (live, canonical, wanted) in [(50, None, 10), (1, None, 2), (50, Some(3), 3), (5, Some(3), 5)] {
        let canonical = object(&canonical.map_or(json!({}), |n| json!({"replicas": n})));
        let live = object(&json!({"replicas": live}));
        assert_eq!(case.carry(&canonical, &live), object(&json!({"replicas": wanted})));
        assert_eq!(case.difference(&live, &canonical).is_empty(), live["spec"]["replicas"] == wanted);
    }
}

#[test]
fn a_new_object_is_the_declared_one() {
    let case = case().free("spec.replicas", None).allotted("spec.clusterIP");
    let canonical = object(&json!({"replicas": 2, "a": {"b": 1}}));
    for (spec, findings) in [
        (json!({"replicas": 2, "a": {"b": 1}}), &[][..]),
        (json!({"replicas": 2, "a": {"b": 1}, "clusterIP": "10.0.0.1"}), &[]),
        (json!({"replicas": 3, "a": {"b": 1}}), &["spec.replicas must be 2, not 3"]),
        (json!({"replicas": 2, "a": {}}), &["spec.a.b must be 1, but is missing"]),
        (json!({"replicas": 2}), &["spec.a must be {\"b\":1}, but is missing"]),
        (json!({"replicas": 2, "a": {"b": 1}, "x": 1}), &["spec.x is not declared in Git"]),
    ] {
        assert_eq!(texts(&case.create(&object(&spec), &canonical)), findings);
    }
    let mut other = canonical.clone();
    other["apiVersion"] = json!("apps/v2");
    assert_eq!(texts(&case.create(&other, &canonical)), ["apiVersion must be \"apps/v1\", not \"apps/v2\""]);
    assert_eq!(case.judge(&other, &other, &canonical), []);
}

#[test]
fn undeclared_fields_may_be_allowed() {
    let case = Case { undeclared_fields: true, ..case() };
    case.specs(&[
        ("a field", json!({"a": 1}), json!({"a": 1, "x": 1}), json!({"a": 1}), &[]),
        ("a declared one", json!({"a": 1}), json!({"a": 2, "x": 1}), json!({"a": 1}), &["spec.a must be 1, not 2"]),
    ]);
    case.metadata(&[
        ("a label", json!({}), json!({"labels": {"x": "y"}}), json!({}), &[]),
        (
            "a finalizer",
            json!({}),
            json!({"finalizers": ["x"]}),
            json!({}),
            &["metadata.finalizers[=x] is not declared in Git"],
        ),
    ]);
    assert_eq!(case.difference(&object(&json!({"a": 1, "x": 1})), &object(&json!({"a": 1}))), []);
}

#[test]
fn drift_is_named_and_patched() {
    let canonical = object(&json!({"replicas": 2, "args": ["a"], "containers": [{"name": "a"}, {"name": "b"}]}));
    let mut live = object(&json!({
        "replicas": 5, "args": ["a", "b"], "securityContext": {"x": {"y": 1}},
        "containers": [{"name": "b"}, {"name": "a", "z": 1}, {"name": "c"}, {"name": "b"}],
    }));
    live["metadata"]["labels"] = json!({"x/y": "z"});
    live["metadata"]["resourceVersion"] = json!("7");
    live["metadata"]["uid"] = json!("u");
    live["status"] = json!({"ready": true});
    assert_eq!(
        texts(&case().difference(&live, &canonical)),
        [
            "metadata.labels[x/y] is not declared in Git",
            "spec.args must be [\"a\"], not [\"a\",\"b\"]",
            "spec.containers[name=b] must not be there twice",
            "spec.containers[name=a].z is not declared in Git",
            "spec.containers[name=c] is not declared in Git",
            "spec.containers must keep the order of its items",
            "spec.replicas must be 2, not 5",
            "spec.securityContext is not declared in Git",
        ]
    );
    let mut body = canonical.clone();
    body["metadata"]["resourceVersion"] = json!("7");
    body["metadata"]["uid"] = json!("u");
    assert_eq!(case().carry(&canonical, &live), body);
    let [live, canonical] = [live, canonical].map(|value| Document::from_value(&value));
    assert_eq!(
        serde_json::to_value(json_patch(live.root(), canonical.root(), &case().latitude())).unwrap(),
        json!([
            {"op": "remove", "path": "/metadata/labels"},
            {"op": "replace", "path": "/spec/args", "value": ["a"]},
            {"op": "replace", "path": "/spec/containers", "value": [{"name": "a"}, {"name": "b"}]},
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "remove", "path": "/spec/securityContext"},
        ])
    );
}

#[test]
fn a_unit_that_drifted_is_named_as_a_whole() {
    let selector = |a: i64| object(&json!({"selector": {"a": a, "b": 1}}));
    assert_eq!(
        texts(&case().difference(&selector(2), &selector(1))),
        [r#"spec.selector must be {"a":1,"b":1}, not {"a":2,"b":1}"#]
    );
}

#[test]
fn what_others_may_add_keeps_its_place() {
    let case = case().allotted("metadata.finalizers[kubernetes.io/pvc-protection]");
    let canonical = with_metadata(&json!({"finalizers": ["a", "b"]}));
    let live = with_metadata(&json!({"finalizers": ["kubernetes.io/pvc-protection", "a", "b"]}));
    assert_eq!(case.difference(&live, &canonical), []);
    assert_eq!(case.carry(&canonical, &live), live);
    assert_eq!(case.judge(&canonical, &live, &canonical), []);
    assert_eq!(case.judge(&live, &canonical, &canonical).len(), 1);
}
