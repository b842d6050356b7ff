//! Objects that Git does not know, in a scope that it governs.

use serde_json::{Value, json};

use super::{at, cluster};
use crate::attack::Identity::{NamespaceAdmin, StolenReconcilerToken};
use crate::attack::{Attack, Body, Content, create, merge, request, uid_of};
use crate::report::Section;

const POD: &str = "/api/v1/namespaces/shop/pods";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REPLICASET_CONTROLLER: &str = "system:serviceaccount:kube-system:replicaset-controller";

pub fn section() -> Section {
    let attacks = [workloads(), rights(), traffic(), cluster::rows(), beyond(), past_admission()].concat();
    Section { title: "What Git does not know", attacks }
}

fn named(name: &str) -> Value {
    json!({"name": name})
}

fn evil_pod(metadata: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "evil", "image": "evil.example/evil:1"}]}})
}

/// Names the Deployment as the controller of an object.
fn of_web(name: &str) -> Value {
    json!({"name": name, "labels": {"app": "web"}, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment",
        "name": "web", "uid": uid_of(at::WEB), "controller": true}]})
}

fn workload(api_version: &str, kind: &str) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": named("mine"),
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "evil", "image": "evil.example/evil:1"}]}}}});
    if kind == "Job" {
        object["spec"]["selector"] = Value::Null;
        object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    }
    object
}

fn workloads() -> Vec<Attack> {
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("mine")});
    let drawn = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "mine-"}});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": named("mine"),
        "spec": {"maxReplicas": 50, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let adopted = || evil_pod(json!({"name": "mine", "labels": {"app": "web"}}));
    let kept = json!({"name": "mine", "annotations": {"gitadel.dev/prune": "false", "gitadel.dev/declared": "true"}});
    vec![
        create("a ConfigMap", "/api/v1/namespaces/shop/configmaps", config_map.clone()),
        create("a ConfigMap", "/api/v1/namespaces/shop/configmaps", config_map.clone()).by(NamespaceAdmin),
        create("a ConfigMap", "/api/v1/namespaces/shop/configmaps", config_map).by(StolenReconcilerToken),
        create("a ConfigMap whose name is drawn", "/api/v1/namespaces/shop/configmaps", drawn),
        create("the ConfigMap with which gitadel proves itself", "/api/v1/namespaces/shop/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("gitadel-canary")}))
            .rejected_by("canary"),
        create("an object that says it is kept", "/api/v1/namespaces/shop/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": kept})),
        create("a Pod that a governed selector adopts", POD, adopted()),
        create("a Pod that a governed selector adopts", POD, adopted()).by(NamespaceAdmin),
        create("a Pod that a governed selector adopts", POD, adopted()).impersonating(REPLICASET_CONTROLLER),
        create("a Pod, as whoever makes Pods of volumes", POD, evil_pod(named("recycler-for-mine")))
            .impersonating("system:serviceaccount:kube-system:persistent-volume-binder"),
        create("a Pod that names a Deployment as its owner", POD, evil_pod(of_web("web-mine"))),
        create("a mirror of a static Pod", POD, {
            let mut pod = evil_pod(json!({"name": "mine-n1", "annotations": {"kubernetes.io/config.mirror": "1"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid_of("/api/v1/nodes/n1"), "controller": true}]}));
            pod["spec"]["nodeName"] = json!("n1");
            pod
        }),
        create("a ReplicaSet", "/apis/apps/v1/namespaces/shop/replicasets", workload("apps/v1", "ReplicaSet")),
        create("a ReplicaSet that names a Deployment as its owner", "/apis/apps/v1/namespaces/shop/replicasets", {
            let mut set = workload("apps/v1", "ReplicaSet");
            set["metadata"] = of_web("web-mine");
            set
        })
        .rejected_by("child"),
        create("a Deployment", "/apis/apps/v1/namespaces/shop/deployments", workload("apps/v1", "Deployment")),
        create("a DaemonSet", "/apis/apps/v1/namespaces/shop/daemonsets", workload("apps/v1", "DaemonSet")),
        create("a Job", "/apis/batch/v1/namespaces/shop/jobs", workload("batch/v1", "Job")),
        create("a Job of a suspended CronJob", "/apis/batch/v1/namespaces/shop/jobs", {
            let mut job = workload("batch/v1", "Job");
            job["metadata"] = json!({"name": "nightly-mine", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob",
                "name": "nightly", "uid": uid_of("/apis/batch/v1/namespaces/shop/cronjobs/nightly"), "controller": true}]});
            job
        })
        .rejected_by("child"),
        create("an autoscaler aimed at a governed Deployment",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", autoscaler.clone()),
        create("an autoscaler aimed at a governed Deployment",
            "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", autoscaler)
            .by(NamespaceAdmin),
        create("a template of Pods", "/api/v1/namespaces/shop/podtemplates",
            json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": named("mine"), "template": {"spec": {"containers": [{"name": "a", "image": "evil.example/a"}]}}})),
        create("a custom resource", "/apis/example.com/v1beta1/namespaces/shop/widgets",
            json!({"apiVersion": "example.com/v1beta1", "kind": "Widget", "metadata": named("mine")})),
        create("a quota that starves a namespace", "/api/v1/namespaces/shop/resourcequotas",
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": named("mine"), "spec": {"hard": {"pods": "0"}}})),
        create("limits that would change every Pod", "/api/v1/namespaces/shop/limitranges",
            json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": named("mine"), "spec": {"limits": [{"type": "Container", "default": {"cpu": "1m"}}]}})),
        create("a disruption budget that blocks every drain", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets",
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": named("mine"), "spec": {"maxUnavailable": 0, "selector": {}}})),
        create("what helm writes for a release", "/api/v1/namespaces/shop/secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": named("sh.helm.release.v1.web.v2"), "type": "helm.sh/release.v1"})),
    ]
}

fn binding(kind: &str, metadata: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]})
}

