//! The Pod that empties a volume whose reclaim policy is `Recycle`.
//!
//! It is made in the namespace `default`, names no owner, and mounts what is a directory of a node: so it is told by all
//! that is in it. One from another template than that of the controller manager itself needs a delegation.

use serde_json::{Value, json};

use super::defaults::Defaults;
use super::pod::{self, Origin};
use super::unlike;
use crate::document::{Document, Node};
use crate::object::ObjectRef;
use crate::snapshot::Snapshot;

const NAME: &str = "recycler-for-";
const IMAGE: &str = "registry.k8s.io/build-image/debian-base:";
const SCRUB: &str = "test -e /scrub && find /scrub -mindepth 1 -delete && test -z \"$(ls -A /scrub)\" || exit 1";

/// The name of the volume that a Pod empties, going by its own name.
pub fn volume_of(id: ObjectRef<'_>) -> Option<&str> {
    id.name.strip_prefix(NAME).filter(|_| (id.group, id.kind, id.namespace) == ("", "Pod", "default"))
}

/// Whether a Pod is the one that empties this volume, and nothing else.
pub fn empties(snapshot: &Snapshot, id: ObjectRef<'_>, pod: Node<'_>, volume: Node<'_>) -> bool {
    let (child, volume) = (pod.to_value(), volume.to_value());
    if volume["spec"]["persistentVolumeReclaimPolicy"] != "Recycle" {
        return false;
    }
    let source = snapshot.meta().answer(id);
    let template = template(&volume["spec"], &child["spec"]);
    let defaults = Defaults::of(snapshot, id.namespace, source);
    let wanted = pod::wanted(&template, &child, &Origin::ReplicaSet { hash: None }, &defaults);
    unlike(snapshot, id, source, pod, Document::from_value(&wanted).root()).is_empty()
}

/// What the controller makes the Pod from, with the API server's defaults.
fn template(volume: &Value, found: &Value) -> Value {
    let container = &found["containers"][0];
    let image = container["image"].as_str().filter(|image| image.starts_with(IMAGE));
    let emptied = match (volume.get("hostPath"), volume.get("nfs")) {
        (Some(host), _) => json!({"name": "vol", "hostPath": {"path": host["path"], "type": ""}}),
        (None, Some(nfs)) => json!({"name": "vol", "nfs": {"server": nfs["server"], "path": nfs["path"]}}),
        (None, None) => json!({"name": "vol"}),
    };
    json!({"spec": {
        "activeDeadlineSeconds": found["activeDeadlineSeconds"].as_i64(),
        "restartPolicy": "Never",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "volumes": [emptied],
        "containers": [{
            "name": "pv-recycler",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh"],
            "args": ["-c", SCRUB],
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
        }],
    }})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, with};

    fn volume(policy: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
            "spec": {"persistentVolumeReclaimPolicy": policy, "hostPath": {"path": "/srv/disk", "type": "Directory"}}})
    }

    fn recycler() -> Value {
        let found = json!({"activeDeadlineSeconds": 60, "containers": [{"image": format!("{IMAGE}bookworm-v1.0.6")}]});
        let mut pod = template(&volume("Recycle")["spec"], &found);
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"] = json!({"name": "recycler-for-disk", "namespace": "default"});
        pod["spec"]["serviceAccountName"] = "default".into();
        pod["spec"]["serviceAccount"] = "default".into();
        pod
    }

    #[test]
    fn a_volume_is_emptied_and_nothing_else_done() {
        let made = |pod: &Value| Review::create(pod).by(&controller("persistent-volume-binder"));
        let world = World::new().declare(&volume("Recycle"));
        world.expect(&[
            ("as it is", made(&recycler()), Allow, "generated"),
            ("by a person", Review::create(&recycler()), Deny, "generated"),
        ]);
        let edits = [
            ("/spec/hostPID", json!(true)),
            ("/spec/containers/0/image", json!("registry.example/miner:1")),
            ("/spec/containers/0/args", json!(["-c", "id"])),
            ("/spec/containers/0/securityContext", json!({"privileged": true})),
            ("/spec/volumes/0/hostPath/path", json!("/")),
            ("/spec/serviceAccountName", json!("admin")),
            ("/metadata/name", json!("recycler-for-other")),
        ];
        for (pointer, value) in edits {
            world.expect(&[(pointer, made(&with(&recycler(), pointer, value)), Deny, "undeclared")]);
        }
        World::new().declare(&volume("Retain")).expect(&[("retained", made(&recycler()), Deny, "undeclared")]);
    }
}
