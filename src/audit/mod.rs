//! What in a cluster could get round gitadel, and who could do it.
//!
//! gitadel judges what reaches admission, in what an Enforcement holds. This looks at the rest, with the rights of whoever
//! asks: [`read()`] brings the facts together, [`audit`] says what follows from them, without an API server. Where something
//! cannot be looked at the report says so: it is never smaller in silence.

mod admission;
mod api_server;
pub mod cluster;
mod enforcements;
pub mod finding;
mod governance;
mod installation;
mod pod_facts;
mod pods;
mod probe;
mod rbac;
mod read;
mod report;
mod selector;
mod served;
mod surroundings;
pub mod text;

pub use cluster::Cluster;
pub use read::read;
pub use report::Report;

use cluster::Protection;
use governance::Governance;
use surroundings::Surroundings;

/// What follows from the facts.
pub fn audit(cluster: &Cluster) -> Report {
    let governance = Governance::new(cluster.enforcements.iter().flatten());
    let mut surroundings = Surroundings::new(governance, &cluster.namespaces);
    surroundings.protected = matches!(cluster.protection, Protection::Rejected(_));
    let mut findings = rbac::findings(&cluster.rbac, &mut surroundings);
    findings.extend(enforcements::findings(cluster, &surroundings.governance));
    findings.extend(admission::findings(cluster, &surroundings.governance));
    findings.extend(installation::findings(cluster, &surroundings));
    findings.extend(pods::findings(cluster, &surroundings.governance));
    findings.extend(api_server::findings(cluster));
    findings.extend(served::findings(cluster));
    Report::new(findings, &cluster.unseen)
}
