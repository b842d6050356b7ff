//! Objects that controllers make for what Git declares, by whoever can speak in a controller's name.

use serde_json::{Value, json};

use super::at;
use super::deletions::dead_owner;
use crate::attack::Identity::{NamespaceAdmin, StolenReconcilerToken};
use crate::attack::{Attack, Edit, create, create_like, delete, json_patch, merge, uid_of};
use crate::report::Section;

const PODS: &str = "/api/v1/namespaces/shop/pods";
const CLAIMS: &str = "/api/v1/namespaces/shop/persistentvolumeclaims";
const DEVICES: &str = "/apis/resource.k8s.io/v1/namespaces/shop/resourceclaims";
const DATA: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0";
const POD: &str = "/api/v1/namespaces/shop/pods/{web-}";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
const REPLICA_SET: &str = "/apis/apps/v1/namespaces/shop/replicasets/{web-}";
const REVISIONS: &str = "/apis/apps/v1/namespaces/shop/controllerrevisions";
const OF_DEPLOYMENTS: &str = "system:serviceaccount:kube-system:deployment-controller";
const OF_REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";
const OF_DAEMON_SETS: &str = "system:serviceaccount:kube-system:daemon-set-controller";
const OF_STATEFUL_SETS: &str = "system:serviceaccount:kube-system:statefulset-controller";
const OF_JOBS: &str = "system:serviceaccount:kube-system:job-controller";
const OF_VOLUMES: &str = "system:serviceaccount:kube-system:persistent-volume-binder";
const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const OF_DEVICES: &str = "system:serviceaccount:kube-system:resource-claim-controller";
const OF_EPHEMERAL_VOLUMES: &str = "system:serviceaccount:kube-system:ephemeral-volume-controller";
const OF_CRON_JOBS: &str = "system:serviceaccount:kube-system:cronjob-controller";

pub fn section() -> Section {
    let attacks = [pods(), replica_sets(), others(), volumes(), claims_for_devices(), past_admission()].concat();
    Section { title: "Children", attacks }
}

/// A Pod like one of the Deployment's, but for an edit.
fn pod(what: &'static str, edit: Edit) -> Attack {
    create_like(what, PODS, POD, edit).rejected_by("child")
}

fn pods() -> Vec<Attack> {
    let image: Edit = |pod| pod["spec"]["containers"][0]["image"] = json!("evil.example/web:1");
    let mut attacks: Vec<Attack> = [
        pod("another image", image),
        pod("a sidecar", |pod| {
            let containers = pod["spec"]["containers"].as_array_mut().unwrap();
            containers.push(json!({"name": "spy", "image": "evil.example/spy"}));
        }),
        pod("an init container", |pod| {
            pod["spec"]["initContainers"] = json!([{"name": "spy", "image": "evil.example/spy"}]);
        }),
        pod("another Secret", |pod| {
            let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
            volumes.push(json!({"name": "secret", "secret": {"secretName": "password"}}));
        }),
        pod("a volume of the host", |pod| {
            let volumes = pod["spec"]["volumes"].as_array_mut().unwrap();
            volumes.push(json!({"name": "host", "hostPath": {"path": "/"}}));
        }),
        pod("a privileged container", |pod| {
            pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        }),
        pod("the network of the host", |pod| {
            pod["spec"]["hostNetwork"] = json!(true);
            pod["spec"]["containers"][0]["ports"] = Value::Null;
        }),
        pod("another account", |pod| pod["spec"]["serviceAccountName"] = json!("clerk")),
        pod("a command", |pod| pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", "evil"])),
        pod("a variable", |pod| pod["spec"]["containers"][0]["env"][0]["value"] = json!("red")),
        pod("a label", |pod| pod["metadata"]["labels"]["mine"] = json!("yes")),
        pod("an annotation", |pod| pod["metadata"]["annotations"] = json!({"mine": "yes"})),
        pod("the same toleration again", |pod| {
            let tolerations = pod["spec"]["tolerations"].as_array_mut().unwrap();
            let mut again = tolerations[0].clone();
            again["tolerationSeconds"] = json!(1);
            tolerations.push(again);
        }),
        pod("a finalizer", |pod| pod["metadata"]["finalizers"] = json!(["example.com/hold"])),
    ]
    .into_iter()
    .map(|attack| attack.impersonating(OF_REPLICA_SETS))
    .collect();
    attacks.extend([
        pod("another image", image).impersonating("system:kube-controller-manager"),
        pod("another image", image).by(StolenReconcilerToken),
        pod("another image", image).by(NamespaceAdmin),
        json_patch(
            "another image in a living Pod",
            POD,
            json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "evil.example/web:1"}]),
        )
        .impersonating(OF_REPLICA_SETS)
        .rejected_by("child"),
        merge("a label in a living Pod", POD, json!({"metadata": {"labels": {"mine": "yes"}}}))
            .impersonating(OF_REPLICA_SETS)
            .rejected_by("child"),
        pod("one Pod more", |_| {})
            .impersonating(OF_REPLICA_SETS)
            .harmless("it is what the template yields, and one too many"),
    ]);
    attacks
}

