//! What becomes of a write with kubectl: it is admitted, or rejected for a reason that the test names.

use super::Said;
use super::governed::Governed;

impl Governed {
    pub fn admits(&self, arguments: &[&str]) -> Said {
        let said = self.kubectl(arguments);
        assert!(said.success, "{arguments:?}: {said:?}");
        said
    }

    /// What the rejection says, which holds the reason.
    pub fn rejects(&self, arguments: &[&str], because: &str) -> String {
        let said = self.kubectl(arguments);
        assert!(!said.success && said.stderr.contains(because), "{arguments:?} for {because:?}: {said:?}");
        said.stderr
    }
}
