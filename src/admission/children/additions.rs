//! What the controllers of Kubernetes add to a Pod that they make from a template.
//!
//! As seen of Kubernetes 1.36: each controller adds what is here for it and nothing else. Values are computed where they
//! can be; a hash of a template cannot, and selects nothing that Git declares.

use serde_json::{Map, Value, json};

use super::lists::{extended, set};
use super::metadata::adopt;
use super::pod::Origin;

pub const TEMPLATE_HASH: &str = "pod-template-hash";
const REVISION_HASH: &str = "controller-revision-hash";
const TEMPLATE_GENERATION: &str = "pod-template-generation";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const INDEX_IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Labels with which a Job finds its Pods: the uid, and the name.
pub const JOB_UID: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
pub const JOB_NAME: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Taints that the Pods of a DaemonSet tolerate, and their effects.
const DAEMON_TOLERATIONS: [(&str, &str); 7] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    (NO_NETWORK, "NoSchedule"),
];
/// Tolerated where the Pod runs in the network of the node.
const NO_NETWORK: &str = "node.kubernetes.io/network-unavailable";

/// Labels, annotations and finalizers.
pub fn of_controller(
    origin: &Origin<'_>,
    child: &Value,
    labels: &mut Map<String, Value>,
    annotations: &mut Map<String, Value>,
    finalizers: &mut Vec<Value>,
) {
    let found = super::metadata::map(child, "labels");
    match *origin {
        Origin::ReplicaSet { hash } => {
            if let Some(hash) = hash {
                labels.insert(TEMPLATE_HASH.to_owned(), hash.into());
            }
        }
        Origin::StatefulSet { .. } => {
            let name = child["metadata"]["name"].as_str().unwrap_or_default();
            let ordinal = name.rsplit_once('-').map_or("", |(_, ordinal)| ordinal);
            adopt(labels, &found, POD_NAME, |value| value == name);
            adopt(labels, &found, POD_INDEX, |value| value == ordinal);
            adopt(labels, &found, REVISION_HASH, |_| true);
        }
        Origin::DaemonSet => {
            adopt(labels, &found, REVISION_HASH, |_| true);
            adopt(labels, &found, TEMPLATE_GENERATION, is_number);
        }
        Origin::Job { spec, name, uid } => {
            for key in JOB_UID {
                adopt(labels, &found, key, |value| value == uid);
            }
            for key in JOB_NAME {
                adopt(labels, &found, key, |value| value == name);
            }
            if is_indexed(spec) {
                let noted = super::metadata::map(child, "annotations");
                adopt(labels, &found, COMPLETION_INDEX, is_number);
                for key in [COMPLETION_INDEX, INDEX_FAILURES, INDEX_IGNORED_FAILURES] {
                    adopt(annotations, &noted, key, is_number);
                }
            }
            // It is there until the Job has counted the Pod.
            let tracked = super::metadata::finalizers(child).contains(&JOB_TRACKING.into());
            if tracked && !finalizers.contains(&JOB_TRACKING.into()) {
                finalizers.push(JOB_TRACKING.into());
            }
        }
    }
}

/// What the controllers add to a Pod's spec. `found` is the child's.
pub fn to_spec(origin: &Origin<'_>, metadata: &Value, found: &Value, spec: &mut Value) {
    match *origin {
        Origin::ReplicaSet { .. } => {}
        Origin::StatefulSet { set: owner } => {
            let name = metadata["name"].as_str().unwrap_or_default();
            set(spec, "hostname", Some(name.into()));
            if let Some(service) = owner["spec"]["serviceName"].as_str().filter(|service| !service.is_empty()) {
                set(spec, "subdomain", Some(service.into()));
            }
            let claims = claims(owner, name);
            let volumes = without(spec.get("volumes"), |volume| claims.iter().any(|c| c["name"] == volume["name"]));
            set(spec, "volumes", extended(volumes.as_ref(), found.get("volumes"), |volume| claims.contains(volume)));
        }
        Origin::DaemonSet => {
            // Its controller pins each to a node; where there is none, no Pod can be right.
            let node = pinned_node(found).unwrap_or_default();
            let here = json!({"nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]});
            let place = "requiredDuringSchedulingIgnoredDuringExecution";
            let mut affinity = spec.get("affinity").cloned().unwrap_or_else(|| json!({}));
            let mut of_node = affinity.get("nodeAffinity").cloned().unwrap_or_else(|| json!({}));
            set(&mut of_node, place, Some(here));
            set(&mut affinity, "nodeAffinity", Some(of_node));
            set(spec, "affinity", Some(affinity));
            // One that the template has as well is replaced, where it stands.
            let is_replaced =
                |declared: &Value| DAEMON_TOLERATIONS.iter().any(|row| same_taint(declared, &toleration(*row)));
            let declared = without(spec.get("tolerations"), is_replaced);
            let on_host = spec["hostNetwork"] == true;
            let is_allowed = |found: &Value| {
                let mut added = DAEMON_TOLERATIONS.iter().filter(|(key, _)| on_host || *key != NO_NETWORK);
                added.any(|row| *found == toleration(*row))
            };
            set(spec, "tolerations", extended(declared.as_ref(), found.get("tolerations"), is_allowed));
        }
        Origin::Job { spec: job, name, .. } => {
            if !is_indexed(job) {
                return;
            }
            let is_hostname =
                |host: &str| host.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_number);
            if spec.get("hostname").is_none()
                && let Some(host) = found["hostname"].as_str().filter(|host| is_hostname(host))
            {
                set(spec, "hostname", Some(host.into()));
            }
            for field in ["initContainers", "containers"] {
                let others = found[field].as_array().cloned().unwrap_or_default();
                let Some(containers) = spec.get_mut(field).and_then(Value::as_array_mut) else { continue };
                for container in containers {
                    let other = others.iter().find(|other| other["name"] == container["name"]);
                    let env = extended(container.get("env"), other.and_then(|o| o.get("env")), is_index_variable);
                    set(container, "env", env);
                }
            }
        }
    }
}

fn is_indexed(job: &Value) -> bool {
    job["completionMode"] == "Indexed"
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_index_variable(variable: &Value) -> bool {
    let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
    let names_index =
        ["labels", "annotations"].iter().any(|map| field == format!("metadata.{map}['{COMPLETION_INDEX}']"));
    let expected = json!({"name": "JOB_COMPLETION_INDEX",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": field}}});
    names_index && *variable == expected
}

/// The volumes for the claims of a StatefulSet's Pod.
fn claims(set: &Value, pod: &str) -> Vec<Value> {
    let templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let names = templates.filter_map(|template| template["metadata"]["name"].as_str());
    names.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": format!("{name}-{pod}")}})).collect()
}

fn without(list: Option<&Value>, is_dropped: impl Fn(&Value) -> bool) -> Option<Value> {
    let rest: Vec<Value> = list?.as_array()?.iter().filter(|item| !is_dropped(item)).cloned().collect();
    (!rest.is_empty()).then_some(Value::Array(rest))
}

fn toleration((key, effect): (&str, &str)) -> Value {
    json!({"key": key, "operator": "Exists", "effect": effect})
}

fn same_taint(one: &Value, other: &Value) -> bool {
    ["key", "operator", "effect", "value"].iter().all(|field| one.get(field) == other.get(field))
}

/// The node to which a DaemonSet's Pod is pinned.
fn pinned_node(spec: &Value) -> Option<&str> {
    let place = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    place["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].as_str()
}