fn replica_sets() -> Vec<Attack> {
    let image: Edit = |set| {
        set["metadata"]["name"] = json!("web-mine");
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil.example/web:1");
    };
    let container = "/spec/template/spec/containers/0/image";
    let set = |what, edit| create_like(what, REPLICA_SETS, REPLICA_SET, edit).rejected_by("child");
    vec![
        set("another image in a ReplicaSet", image).impersonating(OF_DEPLOYMENTS),
        set("another image in a ReplicaSet", image).by(StolenReconcilerToken),
        set("a selector of other Pods", |set| {
            set["metadata"]["name"] = json!("web-mine");
            set["spec"]["selector"]["matchLabels"] =
                json!({"pod-template-hash": set["metadata"]["labels"]["pod-template-hash"]});
        })
        .impersonating(OF_DEPLOYMENTS),
        json_patch(
            "another image in a living ReplicaSet",
            REPLICA_SET,
            json!([{"op": "replace", "path": container, "value": "evil.example/web:1"}]),
        )
        .impersonating(OF_DEPLOYMENTS)
        .rejected_by("child"),
        merge("fifty of a ReplicaSet", REPLICA_SET, json!({"spec": {"replicas": 50}})).rejected_by("child"),
        merge("fifty of a ReplicaSet", &format!("{REPLICA_SET}/scale"), json!({"spec": {"replicas": 50}}))
            .impersonating(OF_DEPLOYMENTS)
            .rejected_by("scale"),
        merge("a ReplicaSet without its owner", REPLICA_SET, json!({"metadata": {"ownerReferences": null}}))
            .impersonating(OF_DEPLOYMENTS)
            .harmless("its Deployment takes it back"),
    ]
}

fn of(kind: &str, api_version: &str, name: &str, path: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid_of(path), "controller": true, "blockOwnerDeletion": true}])
}

fn others() -> Vec<Attack> {
    let evil = json!({"restartPolicy": "Never", "containers": [{"name": "evil", "image": "evil.example/evil:1"}]});
    let daemon_set = "/apis/apps/v1/namespaces/shop/daemonsets/agent";
    let stateful_set = "/apis/apps/v1/namespaces/shop/statefulsets/db";
    let cron_job = "/apis/batch/v1/namespaces/shop/cronjobs/nightly";
    let job = "/apis/batch/v1/namespaces/shop/jobs/once";
    let revision = |owner: Value| {
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 9,
            "metadata": {"name": "mine", "labels": {"app": "agent"}, "ownerReferences": owner},
            "data": {"spec": {"template": {"$patch": "replace", "spec": evil}}}})
    };
    let child = |name: &str, owner: Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "ownerReferences": owner}, "spec": evil});
    let by_cron_job = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "nightly-29000000", "ownerReferences": of("CronJob", "batch/v1", "nightly", cron_job)},
        "spec": {"template": {"spec": evil}}});
    let due = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "nightly-29000001", "ownerReferences": of("CronJob", "batch/v1", "nightly", cron_job)},
        "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "nightly", "image": "registry.example/nightly:1"}]}}}});
    [
        (
            create(
                "a foreign revision of a DaemonSet",
                REVISIONS,
                revision(of("DaemonSet", "apps/v1", "agent", daemon_set)),
            ),
            OF_DAEMON_SETS,
        ),
        (
            create(
                "a foreign revision of a StatefulSet",
                REVISIONS,
                revision(of("StatefulSet", "apps/v1", "db", stateful_set)),
            ),
            OF_STATEFUL_SETS,
        ),
        (
            create(
                "a foreign Pod of a DaemonSet",
                PODS,
                child("agent-mine", of("DaemonSet", "apps/v1", "agent", daemon_set)),
            ),
            OF_DAEMON_SETS,
        ),
        (
            create(
                "a foreign Pod of a StatefulSet",
                PODS,
                child("db-1", of("StatefulSet", "apps/v1", "db", stateful_set)),
            ),
            OF_STATEFUL_SETS,
        ),
        (create("a foreign Pod of a Job", PODS, child("once-mine", of("Job", "batch/v1", "once", job))), OF_JOBS),
        (create("a foreign Job of a CronJob", "/apis/batch/v1/namespaces/shop/jobs", by_cron_job), OF_CRON_JOBS),
    ]
    .into_iter()
    .chain([
        (
            create_like("a replica beside those that are declared", PODS, "/api/v1/namespaces/shop/pods/db-0", |pod| {
                pod["metadata"]["name"] = json!("db-7");
            }),
            OF_STATEFUL_SETS,
        ),
        (
            create_like("a replica of another name", PODS, "/api/v1/namespaces/shop/pods/db-0", |pod| {
                pod["metadata"]["name"] = json!("anybody");
            }),
            OF_STATEFUL_SETS,
        ),
        (create("a Job of a suspended CronJob", "/apis/batch/v1/namespaces/shop/jobs", due), OF_CRON_JOBS),
    ])
    .map(|(attack, user)| attack.impersonating(user).rejected_by("child"))
    .collect()
}

