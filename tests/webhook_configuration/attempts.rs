//! Writes around each exemption: some that it keeps out, and some that differ from those by little.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::samples;

/// A write around an exemption.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The match condition that it is about.
    pub about: &'static str,
    pub method: &'static str,
    pub path: String,
    /// For a PUT, what is laid over the live object.
    pub body: Value,
}

impl Attempt {
    fn new(about: &'static str, method: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { about, method, path: path.into(), body }
    }
}

/// One of these; the first is what an exempt write has.
fn mostly(first: Value, others: Vec<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![6 => Just(Some(first)), 1 => Just(None), 2 => select(others).prop_map(Some)].boxed()
}

/// Nothing, or sometimes one of these.
fn seldom(others: Vec<Value>) -> BoxedStrategy<Option<Value>> {
    prop_oneof![7 => Just(None), 1 => select(others).prop_map(Some)].boxed()
}

/// An object of the fields that are given.
fn object(fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values
        .prop_map(move |values| {
            let given = names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Value::Object(given.collect::<Map<_, _>>())
        })
        .boxed()
}

fn some(strategy: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    strategy.prop_map(Some).boxed()
}

/// Changes of metadata: values that are empty, null or absent are three things.
fn metadata() -> BoxedStrategy<Value> {
    let revision = "deployment.kubernetes.io/revision";
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "dead", "uid": "7"});
    object(vec![
        ("labels", seldom(vec![json!({"a": ""}), json!({"a": null}), json!({"a": "b"}), json!({}), Value::Null])),
        (
            "annotations",
            prop_oneof![
                5 => Just(None),
                2 => select(vec![json!({revision: "1"}), json!({revision: ""}), json!({revision: null})]).prop_map(Some),
                1 => select(vec![json!({"a": ""}), json!({"a": null}), json!({"a": "b"}), json!({}), Value::Null])
                    .prop_map(Some),
            ]
            .boxed(),
        ),
        ("finalizers", seldom(vec![json!(["example.org/keep"]), json!([]), Value::Null])),
        ("ownerReferences", seldom(vec![json!([owner]), json!([]), Value::Null])),
        ("generateName", seldom(vec![json!("g-"), Value::Null])),
    ])
}

fn update(
    about: &'static str,
    path: &str,
    fields: Vec<(&'static str, BoxedStrategy<Option<Value>>)>,
) -> BoxedStrategy<Attempt> {
    let path = path.to_owned();
    (select(vec!["PATCH", "PUT"]), object(fields))
        .prop_map(move |(method, body)| Attempt::new(about, method, path.clone(), body))
        .boxed()
}

/// Writes through `status`, for different objects.
pub fn statuses() -> BoxedStrategy<Attempt> {
    let of = |about, path: &str, statuses: Vec<Value>, others: Vec<(&'static str, Vec<Value>)>| {
        let others = others.into_iter().map(|(name, values)| (name, seldom(values)));
        let mut fields = vec![("metadata", some(metadata())), ("status", prop::option::of(select(statuses)).boxed())];
        fields.extend(others);
        update(about, path, fields)
    };
    let generation = |n: i64| json!({"observedGeneration": n});
    let phase = |name: &str| json!({"phase": name});
    let hpa = json!({"currentReplicas": 1, "desiredReplicas": 2});
    prop_oneof![
        3 => of(
            "deployment-status",
            "/apis/apps/v1/namespaces/shop/deployments/web/status",
            vec![generation(1), generation(2), Value::Null],
            vec![("spec", vec![json!({"replicas": 5}), json!({"paused": true})])],
        ),
        2 => of(
            "pure-status",
            "/api/v1/namespaces/shop/pods/p/status",
            vec![json!({"message": "m"}), json!({"podIPs": null, "podIP": null}), json!({"message": ""})],
            vec![("spec", vec![json!({"activeDeadlineSeconds": 5})])],
        ),
        1 => of("pure-status", "/api/v1/nodes/n/status", vec![phase("Running"), phase("Pending")], vec![]),
        1 => of("pure-status", "/api/v1/namespaces/gitadel-system/status", vec![json!({"conditions": []})], vec![]),
        1 => of(
            "pure-status",
            "/api/v1/namespaces/shop/services/s/status",
            vec![json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}), json!({"loadBalancer": {}})],
            vec![],
        ),
        1 => of(
            "pure-status",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/enforcements.gitadel.dev/status",
            vec![json!({"conditions": null}), json!({"observedGeneration": 1})],
            vec![],
        ),
        1 => of(
            "pure-status",
            "/apis/gitadel.dev/v1alpha1/enforcements/all/status",
            vec![generation(3), json!({}), Value::Null],
            vec![("spec", vec![json!({"action": "Observe"})])],
        ),
        1 => of(
            "pure-status",
            "/apis/autoscaling/v1/namespaces/shop/horizontalpodautoscalers/x/status",
            vec![hpa.clone()],
            vec![],
        ),
        1 => of("pure-status", "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/x/status", vec![hpa], vec![]),
        2 => of(
            "pure-status",
            "/apis/example.org/v1/namespaces/shop/widgets/x/status",
            vec![json!({"a": ""}), json!({}), Value::Null, json!("text")],
            vec![("spec", vec![json!({"replicas": 7}), Value::Null]), ("extra", vec![json!({"a": null}), json!("")])],
        ),
    ]
    .boxed()
}

