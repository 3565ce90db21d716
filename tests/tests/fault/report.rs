//! Counts by what was seen, printed as a Markdown table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How often each thing was seen.
#[derive(Default)]
pub struct Counts(BTreeMap<String, usize>);

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Those of a kind.
    pub fn of(&self, kind: impl Fn(&str) -> bool) -> usize {
        self.0.iter().filter(|(what, _)| kind(what)).map(|(_, count)| count).sum()
    }

    /// Prints the table at once, so that tests beside this one do not come between its lines.
    pub fn print(&self, title: &str, column: &str) {
        let mut text = format!("\n### {title}\n\n| {column} | count |\n|---|---:|\n");
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by_key(|(what, count)| (std::cmp::Reverse(**count), what.to_owned()));
        for (what, count) in rows {
            writeln!(text, "| {} | {count} |", what.replace('|', "\\|")).expect("a string");
        }
        println!("{text}");
    }
}
