//! What the rule itself admits: one write of one object a row.

use serde_json::{Value, json};

use super::super::*;
use super::{case, texts};
use crate::document::Document;

#[test]
fn fields_are_as_they_were_or_as_declared() {
    case().specs(&[
        ("nothing changes", json!({"replicas": 5}), json!({"replicas": 5}), json!({"replicas": 2}), &[]),
        ("toward Git", json!({"replicas": 5}), json!({"replicas": 2}), json!({"replicas": 2}), &[]),
        (
            "away",
            json!({"replicas": 2}),
            json!({"replicas": 5}),
            json!({"replicas": 2}),
            &["spec.replicas must be 2, not 5"],
        ),
        (
            "from drift to drift",
            json!({"replicas": 3}),
            json!({"replicas": 5}),
            json!({"replicas": 2}),
            &["spec.replicas must be 2, not 5"],
        ),
        ("old drift stays", json!({"a": 9, "b": 9}), json!({"a": 1, "b": 9}), json!({"a": 1, "b": 1}), &[]),
        ("undeclared drift stays", json!({"a": 9, "x": 1}), json!({"a": 1, "x": 1}), json!({"a": 1}), &[]),
        ("undeclared goes", json!({"a": 1, "x": 1}), json!({"a": 1}), json!({"a": 1}), &[]),
        (
            "undeclared comes",
            json!({"a": 1}),
            json!({"a": 1, "x": 1}),
            json!({"a": 1}),
            &["spec.x is not declared in Git"],
        ),
        ("undeclared changes", json!({"x": 1}), json!({"x": 2}), json!({}), &["spec.x is not declared in Git"]),
        ("declared goes", json!({"a": 1}), json!({}), json!({"a": 1}), &["spec.a must not be removed"]),
        (
            "null is no absence",
            json!({"a": 1}),
            json!({"a": 1, "x": null}),
            json!({"a": 1}),
            &["spec.x is not declared in Git"],
        ),
        ("null is a value", json!({"a": null}), json!({}), json!({"a": null}), &["spec.a must not be removed"]),
    ]);
}

#[test]
fn units_change_as_a_whole() {
    let selector = json!({"matchLabels": {"a": "b"}});
    case().specs(&[
        (
            "undeclared selector emptied",
            json!({"ns": selector}),
            json!({"ns": {}}),
            json!({}),
            &["spec.ns is not declared in Git"],
        ),
        ("undeclared selector gone", json!({"ns": selector}), json!({}), json!({}), &[]),
        (
            "empty map for none",
            json!({}),
            json!({"emptyDir": {}}),
            json!({}),
            &["spec.emptyDir is not declared in Git"],
        ),
        ("empty list for none", json!({}), json!({"ingress": []}), json!({}), &["spec.ingress is not declared in Git"]),
        ("none for empty map", json!({"d": {}}), json!({}), json!({"d": {}}), &["spec.d must not be removed"]),
        (
            "a part of what is declared comes into being",
            json!({}),
            json!({"d": {}}),
            json!({"d": {"medium": "Memory"}}),
            &["spec.d.medium must be \"Memory\", but is missing"],
        ),
        (
            "all of what is declared comes into being",
            json!({}),
            json!({"d": {"m": 1, "n": 2}}),
            json!({"d": {"m": 1, "n": 2}}),
            &[],
        ),
        (
            "atomic map, mixture",
            json!({"selector": {"a": 1, "b": 1}}),
            json!({"selector": {"a": 2, "b": 1}}),
            json!({"selector": {"a": 2, "b": 2}}),
            &["spec.selector must be {\"a\":2,\"b\":2}, not {\"a\":2,\"b\":1}"],
        ),
        (
            "granular map, mixture",
            json!({"s": {"a": 1, "b": 1}}),
            json!({"s": {"a": 2, "b": 1}}),
            json!({"s": {"a": 2, "b": 2}}),
            &[],
        ),
        (
            "atomic list",
            json!({"args": ["a", "b"]}),
            json!({"args": ["c", "b"]}),
            json!({"args": ["c", "d"]}),
            &["spec.args must be [\"c\",\"d\"], not [\"c\",\"b\"]"],
        ),
        (
            "a map for a text",
            json!({"x": "a"}),
            json!({"x": {"a": 1}}),
            json!({"x": {"a": 1, "b": 2}}),
            &["spec.x.b must be 2, but is missing"],
        ),
    ]);
}

