//! What kube-apiserver itself holds gitadel's webhook configuration to, from files on the control plane (KEP-5793).
//!
//! No webhook and no policy that lives in the API is asked about webhook configurations, so whoever may write them could
//! take gitadel's away, and gitadel could only put it back. A policy from a file is asked, of everybody: cluster
//! administrators, gitadel's own account, whoever impersonates them. So it cannot go by who writes, and judges what would
//! be stored, as gitadel's webhook does.
//!
//! The files are generated, from what the configuration is generated from ([`mod@generate`]): it is held to the letter but
//! for what follows from commits alone, the kinds that Git uses ([`own`]). Registrations of others, which could rewrite
//! or deny what gitadel writes, are held to a list of names or judged by gitadel itself ([`others`]).

mod credential;
mod manifest;
pub mod others;
pub mod own;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::Value;

pub use credential::{Credential, CredentialError};
pub use manifest::{File, ManifestError, files};

use crate::admission::coverage::registrable;
use crate::api::Action;
use crate::reconcile::replicas::{Announcement, ca_bundle};
use crate::reconcile::webhook_configuration::{ClientTarget, Desired, generate};
use crate::snapshot::{KindInfo, Source};
use crate::tls::authorities;

/// Each set of authorities is a bundle of its own that may be stored, so few are bearable; a rotation needs two.
const MOST_AUTHORITIES: usize = 4;

/// Only files may define objects whose names end so; the API server lets nobody store one.
pub const NAME_SUFFIX: &str = "static.k8s.io";

#[derive(Debug, thiserror::Error)]
pub enum ProtectionError {
    #[error(
        "no Enforcement enforces, so there is nothing to protect: generate this when `action: Enforce` is in force where \
         it must stay"
    )]
    NothingEnforced,
    #[error(
        "the authorities' file holds no certificate: give the ca.crt that signs the webhook's serving certificates, as PEM"
    )]
    NoAuthority,
    #[error("{0} authorities are more than {MOST_AUTHORITIES}: leave out those that no longer sign anything")]
    TooManyAuthorities(usize),
}

/// Who else may register webhooks and policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registrations {
    /// Whoever may by RBAC, under these names only.
    Named(BTreeSet<String>),
    /// What gitadel's webhook lets in. For files the API server knows no Services, so the webhook has to have a URL.
    Judged { url: String },
}

/// What the files follow from.
#[derive(Clone, Debug)]
pub struct Protection {
    sources: Vec<Source>,
    /// Every kind in every version that the API server serves.
    kinds: Vec<KindInfo>,
    target: ClientTarget,
    /// Each as PEM.
    authorities: BTreeSet<String>,
    reconciler_users: BTreeSet<String>,
    /// Whose bearer may do what these files deny to everybody else.
    offline: Vec<Credential>,
    registrations: Registrations,
}

impl Protection {
    /// # Errors
    /// See [`ProtectionError`].
    pub fn new(
        sources: Vec<Source>,
        kinds: Vec<KindInfo>,
        target: ClientTarget,
        authorities: &str,
        reconciler_users: BTreeSet<String>,
        offline: Vec<Credential>,
        registrations: Registrations,
    ) -> Result<Self, ProtectionError> {
        if sources.iter().all(|source| source.action != Action::Enforce) {
            return Err(ProtectionError::NothingEnforced);
        }
        let authorities: BTreeSet<_> = authorities::split(authorities).into_iter().collect();
        match authorities.len() {
            0 => return Err(ProtectionError::NoAuthority),
            1..=MOST_AUTHORITIES => {}
            more => return Err(ProtectionError::TooManyAuthorities(more)),
        }
        let kinds = kinds.into_iter().map(|kind| KindInfo { registered: false, ..kind }).collect();
        Ok(Self { sources, kinds, target, authorities, reconciler_users, offline, registrations })
    }

    /// The configuration as it is while Git uses no kind at all: its entries for the rest.
    fn configuration(&self) -> ValidatingWebhookConfiguration {
        generate(&Desired {
            sources: &self.sources,
            kinds: &self.kinds,
            target: &self.target,
            ca_bundle: &self.bundles().pop().unwrap_or_default(),
            reconciler_users: &self.reconciler_users,
        })
    }

    /// What may be registered: group, version, and resource with its subresource.
    fn served(&self) -> BTreeSet<String> {
        let named = |kind: &KindInfo| {
            let place = format!("{}/{}", kind.group, kind.version);
            registrable(kind).map(|name| format!("{place}/{name}")).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(named).collect()
    }

    /// Every bundle that the reconciler could write while its replicas serve with these authorities; all of them last.
    fn bundles(&self) -> Vec<String> {
        let subsets = 1..1_usize << self.authorities.len();
        subsets
            .map(|subset| {
                let chosen = self.authorities.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0);
                let replicas =
                    chosen.map(|(at, pem)| (at.to_string(), Announcement { authorities: pem.clone(), serving: None }));
                ca_bundle(&replicas.collect::<BTreeMap<_, _>>())
            })
            .collect()
    }
}

/// An object as the expressions see it.
fn seen(object: &impl serde::Serialize) -> Value {
    // Nothing of these types can fail to be JSON; were there one, its policy would deny everything.
    serde_json::to_value(object).unwrap_or_default()
}

#[cfg(test)]
mod tests;
