//! kube-apiserver's flags, where its mirror Pods show them.

use super::cluster::{Cluster, PodFacts};
use super::finding::{Finding, Severity};

/// Plugins without which writes pass unasked, or nodes write as they like.
const PLUGINS: [(&str, Severity); 4] = [
    ("ValidatingAdmissionWebhook", Severity::Critical),
    ("ValidatingAdmissionPolicy", Severity::High),
    ("ServiceAccount", Severity::Medium),
    ("NamespaceLifecycle", Severity::Medium),
];
const MANIFEST_ADMISSION: &str = "ManifestBasedAdmissionControlConfig";

pub fn findings(cluster: &Cluster) -> Vec<Finding> {
    let servers: Vec<_> = cluster.pods.iter().filter(|pod| pod.mirror && pod.component == "kube-apiserver").collect();
    if servers.is_empty() && cluster.knows_pods {
        return vec![
            Finding::new("GA-API-001", Severity::Info, "The flags of kube-apiserver cannot be seen")
                .why(
                    "None of them runs as a static Pod of this cluster, as with managed control planes. Admission plugins, feature \
                     gates and authorization modes are not known. GA-ADM-004 would say if gitadel were not asked.",
                )
                .fix("Ask who runs the control plane for its flags."),
        ];
    }
    servers.into_iter().flat_map(of_one).collect()
}

struct Flags<'a>(&'a [String]);

impl<'a> Flags<'a> {
    /// Of one that is given twice the last counts.
    fn value(&self, flag: &str) -> Option<&'a str> {
        let mut found = None;
        let mut rest = self.0.iter();
        while let Some(argument) = rest.next() {
            let Some(after) = argument.strip_prefix("--").and_then(|argument| argument.strip_prefix(flag)) else {
                continue;
            };
            match after.strip_prefix('=') {
                Some(value) => found = Some(value),
                None if after.is_empty() => found = rest.clone().next().map(String::as_str),
                None => {}
            }
        }
        found
    }

    fn list(&self, flag: &str) -> impl Iterator<Item = &'a str> {
        self.value(flag).unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
    }

    fn gate(&self, name: &str) -> Option<bool> {
        let gates = self.list("feature-gates").filter_map(|gate| gate.split_once('='));
        gates.filter(|(gate, _)| *gate == name).map(|(_, set)| set == "true").last()
    }
}

fn of_one(pod: &PodFacts) -> Vec<Finding> {
    let flags = Flags(&pod.arguments);
    let object = format!("Pod {}/{}", pod.namespace, pod.name);
    let finding = |id, severity, title: String, why: &str, fix: String| {
        Finding::new(id, severity, format!("{title} ({})", pod.name)).object(&object).why(why).fix(fix)
    };
    let mut findings = Vec::new();
    for (plugin, severity) in PLUGINS {
        if flags.list("disable-admission-plugins").any(|disabled| disabled == plugin) {
            findings.push(finding(
                "GA-API-002",
                severity,
                format!("kube-apiserver runs without the admission plugin {plugin}"),
                "What it would have refused passes.",
                format!("Take {plugin} out of --disable-admission-plugins."),
            ));
        }
    }
    if !flags.list("enable-admission-plugins").any(|plugin| plugin == "NodeRestriction") {
        findings.push(finding(
            "GA-API-003",
            Severity::High,
            "kube-apiserver runs without the admission plugin NodeRestriction".into(),
            "Each node may write every Node and Pod, and have tokens of every service account.",
            "Add NodeRestriction to --enable-admission-plugins.".into(),
        ));
    }
    findings.extend(authorization(&flags, &finding));
    findings.extend(authentication(&flags, &finding));
    if flags.gate(MANIFEST_ADMISSION) != Some(true) || flags.value("admission-control-config-file").is_none() {
        findings.push(finding(
            "GA-API-008",
            Severity::Low,
            "Manifest-based admission control is not used".into(),
            "It is the only thing that can refuse a change of webhook configurations and admission policies.",
            "gitadel static-admission makes the policies, manifests/static-admission shows the flags (Kubernetes 1.36).".into(),
        ));
    }
    findings
}

