//! Objects for benchmarks: many that differ, of the size and shape of real ones.

use serde_json::{Value, json};

/// Namespace of every object.
pub const NAMESPACE: &str = "fleet";

/// A Deployment as the API server stores it, about 10 KB as JSON: defaults, `managedFields` and status included.
pub fn stored_deployment(number: usize) -> Value {
    let mut object = canonical_deployment(number);
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!(format!("5f0c7e51-0000-4000-8000-{number:012}"));
    metadata["resourceVersion"] = json!("123456");
    metadata["generation"] = json!(3);
    metadata["creationTimestamp"] = json!("2026-11-01T08:00:00Z");
    metadata["annotations"]["deployment.kubernetes.io/revision"] = json!("3");
    let owned = json!({
        "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}},
        "f:template": {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"app\"}": {".": {}, "f:image": {}, "f:env": {".": {}}, "f:resources": {}, "f:ports": {}},
            "k:{\"name\":\"proxy\"}": {".": {}, "f:image": {}, "f:env": {".": {}}, "f:resources": {}, "f:ports": {}}}}},
    });
    metadata["managedFields"] = json!([{"manager": "gitadel", "operation": "Update", "apiVersion": "apps/v1",
        "time": "2026-11-01T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": owned}}]);
    object["status"] = json!({"observedGeneration": 3, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "updatedReplicas": 3, "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
            "lastUpdateTime": "2026-11-01T08:00:00Z", "lastTransitionTime": "2026-11-01T08:00:00Z",
            "message": "Deployment has minimum availability."}]});
    object
}

/// What Git and the API server's defaults make of it.
pub fn canonical_deployment(number: usize) -> Value {
    let app = format!("app-{number}");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": app, "namespace": NAMESPACE,
            "labels": {"app": app, "app.kubernetes.io/part-of": "fleet", "team": format!("team-{}", number % 20)},
            "annotations": {"example.com/owner": "platform@example.com"}},
        "spec": {
            "replicas": 3, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": app}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {
                    "containers": [container("app", number, 70), container("proxy", number, 35)],
                    "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                    "securityContext": {}, "terminationGracePeriodSeconds": 30,
                    "volumes": [{"name": "settings", "configMap": {"name": app, "defaultMode": 420}}],
                },
            },
        },
    })
}

fn container(name: &str, number: usize, variables: usize) -> Value {
    let environment: Vec<Value> = (0..variables)
        .map(|v| json!({"name": format!("SETTING_{v}"), "value": format!("value {v} of {name}-{number} and some more text")}))
        .collect();
    json!({
        "name": name, "image": format!("registry.example.com/fleet/{name}:1.{}", number % 100),
        "imagePullPolicy": "IfNotPresent", "env": environment,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"},
                  {"containerPort": 9090, "name": "metrics", "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/settings"}],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    })
}

/// The manifest of a small object for Git, as YAML (JSON is YAML): of ten, six ConfigMaps, two Services, one Role, and
/// one Deployment without replicas, so that no controller makes anything of it. A generation is a later version of it.
pub fn manifest(number: usize, generation: usize) -> Value {
    let name = format!("object-{number}");
    let metadata =
        json!({"name": name, "namespace": NAMESPACE, "labels": {"app": name, "generation": format!("g{generation}")}});
    match number % 10 {
        0 => json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                    {"name": "app", "image": format!("registry.example.com/fleet/app:{generation}"),
                     "ports": [{"containerPort": 8080, "name": "http"}],
                     "env": [{"name": "MODE", "value": "production"}]}]}}}}),
        1 | 2 => json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
        3 => json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"], "resourceNames": [format!("g{generation}")]}]}),
        _ => json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"settings.yaml": format!("number: {number}\ngeneration: {generation}\n{}", "key: value\n".repeat(30))}}),
    }
}
