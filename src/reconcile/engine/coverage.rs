//! What the watches cover: the kinds of the governed scopes, listed anew where objects are judged otherwise than before: by
//! another scope or delegation, or because it is known only now what a source declares.
//!
//! Drift that the first lists show may be what the newest commit changes. It waits for that commit, and so is written
//! once, not back and then forth.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::object::GroupKind;
use crate::reconcile::kinds::Kinds;
use crate::reconcile::round::Participant;
use crate::reconcile::watch::{Watches, is_watched};
use crate::snapshot::{Meta, Source};

/// How long drift that a new leader finds waits for a Git server that does not answer.
const LONGEST_HOLD: Duration = Duration::from_secs(10);

pub struct Coverage {
    watches: Watches,
    /// By what the watches judge: when it changes, everything is listed anew.
    scopes: Vec<Source>,
    /// Sources of which it is not known yet what they declare: nothing there is taken for undeclared.
    sealed: BTreeSet<String>,
    /// Since when drift waits for what Git says now.
    holding: Option<Instant>,
}

impl Coverage {
    pub fn new(watches: Watches) -> Self {
        Self { watches, scopes: Vec::new(), sealed: BTreeSet::new(), holding: None }
    }

    /// Whether nothing was watched since this process began or leads.
    pub fn is_new(&self) -> bool {
        self.scopes.is_empty()
    }

    /// The kinds of which nobody has seen yet what there is: what an earlier process published and never wrote, and what
    /// came round admission, is found by the watches, and by nothing else.
    pub fn unlisted(&self, meta: &Meta) -> Vec<GroupKind> {
        let kinds = meta.kinds.iter().filter(|kind| kind.registered || !self.is_new());
        let kinds: BTreeSet<_> = kinds.map(|kind| GroupKind::new(&kind.group, &kind.kind)).collect();
        let kinds = kinds.into_iter().collect();
        if self.is_new() { kinds } else { self.watches.unlisted(kinds) }
    }

    /// Whatever differs now was nobody's to put right, or the last leader's.
    pub fn begin_anew(&mut self) {
        self.scopes.clear();
    }

    /// Lets drift wait until it is released.
    pub fn hold(&mut self) {
        self.holding = Some(Instant::now());
        self.watches.hold();
    }

    /// Lets drift be put right that was found when the watches began: when Git was read, or could not be for too long.
    pub fn release_if(&mut self, all_looked: bool) {
        if self.holding.is_some_and(|since| all_looked || since.elapsed() > LONGEST_HOLD) {
            self.holding = None;
            self.watches.release();
        }
    }

    /// Of these kinds there may be objects that followed from what is gone.
    pub fn look_again(&mut self, kinds: &BTreeSet<GroupKind>) {
        self.watches.look_again(kinds);
    }

    pub fn cover(&mut self, participants: &[Participant], kinds: &Kinds, sealed: &BTreeSet<String>) {
        let scopes: Vec<Source> = participants.iter().map(|participant| judging(&participant.source)).collect();
        if (&scopes, sealed) != (&self.scopes, &self.sealed) {
            self.watches.restart();
        }
        self.scopes = scopes;
        self.sealed.clone_from(sealed);
        let governed = kinds.iter().filter(|kind| {
            is_watched(kind)
                && (kind.info.namespaced
                    || participants.iter().any(|p| p.source.governs_cluster_kind(&kind.info.group, &kind.info.kind))
                    || kind.info.kind == "Namespace")
        });
        self.watches.watch(governed.cloned());
    }
}

/// A source without what changes no verdict over an object.
fn judging(source: &Source) -> Source {
    Source {
        spec: None,
        url: String::new(),
        reference: String::new(),
        commit: String::new(),
        subject: String::new(),
        deletion_guard: 0,
        ..source.clone()
    }
}