#[test]
fn items_are_judged_by_their_keys() {
    let c = |items: Value| json!({"containers": items});
    let web = json!({"name": "web", "image": "a"});
    let side = json!({"name": "side", "image": "s"});
    let evil = json!({"name": "web", "image": "evil"});
    let web2 = json!({"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]});
    let dup = json!({"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]});
    let turned = json!({"name": "web", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]});
    case().specs(&[
        (
            "image",
            c(json!([web])),
            c(json!([evil])),
            c(json!([web])),
            &["spec.containers[name=web].image must be \"a\", not \"evil\""],
        ),
        (
            "sidecar",
            c(json!([web])),
            c(json!([web, side])),
            c(json!([web])),
            &["spec.containers[name=side] is not declared in Git"],
        ),
        ("sidecar goes", c(json!([web, side])), c(json!([web])), c(json!([web])), &[]),
        ("sidecar stays", c(json!([evil, side])), c(json!([web, side])), c(json!([web])), &[]),
        (
            "item goes",
            c(json!([web, side])),
            c(json!([side])),
            c(json!([web, side])),
            &["spec.containers[name=web] must not be removed"],
        ),
        (
            "part of an item comes",
            c(json!([])),
            c(json!([{"name": "web"}])),
            c(json!([web])),
            &["spec.containers[name=web].image must be \"a\", but is missing"],
        ),
        (
            "order",
            c(json!([web2])),
            c(json!([turned])),
            c(json!([web2])),
            &["spec.containers[name=web].env must keep the order of its items"],
        ),
        ("order restored", c(json!([turned])), c(json!([web2])), c(json!([web2])), &[]),
        ("order of old", c(json!([turned, side])), c(json!([turned])), c(json!([web2])), &[]),
        ("a missing item in its place", c(json!([web])), c(json!([web, side])), c(json!([web, side])), &[]),
        (
            "a missing item in another place",
            c(json!([web])),
            c(json!([side, web])),
            c(json!([web, side])),
            &["spec.containers must keep the order of its items"],
        ),
        (
            "a missing item where the order has drifted",
            c(json!([side, web])),
            c(json!([side, web, {"name": "log"}])),
            c(json!([{"name": "log"}, web, side])),
            &[],
        ),
        (
            "duplicate",
            c(json!([web2])),
            c(json!([dup])),
            c(json!([web2])),
            &["spec.containers[name=web].env[name=A] must not be there twice"],
        ),
        ("duplicate stays", c(json!([dup, side])), c(json!([dup])), c(json!([web2])), &[]),
        ("duplicate goes", c(json!([dup])), c(json!([web2])), c(json!([web2])), &[]),
        (
            "keyless items",
            c(json!([{"image": "a"}, {"image": "b"}])),
            c(json!([{"image": "a"}, {"image": "c"}])),
            c(json!([web])),
            &["spec.containers[name=null] must not be there twice"],
        ),
        ("whole list goes", c(json!([web])), json!({}), c(json!([web])), &["spec.containers must not be removed"]),
        (
            "undeclared list in part",
            c(json!([web, side])),
            c(json!([web])),
            json!({}),
            &["spec.containers is not declared in Git"],
        ),
    ]);
    let port =
        |port: u16, protocol: &str, target: u16| json!({"port": port, "protocol": protocol, "targetPort": target});
    case().specs(&[
        (
            "same port, other protocol",
            json!({"ports": [port(53, "TCP", 1), port(53, "UDP", 1)]}),
            json!({"ports": [port(53, "TCP", 1), port(53, "UDP", 2)]}),
            json!({"ports": [port(53, "TCP", 1), port(53, "UDP", 1)]}),
            &["spec.ports[port=53,protocol=UDP].targetPort must be 1, not 2"],
        ),
        (
            "set member comes",
            json!({"tags": ["a"]}),
            json!({"tags": ["a", "b"]}),
            json!({"tags": ["a"]}),
            &["spec.tags[=b] is not declared in Git"],
        ),
        (
            "set member goes",
            json!({"tags": ["a", "b"]}),
            json!({"tags": ["b"]}),
            json!({"tags": ["a"]}),
            &["spec.tags[=a] must not be removed"],
        ),
        (
            "set, each by itself",
            json!({"tags": ["x", "y", "a"]}),
            json!({"tags": ["x", "a", "b"]}),
            json!({"tags": ["a", "b"]}),
            &[],
        ),
        (
            "set member twice",
            json!({"tags": ["a"]}),
            json!({"tags": ["a", "a"]}),
            json!({"tags": ["a"]}),
            &["spec.tags[=a] must not be there twice"],
        ),
    ]);
}

#[test]
fn metadata() {
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": uid});
    case().metadata(&[
        ("bookkeeping", json!({"resourceVersion": "1", "uid": "u", "managedFields": [1]}), json!({"resourceVersion": "2", "generation": 3, "managedFields": []}), json!({}), &[]),
        ("label", json!({}), json!({"labels": {"x": "y"}}), json!({}), &["metadata.labels[x] is not declared in Git"]),
        ("one of two undeclared labels goes", json!({"labels": {"x": "1", "y": "1"}}), json!({"labels": {"x": "1"}}), json!({}), &[]),
        ("empty labels", json!({}), json!({"labels": {}}), json!({}), &["metadata.labels is not declared in Git"]),
        ("one of two lost labels comes back", json!({}), json!({"labels": {"x": "1"}}), json!({"labels": {"x": "1", "y": "1"}}), &[]),
        ("planted owner", json!({}), json!({"ownerReferences": [owner("u")]}), json!({}), &["metadata.ownerReferences[={\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"o\",\"uid\":\"u\"}] is not declared in Git"]),
        ("one of two planted owners goes", json!({"ownerReferences": [owner("u"), owner("v")]}), json!({"ownerReferences": [owner("v")]}), json!({}), &[]),
        ("finalizer", json!({"finalizers": ["a"]}), json!({"finalizers": ["a", "x"]}), json!({"finalizers": ["a"]}), &["metadata.finalizers[=x] is not declared in Git"]),
        ("declared finalizer goes", json!({"finalizers": ["a"]}), json!({}), json!({"finalizers": ["a"]}), &["metadata.finalizers[=a] must not be removed"]),
    ]);
}

#[test]
fn status_is_state_without_a_subresource() {
    let with = |status: i64| json!({"apiVersion": "v1", "kind": "K", "status": {"a": status}});
    let case = case();
    assert_eq!(case.judge(&with(1), &with(2), &with(1)), []);
    let [old, new] = [with(1), with(2)].map(|value| Document::from_value(&value));
    let latitude = Latitude { status_subresource: false, ..case.latitude() };
    assert_eq!(texts(&judge(old.root(), new.root(), old.root(), &latitude)), ["status.a must be 1, not 2"]);
}
