//! The least that the API server takes for a new object of each kind that it can serve.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The body of a creation, without a name. None: this kind has no sample yet.
pub fn creatable(resource: &str) -> Option<Value> {
    let selector = json!({"matchLabels": {"app": "x"}});
    let container = json!({"name": "c", "image": "example.org/c:1"});
    let pod =
        json!({"serviceAccountName": "default", "automountServiceAccountToken": false, "containers": [container]});
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": pod});
    let restarting = json!({"spec": {"restartPolicy": "Never", "containers": [container]}});
    let workload = json!({"selector": selector, "template": template});
    let device = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "x"}}]}});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
    let access = json!({"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "shop"}});
    let event = json!({"reason": "r", "type": "Normal", "action": "a", "reportingController": "example.org/c", "reportingComponent": "example.org/c",
        "reportingInstance": "i", "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"namespace": "shop"}, "involvedObject": {"namespace": "shop"}});
    let client = json!({"url": "https://127.0.0.1:1/"});
    let webhook = json!({"webhooks": [{"name": "x.example.org", "clientConfig": client, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": []}]});
    let constraints = json!({"resourceRules": [{"apiGroups": ["example.org"], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["nothings"]}]});
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}});
    let spec = |spec: Value| json!({ "spec": spec });
    Some(match resource {
        "/bindings" => json!({"target": {"kind": "Node", "name": "n"}}),
        "/configmaps"
        | "/limitranges"
        | "/namespaces"
        | "/nodes"
        | "/resourcequotas"
        | "/secrets"
        | "/serviceaccounts"
        | "/endpoints"
        | "rbac.authorization.k8s.io/clusterroles"
        | "rbac.authorization.k8s.io/roles"
        | "coordination.k8s.io/leases"
        | "example.org/gadgets" => json!({}),
        "/events" | "events.k8s.io/events" => event,
        "/persistentvolumeclaims" => {
            spec(json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}))
        }
        "/persistentvolumes" => spec(json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"},
            "hostPath": {"path": "/tmp"}})),
        "/pods" => spec(pod),
        "/podtemplates" => json!({ "template": template }),
        "/replicationcontrollers" => spec(json!({"selector": {"app": "x"}, "template": template})),
        "/services" => spec(json!({"ports": [{"port": 80}]})),
        "admissionregistration.k8s.io/mutatingwebhookconfigurations"
        | "admissionregistration.k8s.io/validatingwebhookconfigurations" => webhook,
        "admissionregistration.k8s.io/validatingadmissionpolicies" => {
            spec(json!({"matchConstraints": constraints, "validations": [{"expression": "true"}]}))
        }
        "admissionregistration.k8s.io/validatingadmissionpolicybindings" => {
            spec(json!({"policyName": "x", "validationActions": ["Audit"]}))
        }
        "admissionregistration.k8s.io/mutatingadmissionpolicies" => spec(json!({"matchConstraints": constraints,
            "reinvocationPolicy": "Never", "failurePolicy": "Ignore", "mutations": [mutation]})),
        "admissionregistration.k8s.io/mutatingadmissionpolicybindings" => spec(json!({"policyName": "nothing"})),
        "apiextensions.k8s.io/customresourcedefinitions" => spec(json!({
            "group": "example.net", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": false, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]})),
        "apiregistration.k8s.io/apiservices" => spec(json!({"group": "example.com", "version": "v1",
            "groupPriorityMinimum": 1, "versionPriority": 1, "service": {"namespace": "shop", "name": "nothing"},
            "insecureSkipTLSVerify": true})),
        "apps/controllerrevisions" => json!({"revision": 1, "data": {}}),
        "apps/daemonsets" | "apps/deployments" | "apps/replicasets" => spec(workload),
        "apps/statefulsets" => spec(json!({"serviceName": "x", "selector": selector, "template": template})),
        "authentication.k8s.io/selfsubjectreviews" => json!({}),
        "authentication.k8s.io/tokenreviews" => spec(json!({"token": "t"})),
        "authorization.k8s.io/selfsubjectaccessreviews" => spec(access),
        "authorization.k8s.io/selfsubjectrulesreviews" => spec(json!({"namespace": "shop"})),
        "authorization.k8s.io/localsubjectaccessreviews" | "authorization.k8s.io/subjectaccessreviews" => {
            spec(json!({"user": "a", "resourceAttributes": access["resourceAttributes"]}))
        }
        "autoscaling/horizontalpodautoscalers" => spec(
            json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}),
        ),
        "batch/cronjobs" => spec(json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": restarting}}})),
        "batch/jobs" => spec(json!({"template": restarting})),
        "certificates.k8s.io/certificatesigningrequests" => {
            spec(json!({"request": certificate_request(), "signerName": "example.org/s", "usages": ["client auth"]}))
        }
        "certificates.k8s.io/clustertrustbundles" => spec(json!({"trustBundle": certificate()})),
        "certificates.k8s.io/podcertificaterequests" => spec(json!({"signerName": "example.org/s", "podName": "p",
            "podUID": "00000000-0000-0000-0000-000000000001", "serviceAccountName": "default",
            "serviceAccountUID": "00000000-0000-0000-0000-000000000002", "nodeName": "n",
            "nodeUID": "00000000-0000-0000-0000-000000000003", "maxExpirationSeconds": 86400,
            "stubPKCS10Request": certificate_request_as_der()})),
        "coordination.k8s.io/leasecandidates" => spec(json!({"leaseName": "x", "binaryVersion": "1.0.0",
            "emulationVersion": "1.0.0", "strategy": "OldestEmulationVersion"})),
        "internal.apiserver.k8s.io/storageversions" => json!({"spec": {}, "status": {}}),
        "resource.k8s.io/devicetaintrules" => {
            spec(json!({"deviceSelector": {"driver": "example.org"}, "taint": {"key": "k", "effect": "NoSchedule"}}))
        }
        "resource.k8s.io/resourcepoolstatusrequests" => spec(json!({"driver": "example.org"})),
        "scheduling.k8s.io/workloads" => {
            spec(json!({"podGroupTemplates": [{"name": "g", "schedulingPolicy": {"basic": {}}}]}))
        }
        "scheduling.k8s.io/podgroups" => spec(json!({"schedulingPolicy": {"basic": {}}})),
        "storagemigration.k8s.io/storageversionmigrations" => {
            spec(json!({"resource": {"group": "example.org", "resource": "widgets"}}))
        }
        "discovery.k8s.io/endpointslices" => json!({"addressType": "IPv4", "endpoints": []}),
        "example.org/widgets" => spec(json!({"replicas": 1})),
        "flowcontrol.apiserver.k8s.io/flowschemas" => spec(json!({"priorityLevelConfiguration": {"name": "exempt"}})),
        "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations" => {
            spec(json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}))
        }
        "networking.k8s.io/ingressclasses" => spec(json!({"controller": "example.org/c"})),
        "networking.k8s.io/ingresses" => {
            spec(json!({"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}))
        }
        "networking.k8s.io/ipaddresses" => {
            spec(json!({"parentRef": {"group": "", "resource": "services", "namespace": "shop", "name": "x"}}))
        }
        "networking.k8s.io/networkpolicies" => spec(json!({"podSelector": {}})),
        "networking.k8s.io/servicecidrs" => spec(json!({"cidrs": ["10.9.0.0/24"]})),
        "node.k8s.io/runtimeclasses" => json!({"handler": "x"}),
        "policy/poddisruptionbudgets" => spec(json!({"minAvailable": 1, "selector": selector})),
        "rbac.authorization.k8s.io/clusterrolebindings" | "rbac.authorization.k8s.io/rolebindings" => {
            json!({"roleRef": role, "subjects": []})
        }
        "resource.k8s.io/deviceclasses" => spec(json!({})),
        "resource.k8s.io/resourceclaims" => spec(device),
        "resource.k8s.io/resourceclaimtemplates" => spec(json!({"spec": device})),
        "resource.k8s.io/resourceslices" => spec(json!({"driver": "example.org", "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}})),
        "scheduling.k8s.io/priorityclasses" => json!({"value": 1}),
        "storage.k8s.io/csidrivers" => spec(json!({})),
        "storage.k8s.io/csinodes" => spec(json!({"drivers": []})),
        "storage.k8s.io/csistoragecapacities" => json!({"storageClassName": "x"}),
        "storage.k8s.io/storageclasses" => json!({"provisioner": "example.org/p"}),
        "storage.k8s.io/volumeattachments" => {
            spec(json!({"attacher": "example.org", "nodeName": "n", "source": {"persistentVolumeName": "x"}}))
        }
        "storage.k8s.io/volumeattributesclasses" => json!({"driverName": "example.org", "parameters": {"a": "b"}}),
        _ => return None,
    })
}

/// The same in a version that may be an older one.
pub fn creatable_in(version: &str, resource: &str) -> Option<Value> {
    let mut sample = creatable(resource)?;
    if version == "v1beta1" {
        let devices = match resource {
            "resource.k8s.io/resourceclaims" => "/spec/devices/requests/0",
            "resource.k8s.io/resourceclaimtemplates" => "/spec/spec/devices/requests/0",
            _ => return Some(sample),
        };
        *sample.pointer_mut(devices)? = json!({"name": "r", "deviceClassName": "x"});
    }
    Some(sample)
}

/// The body of what is created through a subresource. None: there is no sample yet.
pub fn creatable_through(subresource: &str) -> Option<Value> {
    Some(match subresource {
        "binding" => json!({"target": {"kind": "Node", "name": "n"}}),
        "eviction" => json!({"apiVersion": "policy/v1", "kind": "Eviction"}),
        "token" => json!({"spec": {"audiences": [], "expirationSeconds": 600}}),
        _ => return None,
    })
}

/// Kinds have names of a form of their own.
pub fn name_of(resource: &str) -> &'static str {
    match resource {
        "apiextensions.k8s.io/customresourcedefinitions" => "things.example.net",
        "apiregistration.k8s.io/apiservices" => "v1.example.com",
        "internal.apiserver.k8s.io/storageversions" => "example.org.things",
        "networking.k8s.io/ipaddresses" => "10.0.0.77",
        _ => "x",
    }
}

/// A new one for nobody in particular.
fn certificate_request_of_nobody() -> rcgen::CertificateSigningRequest {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "x");
    parameters.serialize_request(&key).unwrap()
}

fn certificate_request() -> String {
    STANDARD.encode(certificate_request_of_nobody().pem().unwrap())
}

fn certificate_request_as_der() -> String {
    STANDARD.encode(certificate_request_of_nobody().der())
}

fn certificate() -> String {
    gitadel::tls::issue::Authority::new("x").unwrap().certificate().to_owned()
}
