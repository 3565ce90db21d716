//! What `ferrule doctor` prints.

use crate::check::Check;
use crate::checks;
use crate::facts::Facts;
use crate::finding::{Certainty, Finding};
use crate::output::plain;
use serde::Serialize;

/// The verdict with what it rests on. Its JSON is `ferrule doctor --json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `well`, `problems` or `unknown`.
    pub verdict: Verdict,
    /// Checks that were made.
    pub checks: usize,
    /// What was found, the most certain first.
    pub findings: Vec<Told>,
    /// Facts that could not be read.
    pub unread: Vec<Unread>,
}

/// Whether the node is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every fact was read, and no check found anything.
    Well,
    /// Something was found.
    Problems,
    /// Nothing was found, and not every fact could be read.
    Unknown,
}

/// A finding with its check.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The check's name.
    pub check: &'static str,
    /// What people see.
    pub symptom: &'static str,
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A fact that could not be read.
#[derive(Debug, Serialize)]
pub struct Unread {
    /// Which.
    pub fact: &'static str,
    /// Why.
    pub reason: String,
}

impl Report {
    /// What all checks find.
    #[must_use]
    pub fn of(facts: &Facts) -> Report {
        let told = |(check, finding): (&Check, Finding)| Told {
            check: check.id,
            symptom: check.symptom,
            finding,
        };
        let findings: Vec<Told> = checks::run(facts).into_iter().map(told).collect();
        let unread = facts.unread().into_iter();
        let unread: Vec<Unread> = unread.map(|(fact, reason)| Unread { fact, reason }).collect();
        let verdict = match (findings.is_empty(), unread.is_empty()) {
            (false, _) => Verdict::Problems,
            (true, true) => Verdict::Well,
            (true, false) => Verdict::Unknown,
        };
        Report { verdict, checks: checks::ALL.len(), findings, unread }
    }

    /// The exit code: 0 well, 1 problems, 2 cannot tell.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.verdict {
            Verdict::Well => 0,
            Verdict::Problems => 1,
            Verdict::Unknown => 2,
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = match self.verdict {
            Verdict::Well => format!("well: {} checks found nothing\n", self.checks),
            Verdict::Unknown => {
                "cannot tell: nothing was found, and not everything could be read\n".to_owned()
            }
            Verdict::Problems if self.findings.len() == 1 => "1 problem\n".to_owned(),
            Verdict::Problems => {
                format!("{} problems, the most certain first\n", self.findings.len())
            }
        };
        for (told, number) in self.findings.iter().zip(1..) {
            text += &section(told, number);
        }
        if !self.unread.is_empty() {
            text += "\nnot read:\n";
        }
        for Unread { fact, reason } in &self.unread {
            text += &format!("  {fact}: {}\n", plain(reason));
        }
        text
    }
}

fn section(Told { check, symptom, finding }: &Told, number: usize) -> String {
    let certainty = match finding.certainty {
        Certainty::Certain => "certain",
        Certainty::Likely => "likely",
    };
    let mut text =
        format!("\n{number}. {}\n   {certainty}, check {check}: {symptom}\n", plain(&finding.what));
    for fact in &finding.evidence {
        text += &format!("   because  {}\n", plain(fact));
    }
    for remedy in &finding.remedy {
        text += &format!("   mend     {}\n", plain(remedy));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::{ConfFile, Plugin};
    use crate::facts::nothing;

    fn well() -> Facts {
        let mut facts = nothing();
        let plugins = vec![Plugin { kind: "loopback".to_owned(), ..Plugin::default() }];
        facts.conflists = Ok(vec![ConfFile { plugins, ..ConfFile::default() }]);
        facts
    }

    #[test]
    fn a_healthy_node_is_one_line_and_code_0() {
        let report = Report::of(&well());
        assert_eq!(report.code(), 0);
        assert_eq!(report.text().lines().count(), 1, "{}", report.text());
    }

    #[test]
    fn what_could_not_be_read_makes_code_2() {
        let mut facts = well();
        facts.release = Err("no /proc".to_owned());
        let report = Report::of(&facts);
        assert_eq!(report.code(), 2);
        assert!(report.text().ends_with("not read:\n  kernel release: no /proc\n"));
    }

    #[test]
    fn findings_have_cause_evidence_and_remedy_and_code_1() {
        let report = Report::of(&nothing());
        assert_eq!(report.code(), 1);
        let text = report.text();
        assert!(
            text.starts_with(
                "1 problem\n\n1. there is no network configuration in /etc/cni/net.d\n"
            ),
            "{text}"
        );
        assert!(text.contains("   because  ") && text.contains("   mend     cp "), "{text}");
    }
}