type Make<'a> = &'a dyn Fn(&'static str, Severity, String, &str, String) -> Finding;

fn authorization(flags: &Flags<'_>, finding: Make<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let modes: Vec<_> = flags.list("authorization-mode").collect();
    if flags.value("authorization-config").is_some() {
        findings.push(finding(
            "GA-API-004",
            Severity::Info,
            "kube-apiserver takes its authorizers from a file".into(),
            "Which there are cannot be seen from here; this report is about RBAC alone.",
            "Read the file of --authorization-config.".into(),
        ));
    } else if modes.is_empty() || modes.contains(&"AlwaysAllow") {
        findings.push(finding(
            "GA-API-005",
            Severity::Critical,
            "kube-apiserver lets everybody do everything".into(),
            "With AlwaysAllow, which is also the default, nobody is asked for a right.",
            "--authorization-mode=Node,RBAC".into(),
        ));
    }
    for mode in modes.iter().filter(|mode| ["Webhook", "ABAC"].contains(mode)) {
        findings.push(finding(
            "GA-API-006",
            Severity::Medium,
            format!("kube-apiserver also grants rights by {mode}"),
            "Whom it lets do what is in no role, and so not in this report.",
            format!("Take {mode} out of --authorization-mode, or audit what it grants."),
        ));
    }
    findings
}

fn authentication(flags: &Flags<'_>, finding: Make<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if flags.value("token-auth-file").is_some() {
        findings.push(finding(
            "GA-API-007",
            Severity::High,
            "kube-apiserver knows users by tokens in a file".into(),
            "They never expire, name any user and group, and are known to whoever read the file once.",
            "Take --token-auth-file away.".into(),
        ));
    }
    let anonymous = flags.value("anonymous-auth").is_none_or(|value| value != "false");
    if anonymous && flags.value("authentication-config").is_none() {
        findings.push(finding(
            "GA-API-009",
            Severity::Low,
            "kube-apiserver answers requests of nobody".into(),
            "system:anonymous has what is bound to it or to system:unauthenticated: by default health and version.",
            "--anonymous-auth=false, or an AuthenticationConfiguration that allows it for health checks only.".into(),
        ));
    }
    if flags.list("etcd-servers").any(|url| url.starts_with("http://")) {
        findings.push(finding(
            "GA-API-010",
            Severity::Critical,
            "kube-apiserver reaches etcd without TLS".into(),
            "Whoever reaches etcd's port writes objects that nobody is asked about.",
            "Give etcd certificates, and https URLs in --etcd-servers.".into(),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flags: &[&str]) -> Vec<&'static str> {
        let mut arguments = vec!["kube-apiserver".to_owned()];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let pod = PodFacts { mirror: true, component: "kube-apiserver".into(), arguments, ..PodFacts::default() };
        findings(&Cluster { pods: vec![pod], knows_pods: true, ..Cluster::default() }).iter().map(|f| f.id).collect()
    }

    const GOOD: [&str; 6] = [
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--feature-gates=A=false,ManifestBasedAdmissionControlConfig=true",
        "--admission-control-config-file=/x",
        "--etcd-servers=https://127.0.0.1:2379",
    ];

    #[test]
    fn each_flag_is_judged() {
        assert!(found(&GOOD).is_empty());
        let cases: [(&[&str], &[&str]); 12] = [
            (&["--disable-admission-plugins=A,ValidatingAdmissionWebhook"], &["GA-API-002"]),
            (&["--enable-admission-plugins=A"], &["GA-API-003"]),
            (&["--authorization-config=/x"], &["GA-API-004"]),
            (&["--authorization-mode=RBAC,AlwaysAllow"], &["GA-API-005"]),
            (&["--authorization-mode="], &["GA-API-005"]),
            (&["--authorization-mode=Node,RBAC,Webhook"], &["GA-API-006"]),
            (&["--token-auth-file=/x"], &["GA-API-007"]),
            (&["--feature-gates=ManifestBasedAdmissionControlConfig=false"], &["GA-API-008"]),
            (&["--anonymous-auth=true"], &["GA-API-009"]),
            (&["--anonymous-auth", "true"], &["GA-API-009"]),
            (&["--etcd-servers=http://10.0.0.1:2379"], &["GA-API-010"]),
            (&["--anonymous-auth-x=true"], &[]),
        ];
        for (more, expected) in cases {
            let flags: Vec<_> = GOOD.iter().chain(more).copied().collect();
            assert_eq!(found(&flags), expected, "{more:?}");
        }
    }

    #[test]
    fn where_none_is_visible_that_is_told_if_pods_were_looked_at() {
        let cluster = |knows_pods| Cluster { knows_pods, ..Cluster::default() };
        assert_eq!(findings(&cluster(true)).len(), 1);
        assert!(findings(&cluster(false)).is_empty());
    }
}
