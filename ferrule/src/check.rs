//! What a check is.

use crate::facts::Facts;
use crate::finding::Finding;

/// A pure function over facts, and what people are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in output and in docs/troubleshooting.md.
    pub id: &'static str,
    /// What people see.
    pub symptom: &'static str,
    /// Why that happens: one paragraph.
    pub cause: &'static str,
    /// What mends it, in general.
    pub remedy: &'static str,
    /// What it finds.
    pub run: fn(&Facts) -> Vec<Finding>,
}
