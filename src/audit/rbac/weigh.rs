//! What a right is worth, by where it counts and what is closed there.

use super::powers::Claim;
use super::roles::Place;
use super::rule::Names;
use crate::api::{GROUP, MANAGER, SYSTEM_NAMESPACE};
use crate::audit::finding::{Severity, some_of};
use crate::audit::surroundings::{KUBE_SYSTEM, Surroundings};

/// None where the right gets nobody round gitadel.
pub type Weigh = fn(&Surroundings<'_>, &Claim<'_>) -> Option<Weight>;

/// What a right is worth, and what else there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    pub severity: Severity,
    pub note: String,
}

impl From<Severity> for Weight {
    fn from(severity: Severity) -> Self {
        Self { severity, note: String::new() }
    }
}

const NOTED: usize = 6;
const RBAC: &str = "rbac.authorization.k8s.io";

/// The API server takes certificates of this signer for any user but system:masters.
const CLIENT_SIGNERS: [&str; 3] = ["kubernetes.io/kube-apiserver-client", "kubernetes.io/*", "*"];
const KUBELET_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

pub fn critical(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    of_cluster(claim, Severity::Critical)
}

pub fn high(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    of_cluster(claim, Severity::High)
}

pub fn medium(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    of_cluster(claim, Severity::Medium)
}

/// A RoleBinding gives nothing on cluster-scoped objects.
fn of_cluster(claim: &Claim<'_>, severity: Severity) -> Option<Weight> {
    (claim.place == Place::Cluster).then(|| severity.into())
}

pub fn own_configuration(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    of_cluster(claim, Severity::Critical).filter(|_| claim.names.include(MANAGER) && !surroundings.protected)
}

pub fn impersonation(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let Names::Only(names) = claim.names else { return of_cluster(claim, Severity::Critical) };
    let of_the_system = names.iter().any(|name| name.starts_with("system:") || name.starts_with("kubeadm:"));
    let severity = if of_the_system { Severity::Critical } else { Severity::Medium };
    Some(Weight { note: format!("As {}.", some_of(names, NOTED)), ..of_cluster(claim, severity)? })
}

pub fn accounts(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    Some(surroundings.worth_of_accounts(claim.place, claim.names).into())
}

pub fn nodes_proxy(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    of_cluster(claim, Severity::Critical)
}

pub fn exec(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let governance = &surroundings.governance;
    // Whatever an Enforcement permits, nobody enters gitadel's own Pods while one enforces.
    let is_denied = |namespace: &str| {
        governance.denies_exec(namespace) || (namespace == SYSTEM_NAMESPACE && governance.enforces_anything())
    };
    let is_open = |namespace: &str| claim.place.includes(namespace) && !is_denied(namespace);
    if is_open(SYSTEM_NAMESPACE) {
        return Some(Severity::Critical.into());
    }
    let places: Vec<_> = surroundings.namespaces.keys().filter(|namespace| is_open(namespace)).collect();
    let governed = places.iter().all(|namespace| surroundings.governance.governs(namespace));
    let severity = if governed { Severity::Low } else { Severity::High };
    (!places.is_empty()).then(|| Weight { severity, note: format!("In {}.", some_of(places, NOTED)) })
}

pub fn ephemeral_containers(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let denies = |namespace: &str| surroundings.governance.denies_ephemeral_containers(namespace);
    let is_open = |namespace: &str| claim.place.includes(namespace) && !denies(namespace);
    let places: Vec<_> = surroundings.namespaces.keys().filter(|namespace| is_open(namespace)).collect();
    let severity = if is_open(SYSTEM_NAMESPACE) { Severity::Critical } else { Severity::High };
    (!places.is_empty()).then(|| Weight { severity, note: format!("In {}.", some_of(places, NOTED)) })
}

pub fn system_ports(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let open = claim.place.includes(SYSTEM_NAMESPACE) && !surroundings.governance.denies_exec(SYSTEM_NAMESPACE);
    open.then(|| Severity::Low.into())
}

pub fn system_high(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    claim.place.includes(SYSTEM_NAMESPACE).then(|| Severity::High.into())
}

pub fn system_medium(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    claim.place.includes(SYSTEM_NAMESPACE).then(|| Severity::Medium.into())
}

pub fn open_system_high(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    system_high(surroundings, claim).filter(|_| !surroundings.governance.closes(SYSTEM_NAMESPACE))
}

pub fn granting(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let closes = |kind| surroundings.governance.closes_kind(RBAC, kind);
    let open: Vec<_> = surroundings.open_namespaces(claim.place).collect();
    let mut weight: Weight = match claim.place {
        Place::Cluster if !(closes("ClusterRoleBinding") && closes("ClusterRole")) => Severity::Critical.into(),
        _ if !open.is_empty() => {
            Weight { severity: Severity::High, note: format!("By RoleBindings in {}.", some_of(open, NOTED)) }
        }
        Place::Cluster => Severity::Medium.into(),
        Place::Namespace(_) => return None,
    };
    if let Names::Only(names) = claim.names {
        weight.severity = weight.severity.min(Severity::Medium);
        weight.note = format!("Of {}. {}", some_of(names, NOTED), weight.note).trim_end().to_owned();
    }
    Some(weight)
}

pub fn signers(_: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let of_clients = CLIENT_SIGNERS.iter().any(|signer| claim.names.include(signer));
    if of_clients {
        return of_cluster(claim, Severity::Critical);
    }
    let of_nodes = claim.names.include(KUBELET_SIGNER);
    of_nodes.then(|| of_cluster(claim, Severity::High)).flatten()
}

pub fn definitions(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let closed = surroundings.governance.closes_kind("apiextensions.k8s.io", "CustomResourceDefinition");
    of_cluster(claim, Severity::Medium).filter(|_| !closed)
}

pub fn api_services(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let closed = surroundings.governance.closes_kind("apiregistration.k8s.io", "APIService");
    of_cluster(claim, Severity::High).filter(|_| !closed)
}

pub fn workloads(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let worth = |namespace: &str| match namespace {
        SYSTEM_NAMESPACE | KUBE_SYSTEM => Severity::Critical,
        _ if surroundings.refuses_privileged(namespace) => Severity::Medium,
        _ => Severity::Critical,
    };
    let open: Vec<_> = surroundings.open_namespaces(claim.place).collect();
    let severity = open.iter().map(|namespace| worth(namespace)).max()?;
    Some(Weight { severity, note: format!("In {}.", some_of(open, NOTED)) })
}

pub fn namespaces(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let patterns = surroundings.governance.open_patterns();
    let weight = of_cluster(claim, Severity::High).filter(|_| !patterns.is_empty())?;
    Some(Weight { note: format!("Excluded: {}.", some_of(patterns, NOTED)), ..weight })
}

pub fn enforcements(surroundings: &Surroundings<'_>, claim: &Claim<'_>) -> Option<Weight> {
    let governance = &surroundings.governance;
    let grants = ["ClusterRole", "ClusterRoleBinding"].map(|kind| governance.governs_kind(RBAC, kind)).contains(&false);
    let left: Vec<_> = surroundings.namespaces.keys().filter(|namespace| !governance.governs(namespace)).collect();
    // Over what is enforced already nobody adds another by hand.
    let severity = if grants || !left.is_empty() { Severity::Critical } else { Severity::Medium };
    let note = if left.is_empty() { String::new() } else { format!("Not enforced: {}.", some_of(left, NOTED)) };
    let weight = of_cluster(claim, severity).filter(|_| !governance.closes_kind(GROUP, "Enforcement"))?;
    Some(Weight { note, ..weight })
}
