//! How many objects a source declares, and how many of these are as it declares them.

use std::collections::HashSet;

use crate::reconcile::desired::{Desired, SourceProblem};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub declared: u32,
    /// Of the declared ones, those with which the round had no problem.
    pub applied: u32,
}

/// By source. What was never counted as declared, such as an object out of scope, is not taken off.
pub(super) fn count(desired: &Desired, sources: usize, problems: &[SourceProblem]) -> Vec<Counts> {
    let failed: HashSet<&str> = problems.iter().filter_map(|problem| problem.problem.object.as_deref()).collect();
    let mut counts = vec![Counts::default(); sources];
    for (id, declaration) in &desired.objects {
        if let Some(of_source) = counts.get_mut(declaration.source) {
            of_source.declared += 1;
            let is_applied = failed.is_empty() || !failed.contains(id.to_string().as_str());
            of_source.applied += u32::from(is_applied);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Problem;
    use crate::object::ObjectId;
    use crate::reconcile::desired::{Declaration, Stage};
    use crate::render::ManifestSummary;

    fn declared(source: usize, name: &str) -> (ObjectId, Declaration) {
        let id = ObjectId::new("", "ConfigMap", "shop", name);
        let summary = ManifestSummary {
            id: id.clone(),
            api_version: "v1".into(),
            version: "v1".into(),
            digest: String::new(),
            document: 0,
            line: 1,
            recreate: false,
            prune: true,
            size: 0,
        };
        (id, Declaration { source, file: "a.yaml".into(), index: 0, summary: summary.into(), stage: Stage::Objects })
    }

    #[test]
    fn applied_is_what_was_declared_and_did_not_fail() {
        let objects = [declared(0, "a"), declared(0, "b"), declared(1, "c")].into();
        let desired = Desired { objects, ..Desired::default() };
        let of = |object: &str| SourceProblem {
            source: 0,
            problem: Problem { object: Some(object.into()), ..Problem::of_enforcement("NotApplied", "no") },
        };
        let counted = |problems: &[SourceProblem]| {
            count(&desired, 2, problems).into_iter().map(|c| (c.declared, c.applied)).collect::<Vec<_>>()
        };
        assert_eq!(counted(&[]), [(2, 2), (1, 1)]);
        let left_git = of("ConfigMap shop/gone");
        assert_eq!(counted(&[of("ConfigMap shop/b"), of("ConfigMap shop/b"), left_git]), [(2, 1), (1, 1)]);
    }
}