fn volume_of_host(class: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": "host", "annotations": {"pv.kubernetes.io/provisioned-by": "example.com/mine"}},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"},
            "storageClassName": class,
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data"}}})
}

fn volumes() -> Vec<Attack> {
    let recycler = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "recycler-for-disk"},
        "spec": {"hostPID": true, "containers": [
            {"name": "evil", "image": "evil.example/evil:1", "securityContext": {"privileged": true}}]}});
    vec![
        create("the files of a node for a declared claim", "/api/v1/persistentvolumes", volume_of_host("slow"))
            .impersonating(OF_VOLUMES)
            .rejected_by("generated"),
        create("a privileged Pod in the name of a recycled volume", "/api/v1/namespaces/default/pods", recycler)
            .impersonating(OF_VOLUMES)
            .rejected_by("undeclared"),
        create_like("a chosen volume for a replica", CLAIMS, DATA, |claim| {
            claim["metadata"]["name"] = json!("data-db-1");
            claim["spec"]["volumeName"] = json!("disk");
        })
        .impersonating(OF_STATEFUL_SETS)
        .rejected_by("generated"),
        delete("a replica's data, as if its owner were gone", DATA).impersonating(COLLECTOR).rejected_by("generated"),
        merge(
            "an owner that is gone, for a replica's data",
            DATA,
            json!({"metadata": {"ownerReferences": dead_owner()}}),
        )
        .impersonating(COLLECTOR)
        .rejected_by("generated"),
        merge(
            "an owner that is gone, for a replica's data",
            DATA,
            json!({"metadata": {"ownerReferences": dead_owner()}}),
        )
        .impersonating(OF_STATEFUL_SETS)
        .rejected_by("generated"),
    ]
}

/// All devices of a class, for a Pod that asks for none.
fn devices(name: &str, pod: &str) -> Value {
    let path = format!("{PODS}/{pod}");
    json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid_of(&path), "controller": true}]},
        "spec": {"devices": {"requests": [
            {"name": "all", "exactly": {"deviceClassName": "mine", "allocationMode": "All"}}]}}})
}

fn claims_for_devices() -> Vec<Attack> {
    let claim = |what, pod| create(what, DEVICES, devices("mine", pod));
    vec![
        claim("all devices for a declared Pod", "bare").impersonating(OF_DEVICES).rejected_by("child"),
        claim("all devices for a declared Pod", "bare").impersonating("system:kube-scheduler").rejected_by("child"),
        claim("all devices for a replica", "db-0").impersonating(OF_DEVICES).rejected_by("child"),
        claim("all devices for a declared Pod", "bare").undone_past_admission(),
        claim("all devices for a replica", "db-0").undone_past_admission(),
        create(
            "a claim that a declared Pod does not bring",
            CLAIMS,
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "bare-mine", "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": "bare", "uid": uid_of(at::BARE), "controller": true}]},
                "spec": {"volumeName": "disk", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .impersonating(OF_EPHEMERAL_VOLUMES)
        .rejected_by("child"),
    ]
}

fn past_admission() -> Vec<Attack> {
    vec![
        create_like("a Pod of another image", PODS, POD, |pod| {
            pod["metadata"]["name"] = json!("web-mine");
            pod["spec"]["containers"][0]["image"] = json!("evil.example/web:1");
        })
        .about("/api/v1/namespaces/shop/pods/web-mine")
        .undone_past_admission(),
        create_like("a ReplicaSet of another image", REPLICA_SETS, REPLICA_SET, |set| {
            set["metadata"]["name"] = json!("web-mine");
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil.example/web:1");
        })
        .about("/apis/apps/v1/namespaces/shop/replicasets/web-mine")
        .undone_past_admission(),
        merge(
            "another image in a Deployment",
            at::WEB,
            json!({"spec": {"template": {"spec": {"containers": [
            {"name": "web", "image": "evil.example/web:1"}]}}}}),
        )
        .undone_past_admission(),
        merge(
            "an owner with which a replica's data would go",
            DATA,
            json!({"metadata": {"ownerReferences": [
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "settings", "uid": uid_of(at::SETTINGS)}]}}),
        )
        .undone_past_admission(),
        create_like("a chosen volume for a replica to come", CLAIMS, DATA, |claim| {
            claim["metadata"]["name"] = json!("data-db-1");
            claim["spec"]["volumeName"] = json!("evil");
        })
        .about("/api/v1/namespaces/shop/persistentvolumeclaims/data-db-1")
        .undone_past_admission(),
        // Of a class that the claim does not ask for: the volume is not bound before anybody can look.
        create("the files of a node for a declared claim", "/api/v1/persistentvolumes", volume_of_host("elsewhere"))
            .undone_past_admission(),
    ]
}