fn rights() -> Vec<Attack> {
    let account = |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named(name)});
    let everything = |metadata: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata,
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
    };
    let bootstrap = json!({"name": "system:mine", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}});
    let aggregated = json!({"name": "mine", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}});
    vec![
        create("a RoleBinding", &format!("{RBAC}/namespaces/shop/rolebindings"), binding("RoleBinding", named("mine"))),
        create("a ClusterRoleBinding", &format!("{RBAC}/clusterrolebindings"), binding("ClusterRoleBinding", named("mine"))),
        create("a ClusterRoleBinding", &format!("{RBAC}/clusterrolebindings"), binding("ClusterRoleBinding", named("mine")))
            .by(StolenReconcilerToken),
        create("a ClusterRoleBinding dressed as Kubernetes' own", &format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding", bootstrap.clone())),
        create("a ClusterRoleBinding dressed as Kubernetes' own", &format!("{RBAC}/clusterrolebindings"),
            binding("ClusterRoleBinding", bootstrap.clone()))
            .impersonating("system:apiserver"),
        create("a role dressed as Kubernetes' own", &format!("{RBAC}/clusterroles"), everything(bootstrap))
            .impersonating("system:apiserver"),
        create("a role that others take their rules from", &format!("{RBAC}/clusterroles"), everything(aggregated)),
        create("an account", "/api/v1/namespaces/shop/serviceaccounts", account("mine")),
        create("an account, as who makes default accounts", "/api/v1/namespaces/shop/serviceaccounts", account("mine"))
            .impersonating("system:serviceaccount:kube-system:service-account-controller"),
        create("a token that lasts", "/api/v1/namespaces/shop/secrets",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "annotations": {"kubernetes.io/service-account.name": "clerk"}},
                "type": "kubernetes.io/service-account-token"})),
        merge("an image pull Secret for a default account", "/api/v1/namespaces/shop/serviceaccounts/default",
            json!({"imagePullSecrets": [{"name": "mine"}]}))
            .rejected_by("generated"),
        merge("the authority that a namespace trusts", "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt", json!({"data": {"ca.crt": "mine"}}))
            .rejected_by("generated"),
        merge("the authority that a namespace trusts", "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt", json!({"data": {"ca.crt": "mine"}}))
            .impersonating("system:serviceaccount:kube-system:root-ca-cert-publisher")
            .rejected_by("generated"),
        create("a certificate for a person", "/apis/certificates.k8s.io/v1/certificatesigningrequests",
            json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": named("mine"),
                "spec": {"request": SIGNING_REQUEST, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}}))
            .rejected_by("generated"),
    ]
}

/// For the common name `mallory`.
const SIGNING_REQUEST: &str = include_str!("signing-request.base64");