/// Updates of a node, and new ones.
pub fn nodes() -> BoxedStrategy<Attempt> {
    let condition = ["not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "unschedulable"];
    let keys = condition.map(|name| format!("node.kubernetes.io/{name}")).to_vec();
    let foreign = ["node.kubernetes.io/out-of-service", "dedicated", "node.cloudprovider.kubernetes.io/uninitialized"];
    let keys = prop_oneof![9 => select(keys), 1 => select(foreign.map(str::to_owned).to_vec())];
    let taint = (keys, select(vec!["NoSchedule", "NoExecute"]), select(vec![None, Some(""), Some("v")]));
    let taint = taint.prop_map(|(key, effect, value)| {
        let mut taint = json!({"key": key, "effect": effect});
        if let Some(value) = value {
            taint["value"] = value.into();
        }
        taint
    });
    let taints =
        prop_oneof![6 => prop::collection::vec(taint, 0..3).prop_map(|list| json!(list)), 1 => Just(Value::Null)];
    let spec = object(vec![
        ("taints", some(taints.boxed())),
        ("unschedulable", seldom(vec![json!(true), json!(false), Value::Null])),
        ("providerID", seldom(vec![json!("cloud://1"), json!("")])),
        ("podCIDR", seldom(vec![json!("10.1.0.0/24")])),
    ]);
    let changed =
        || update("node-taints", "/api/v1/nodes/n", vec![("metadata", some(metadata())), ("spec", some(spec.clone()))]);
    let made = (0..1000u32, metadata()).prop_map(|(n, mut metadata)| {
        metadata["name"] = format!("node-{n}").into();
        Attempt::new("node-create", "POST", "/api/v1/nodes", json!({"metadata": metadata}))
    });
    prop_oneof![6 => changed(), 1 => made].boxed()
}

/// Slices that look like the controller's, more or less.
pub fn slices() -> BoxedStrategy<Attempt> {
    const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
    let label = |service: &str, manager: &str| json!({"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": manager});
    let own = "endpointslice-controller.k8s.io";
    let mut more = label("gitadel", own);
    more["a"] = "".into();
    let labels = || {
        mostly(
            label("gitadel", own),
            vec![label("other", own), label("gitadel", "me"), label("", own), more.clone(), Value::Null],
        )
    };
    let owner = |kind: &str, name: &str, controller: Value| {
        json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": "00000000-0000-0000-0000-000000000000",
            "controller": controller})
    };
    let service = owner("Service", "gitadel", json!(true));
    let owners = mostly(
        json!([service]),
        vec![
            json!([owner("Service", "other", json!(true))]),
            json!([owner("Pod", "gitadel", json!(true))]),
            json!([owner("Service", "gitadel", json!(false))]),
            json!([owner("Service", "gitadel", Value::Null)]),
            json!([service, owner("ConfigMap", "x", json!(false))]),
            json!([]),
            Value::Null,
        ],
    );
    let annotations = || {
        prop_oneof![
            4 => Just(None),
            2 => select(vec![json!({TRIGGER: "now"}), json!({TRIGGER: ""}), json!({TRIGGER: null})]).prop_map(Some),
            1 => select(vec![json!({"a": ""}), json!({}), Value::Null]).prop_map(Some),
        ]
        .boxed()
    };
    let to = |kind: &str, namespace: &str| json!({"addresses": ["10.0.0.1"], "targetRef": {"kind": kind, "namespace": namespace, "name": "p"}});
    let named = |hostname: &str| {
        let mut endpoint = to("Pod", "gitadel-system");
        endpoint["hostname"] = hostname.into();
        json!([endpoint])
    };
    let endpoints = || {
        mostly(
            json!([to("Pod", "gitadel-system")]),
            vec![
                json!([]),
                Value::Null,
                json!([to("Pod", "shop")]),
                json!([to("Pod", "gitadel-system"), to("Node", "gitadel-system")]),
                json!([{"addresses": ["10.0.0.2"]}]),
                named("h"),
            ],
        )
    };
    let ports =
        || seldom(vec![json!([]), Value::Null, json!([{"name": "https", "port": 9443}]), json!([{"port": 6666}])]);
    let finalizers = || seldom(vec![json!(["example.org/keep"]), json!([]), Value::Null]);

    let metadata = object(vec![
        ("labels", labels()),
        ("annotations", annotations()),
        ("ownerReferences", owners),
        ("finalizers", finalizers()),
    ]);
    let slice = object(vec![("metadata", some(metadata)), ("endpoints", endpoints()), ("ports", ports())]);
    let names = prop_oneof![8 => Just("gitadel-"), 1 => Just("other-"), 1 => Just("gitadel")];
    let namespaces = prop_oneof![8 => Just("gitadel-system"), 1 => Just("shop")];
    let made = (names, 0..100_000u32, namespaces, slice).prop_map(|(name, n, namespace, mut slice)| {
        slice["metadata"]["name"] = format!("{name}{n}").into();
        slice["addressType"] = "IPv4".into();
        Attempt::new(
            "own-slices",
            "POST",
            format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"),
            slice,
        )
    });
    let metadata = object(vec![
        ("labels", seldom(vec![json!({"a": ""}), json!({"a": null}), label("other", own)])),
        ("annotations", annotations()),
        ("ownerReferences", seldom(vec![Value::Null])),
        ("finalizers", finalizers()),
    ]);
    let fields = vec![("metadata", some(metadata)), ("endpoints", endpoints()), ("ports", ports())];
    let path = "/apis/discovery.k8s.io/v1/namespaces/gitadel-system/endpointslices/gitadel-kept";
    prop_oneof![1 => made, 1 => update("own-slices", path, fields)].boxed()
}

