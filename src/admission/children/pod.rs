//! The Pod that a template yields.

use serde_json::{Value, json};

use super::defaults::Defaults;
use super::{additions, metadata};

/// Who made the Pod from the template.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Also a ReplicationController. The hash is that of a ReplicaSet which a Deployment made.
    ReplicaSet {
        hash: Option<&'a str>,
    },
    StatefulSet {
        set: &'a Value,
    },
    DaemonSet,
    /// The name and uid are those of the Job itself.
    Job {
        spec: &'a Value,
        name: &'a str,
        uid: &'a str,
    },
}

/// What a Pod has to be.
pub fn wanted(template: &Value, child: &Value, origin: &Origin<'_>, defaults: &Defaults<'_>) -> Value {
    let mut labels = metadata::map(template, "labels");
    let mut annotations = metadata::map(template, "annotations");
    let mut finalizers = metadata::finalizers(template);
    let mut spec = template["spec"].clone();
    additions::of_controller(origin, child, &mut labels, &mut annotations, &mut finalizers);
    additions::to_spec(origin, &child["metadata"], &child["spec"], &mut spec);
    defaults.annotate(child, &mut annotations);
    defaults.complete(&child["spec"], &mut spec);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata::wanted(child, labels, annotations, finalizers),
        "spec": spec,
    })
}