fn traffic() -> Vec<Attack> {
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-mine", "labels": {"kubernetes.io/service-name": "web"}, "ownerReferences": [{"apiVersion": "v1",
            "kind": "Service", "name": "web", "uid": uid_of(at::SERVICE), "controller": true}]},
        "endpoints": [{"addresses": ["192.0.2.66"]}], "ports": [{"port": 80}]});
    let stray = json!({"subsets": [{"addresses": [{"ip": "192.0.2.66"}], "ports": [{"port": 80}]}]});
    vec![
        create(
            "a Service in front of governed Pods",
            "/api/v1/namespaces/shop/services",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": named("mine"), "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
        ),
        create(
            "an Ingress",
            "/apis/networking.k8s.io/v1/namespaces/shop/ingresses",
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": named("mine"),
                "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}),
        ),
        create(
            "a NetworkPolicy that opens everything",
            "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies",
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": named("mine"), "spec": {"podSelector": {}, "ingress": [{}]}}),
        ),
        create("addresses for a governed Service", slices, slice.clone()),
        create("addresses for a governed Service", slices, slice)
            .impersonating("system:serviceaccount:kube-system:endpointslice-controller"),
        merge("addresses for a governed Service", "/api/v1/namespaces/shop/endpoints/web", stray.clone())
            .rejected_by("generated"),
        merge("addresses for a governed Service", "/api/v1/namespaces/shop/endpoints/web", stray)
            .impersonating("system:serviceaccount:kube-system:endpoint-controller")
            .rejected_by("generated"),
    ]
}

fn delete_act(path: &str) -> crate::attack::Act {
    request("DELETE", path, Content::Json, Body::Nothing)
}

/// What no rule is asked about, or no rule can decide.
fn beyond() -> Vec<Attack> {
    let excluded = "a scope that does not exclude `kube-*`; RBAC until then";
    let machinery = "diagnosis and heartbeats: no state that Git declares";
    vec![
        create("an object in an excluded namespace", "/api/v1/namespaces/kube-system/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("mine")}))
            .open(excluded)
            .then(delete_act("/api/v1/namespaces/kube-system/configmaps/mine")),
        create("a privileged Pod in an excluded namespace", "/api/v1/namespaces/kube-system/pods", {
            let mut pod = evil_pod(named("mine"));
            pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
            pod
        })
        .open(excluded)
        .then(delete_act("/api/v1/namespaces/kube-system/pods/mine")),
        create("a node", "/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": named("mine")}))
            .open("RBAC: a node that nobody asked for does nothing without a kubelet's certificate")
            .then(delete_act("/api/v1/nodes/mine")),
        create("a Lease", "/apis/coordination.k8s.io/v1/namespaces/shop/leases",
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": named("mine")}))
            .harmless(machinery)
            .then(delete_act("/apis/coordination.k8s.io/v1/namespaces/shop/leases/mine")),
        create("an Event that lies", "/api/v1/namespaces/shop/events",
            json!({"apiVersion": "v1", "kind": "Event", "metadata": named("mine"), "reason": "Mine", "message": "mine",
                "involvedObject": {"kind": "ConfigMap", "namespace": "shop", "name": "settings"}}))
            .harmless(machinery),
        create("a question about rights", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}))
            .harmless("nothing is stored"),
        create("what would be, as a dry run", "/api/v1/namespaces/shop/configmaps?dryRun=All",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("mine")})),
        create("what would be, as a dry run in gitadel's name", "/api/v1/namespaces/shop/configmaps?dryRun=All",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("mine")}))
            .by(StolenReconcilerToken)
            .harmless("nothing is stored"),
    ]
}

fn past_admission() -> Vec<Attack> {
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    [
        create(
            "a ConfigMap",
            "/api/v1/namespaces/shop/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("mine")}),
        ),
        create("a Pod", POD, evil_pod(named("mine"))),
        create(
            "a Pod that a governed selector adopts",
            POD,
            evil_pod(json!({"name": "mine", "labels": {"app": "bare"}})),
        ),
        create(
            "a ClusterRoleBinding dressed as Kubernetes' own",
            &format!("{RBAC}/clusterrolebindings"),
            binding(
                "ClusterRoleBinding",
                json!({"name": "system:mine", "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}),
            ),
        ),
        create(
            "a RoleBinding that names a Deployment as its owner",
            &format!("{RBAC}/namespaces/shop/rolebindings"),
            binding("RoleBinding", of_web("mine")),
        ),
        create(
            "a namespace",
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": named("mine")}),
        ),
        create(
            "addresses for a governed Service",
            slices,
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "web-mine", "labels": {"kubernetes.io/service-name": "web"}},
                "endpoints": [{"addresses": ["192.0.2.66"]}], "ports": [{"port": 80}]}),
        ),
        merge(
            "a role of Kubernetes' own",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery",
            json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
        ),
        merge(
            "an image pull Secret for a default account",
            "/api/v1/namespaces/shop/serviceaccounts/default",
            json!({"imagePullSecrets": [{"name": "mine"}]}),
        ),
    ]
    .map(Attack::undone_past_admission)
    .to_vec()
}
