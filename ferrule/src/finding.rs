//! What a check finds.

use serde::Serialize;

/// How much the facts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// Pods cannot work so.
    Certain,
    /// It explains the symptom, and something that is not visible on this node may prevent it.
    Likely,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much the facts say.
    pub certainty: Certainty,
    /// What is wrong, with its value: a sentence without a period.
    pub what: String,
    /// The facts that show it.
    pub evidence: Vec<String>,
    /// The commands, or the change, that mend it.
    pub remedy: Vec<String>,
}

impl Finding {
    /// One that is certain.
    pub fn certain(what: impl Into<String>) -> Finding {
        Finding {
            certainty: Certainty::Certain,
            what: what.into(),
            evidence: vec![],
            remedy: vec![],
        }
    }

    /// One that is likely.
    pub fn likely(what: impl Into<String>) -> Finding {
        Finding { certainty: Certainty::Likely, ..Finding::certain(what) }
    }

    /// With a fact.
    #[must_use]
    pub fn because(mut self, fact: impl Into<String>) -> Finding {
        self.evidence.push(fact.into());
        self
    }

    /// With a remedy.
    #[must_use]
    pub fn mend(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy.push(remedy.into());
        self
    }
}
