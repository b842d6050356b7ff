//! Tables: one write of one object a row.

use serde_json::{Value, json};

use super::*;
use crate::document::Document;

/// The list types of what the tables use of Deployment, Service and webhook configurations.
pub(super) fn schema() -> ListSchema {
    serde_json::from_value(json!({"nodes": [
        {"fields": {"spec": 1, "webhooks": 7}},
        {"fields": {"containers": 2, "ports": 5, "selector": 6, "tags": 9}},
        {"list": {"Map": ["name"]}, "items": 3},
        {"fields": {"env": 4, "args": 8}},
        {"list": {"Map": ["name"]}},
        {"list": {"Map": ["port", "protocol"]}},
        {"atomic": true},
        {"list": {"Map": ["name"]}},
        {"list": "Atomic"},
        {"list": "Set"},
    ]}))
    .unwrap()
}

pub(super) struct Case {
    schema: ListSchema,
    allotted: Vec<PathPattern>,
    free: Vec<FreeField>,
    undeclared_fields: bool,
}

pub(super) fn case() -> Case {
    Case { schema: schema(), allotted: Vec::new(), free: Vec::new(), undeclared_fields: false }
}

impl Case {
    pub fn allotted(mut self, pattern: &str) -> Self {
        self.allotted.push(pattern.parse().unwrap());
        self
    }

    pub fn free(mut self, pattern: &str, bounds: Option<(i64, i64)>) -> Self {
        let bounds = bounds.map(|(low, high)| Bounds { minimum: Some(low), maximum: Some(high) });
        self.free.push(FreeField { pattern: pattern.parse().unwrap(), bounds });
        self
    }

    pub fn latitude(&self) -> Latitude<'_> {
        Latitude {
            schema: &self.schema,
            status_subresource: true,
            allotted: &self.allotted,
            free: &self.free,
            undeclared_fields: self.undeclared_fields,
        }
    }

    pub fn judge(&self, old: &Value, new: &Value, canonical: &Value) -> Vec<Finding> {
        let [old, new, canonical] = [old, new, canonical].map(Document::from_value);
        judge(old.root(), new.root(), canonical.root(), &self.latitude())
    }

    pub fn create(&self, new: &Value, canonical: &Value) -> Vec<Finding> {
        let [new, canonical] = [new, canonical].map(Document::from_value);
        judge_create(new.root(), canonical.root(), &self.latitude())
    }

    pub fn difference(&self, live: &Value, canonical: &Value) -> Vec<Finding> {
        let [live, canonical] = [live, canonical].map(Document::from_value);
        difference(live.root(), canonical.root(), &self.latitude())
    }

    pub fn carry(&self, canonical: &Value, live: &Value) -> Value {
        let [canonical, live] = [canonical, live].map(Document::from_value);
        carry(canonical.root(), live.root(), &self.latitude())
    }

    /// Rows of old, new, canonical spec, and the findings.
    fn specs(&self, rows: &[(&str, Value, Value, Value, &[&str])]) {
        for (name, old, new, canonical, findings) in rows {
            let [old, new, canonical] = [old, new, canonical].map(object);
            assert_eq!(texts(&self.judge(&old, &new, &canonical)), *findings, "{name}");
        }
    }

    fn metadata(&self, rows: &[(&str, Value, Value, Value, &[&str])]) {
        for (name, old, new, canonical, findings) in rows {
            let [old, new, canonical] = [old, new, canonical].map(with_metadata);
            assert_eq!(texts(&self.judge(&old, &new, &canonical)), *findings, "{name}");
        }
    }
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn with_metadata(metadata: &Value) -> Value {
    let mut object = object(&json!({"replicas": 1}));
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

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
        ("declared finalizer goes", json!({"finalizers": ["a"]}), json!({}), json!({"finalizers": ["a"]}), &["metadata.finalizers must not be removed"]),
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
fn what_others_may_add_keeps_its_place() {
    let case = case().allotted("metadata.finalizers[kubernetes.io/pvc-protection]");
    let canonical = with_metadata(&json!({"finalizers": ["a", "b"]}));
    let live = with_metadata(&json!({"finalizers": ["kubernetes.io/pvc-protection", "a", "b"]}));
    assert_eq!(case.difference(&live, &canonical), []);
    assert_eq!(case.carry(&canonical, &live), live);
    assert_eq!(case.judge(&canonical, &live, &canonical), []);
    assert_eq!(case.judge(&live, &canonical, &canonical).len(), 1);
}
