//! Who has such rights by design: Kubernetes' own components, gitadel, and administrators whom no role can bind.

use std::collections::BTreeSet;

use super::roles::{Grant, Place};
use super::{Surroundings, held};
use crate::api::{MANAGER, SYSTEM_NAMESPACE};
use crate::audit::finding::{Finding, Severity, Subject, Who};

/// The group that the API server asks no authorizer about.
pub const MASTERS: &str = "system:masters";
/// The group of the administrators of a cluster that kubeadm made.
pub const KUBEADM_ADMINISTRATORS: &str = "kubeadm:cluster-admins";
/// Namespace and name of the account that gitadel runs as.
pub const GITADEL_ACCOUNT: (&str, &str) = (SYSTEM_NAMESPACE, MANAGER);

pub struct Known {
    /// Who has which right, and where, in a new cluster.
    by_design: BTreeSet<(Who, &'static str, Option<String>)>,
    components: BTreeSet<Who>,
    rights: usize,
    kubeadm: bool,
    gitadel: bool,
}

impl Known {
    pub fn new(bootstrap: &[Grant<'_>], surroundings: &Surroundings<'_>) -> Self {
        let mut by_design = BTreeSet::new();
        for grant in bootstrap {
            for held in held(grant, surroundings) {
                let place = grant.place.namespace().map(str::to_owned);
                by_design.extend(grant.subjects.iter().map(|who| (who.clone(), held.power.id, place.clone())));
            }
        }
        Self { by_design, components: BTreeSet::new(), rights: 0, kubeadm: false, gitadel: false }
    }

    /// Whether somebody has this right by design; it is counted.
    pub fn take(&mut self, who: &Who, power: &'static str, place: Place<'_>) -> bool {
        if *who == Who::group(MASTERS) {
            return true;
        }
        if *who == Who::service_account(GITADEL_ACCOUNT.0, GITADEL_ACCOUNT.1) {
            self.gitadel = true;
            return true;
        }
        if *who == Who::group(KUBEADM_ADMINISTRATORS) {
            self.kubeadm = true;
            return true;
        }
        let known = self.by_design.contains(&(who.clone(), power, place.namespace().map(str::to_owned)));
        if known {
            self.components.insert(who.clone());
            self.rights += 1;
        }
        known
    }

    pub fn findings(self) -> Vec<Finding> {
        let mut findings = vec![
            Finding::new("GA-KNOWN-001", Severity::Info, "Whoever is in system:masters may do everything")
                .subjects([Subject::new(Who::group(MASTERS))])
                .why(
                    "The API server asks no authorizer about this group, so that no role can take anything from it. Membership \
                     comes with a client certificate, which cannot be revoked.",
                )
                .fix(
                    "Issue no certificate of this group but one that is kept offline, and protect gitadel's configuration by \
                     the API server's own files (manifest-based admission control).",
                ),
        ];
        if !self.components.is_empty() {
            let title = format!(
                "{} components of Kubernetes hold {} of these rights by the roles of every new cluster",
                self.components.len(),
                self.rights
            );
            findings.push(
                Finding::new("GA-KNOWN-002", Severity::Info, title)
                    .subjects(self.components.into_iter().map(Subject::new))
                    .why("They need them. Whoever has their credentials, or may act as them, has the rights as well.")
                    .fix("Nothing: the ways to their credentials are findings of their own."),
            );
        }
        if self.kubeadm {
            findings.push(
                Finding::new("GA-KNOWN-003", Severity::Info, "The administrators of kubeadm may do everything")
                    .subjects([Subject::new(Who::group(KUBEADM_ADMINISTRATORS))])
                    .why("kubeadm binds this group to cluster-admin, and puts a certificate of it into admin.conf.")
                    .fix("Keep admin.conf as you would a root password. Unlike system:masters, the group can be unbound."),
            );
        }
        if self.gitadel {
            let account = Who::service_account(GITADEL_ACCOUNT.0, GITADEL_ACCOUNT.1);
            findings.push(
                Finding::new("GA-KNOWN-004", Severity::Info, "gitadel's reconciler may do everything that Git can declare")
                    .subjects([Subject::new(account)])
                    .why(
                        "In a governed scope its token only applies Git again. It can read, act where no scope reaches, and \
                         write webhook configurations.",
                    )
                    .fix("Nothing: the ways to its token are findings of their own."),
            );
        }
        findings
    }
}
