//! What may be spelled out where most manifests say nothing: defaults, empty values that are not the same as none, and what
//! an attacker would like.

use serde_json::{Value, json};

use crate::places::editable;
use crate::random::Random;

/// A map that has these members, and what might be put beside them.
type Row = (&'static [&'static str], fn() -> Value);

const ROWS: &[Row] = &[
    (&["image", "name"], || {
        json!({"env": [{"name": "LD_PRELOAD", "value": "/tmp/x.so"}], "envFrom": [], "command": [], "args": ["sh"],
            "resources": {}, "stdin": false, "tty": false, "lifecycle": {}, "volumeMounts": [], "workingDir": "",
            "securityContext": {}, "terminationMessagePolicy": "File", "imagePullPolicy": "Never", "restartPolicy": "Always",
            "livenessProbe": {"tcpSocket": {"port": 80}}, "ports": [{"containerPort": 81}, {"containerPort": 82, "protocol": "UDP"}]})
    }),
    (&["containers"], || {
        json!({"hostNetwork": false, "hostPID": true, "hostIPC": false, "hostUsers": true, "nodeSelector": {},
            "affinity": {}, "tolerations": [], "securityContext": {"runAsUser": 0}, "volumes": [], "initContainers": [],
            "imagePullSecrets": [{}], "enableServiceLinks": true, "shareProcessNamespace": false, "dnsConfig": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler", "serviceAccount": "default",
            "priority": 0, "priorityClassName": "system-node-critical", "preemptionPolicy": "PreemptLowerPriority",
            "hostAliases": [{"ip": "6.6.6.6", "hostnames": ["db"]}], "topologySpreadConstraints": [], "overhead": {},
            "automountServiceAccountToken": true, "setHostnameAsFQDN": false, "readinessGates": [], "nodeName": "",
            "dnsPolicy": "ClusterFirst", "hostname": "x", "os": {"name": "linux"}, "activeDeadlineSeconds": 9})
    }),
    (&["selector", "template"], || {
        json!({"paused": false, "minReadySeconds": 0, "replicas": 3, "revisionHistoryLimit": 10, "strategy": {},
            "progressDeadlineSeconds": 600, "podManagementPolicy": "OrderedReady", "updateStrategy": {},
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}, "ordinals": {"start": 0}})
    }),
    (&["ports", "clusterIP"], || {
        json!({"externalIPs": ["6.6.6.6"], "sessionAffinity": "ClientIP", "publishNotReadyAddresses": false, "selector": {},
            "type": "NodePort", "externalName": "", "internalTrafficPolicy": "Cluster", "trafficDistribution": "PreferClose",
            "loadBalancerSourceRanges": [], "allocateLoadBalancerNodePorts": true, "ipFamilyPolicy": "SingleStack",
            "sessionAffinityConfig": {}, "healthCheckNodePort": 0})
    }),
    (&["podSelector"], || json!({"ingress": [{}], "egress": [], "policyTypes": ["Egress"], "namespaceSelector": {}})),
    (&["matchLabels"], || json!({"matchExpressions": [], "matchLabels": {}})),
    (
        &["verbs"],
        || json!({"resourceNames": [], "nonResourceURLs": [], "apiGroups": [], "resources": ["*"], "verbs": ["*"]}),
    ),
    (&["data", "metadata"], || json!({"immutable": false, "binaryData": {}, "data": {}, "stringData": {"x": "y"}})),
    (&["kind", "metadata"], || {
        json!({"immutable": true, "data": {"x": "eQ=="}, "binaryData": {}, "secrets": [], "imagePullSecrets": [{"name": "x"}],
            "automountServiceAccountToken": true, "aggregationRule": {}, "rules": [], "subjects": [], "type": "Opaque",
            "status": {}, "spec": {}, "webhooks": [], "operation": {"sync": {}}})
    }),
    (&["scaleTargetRef"], || json!({"behavior": {}, "metrics": [], "minReplicas": 1, "maxReplicas": 9})),
    (
        &["minAvailable"],
        || json!({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "IfHealthyBudget", "selector": {}}),
    ),
    (&["clientConfig"], || {
        json!({"failurePolicy": "Ignore", "namespaceSelector": {}, "objectSelector": {}, "timeoutSeconds": 10,
            "matchConditions": [], "matchPolicy": "Exact", "rules": [], "reinvocationPolicy": "Never"})
    }),
    (
        &["names", "versions"],
        || json!({"preserveUnknownFields": false, "conversion": {"strategy": "None"}, "scope": "Cluster"}),
    ),
    (&["destination", "project"], || {
        json!({"ignoreDifferences": [], "info": [], "source": {}, "sources": [], "revisionHistoryLimit": 10,
            "syncPolicy": {}, "project": ""})
    }),
    (
        &["valuesObject"],
        || json!({"valuesObject": {}, "values": "", "parameters": [], "skipCrds": true, "version": ""}),
    ),
    (
        &["destinations"],
        || json!({"roles": [], "syncWindows": [], "description": "", "destinations": [{}], "signatureKeys": []}),
    ),
    (&["emptyDir", "name"], || json!({"emptyDir": {"medium": "Memory"}, "hostPath": {"path": "/"}, "configMap": {}})),
];

/// Puts one of these into a random place where it fits.
pub fn edit(object: &mut Value, random: &mut Random) -> Option<String> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| fits(object, row) || !places(object, row).is_empty()).collect();
    let row = random.pick(&rows)?;
    let mut candidates = places(object, row);
    if fits(object, row) {
        candidates.push(String::new());
    }
    let place = random.pick(&candidates)?.clone();
    let values = (row.1)();
    let names: Vec<&String> = values.as_object()?.keys().collect();
    let name = (*random.pick(&names)?).clone();
    object.pointer_mut(&place)?[name.as_str()] = values[&name].clone();
    Some(format!("{place}/{name} = {}", values[&name]))
}

fn fits(value: &Value, (members, _): &Row) -> bool {
    members.iter().all(|name| value.get(name).is_some())
}

fn places(object: &Value, row: &Row) -> Vec<String> {
    editable(object, |value| fits(value, row))
}