/// With more or less metadata, in gitadel's namespace and another.
pub fn bindings() -> BoxedStrategy<Attempt> {
    let metadata = object(vec![
        (
            "labels",
            prop_oneof![
                2 => Just(None),
                2 => select(vec![json!({"topology.kubernetes.io/zone": "a"}), json!({"topology.kubernetes.io/": ""}), json!({})])
                    .prop_map(Some),
                1 => select(vec![json!({"a": ""}), json!({"topology.kubernetes.io.evil/zone": "a"})]).prop_map(Some),
            ]
            .boxed(),
        ),
        ("annotations", seldom(vec![json!({"a": ""}), json!({"a": "b"}), json!({})])),
    ]);
    let namespaces = prop_oneof![4 => Just("gitadel-system"), 1 => Just("shop")];
    (namespaces, any::<bool>(), metadata)
        .prop_map(|(namespace, older, mut metadata)| {
            metadata["name"] = "p".into();
            let binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "n"}});
            let resource = if older { "bindings" } else { "pods/p/binding" };
            Attempt::new(
                "own-binding",
                "POST",
                format!("/api/v1/namespaces/{namespace}/{resource}?dryRun=All"),
                binding,
            )
        })
        .boxed()
}

/// What is exempt or judged whatever it holds.
pub fn whole() -> BoxedStrategy<Attempt> {
    let token = select(vec!["kube-system", "gitadel-system", "shop"]).prop_map(|namespace| {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default/token");
        Attempt::new("token", "POST", path, json!({"spec": {"audiences": [], "expirationSeconds": 600}}))
    });
    let named = |about: &'static str, path: &'static str, rest: Value| {
        (select(vec!["POST", "PUT", "DELETE"]), metadata(), 0..3u32).prop_map(move |(method, mut metadata, n)| {
            let mut body = rest.clone();
            metadata["name"] = format!("x-{n}").into();
            body["metadata"] = metadata;
            let path = if method == "POST" { path.to_owned() } else { format!("{path}/x-{n}") };
            Attempt::new(about, method, path, if method == "DELETE" { Value::Null } else { body })
        })
    };
    let event = samples::creatable("events.k8s.io/events").unwrap();
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    prop_oneof![
        token,
        named("leases", "/apis/coordination.k8s.io/v1/namespaces/shop/leases", json!({})),
        named("events", "/apis/events.k8s.io/v1/namespaces/shop/events", event),
        named("csinode", "/apis/storage.k8s.io/v1/csinodes", json!({"spec": {"drivers": []}})),
        Just(Attempt::new("reviews", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)),
    ]
    .boxed()
}
