//! The report as a table.

use crate::report::{ConflistReport, Entry, ProbeReport, Report, State};
use daemon::table::{age, columns, plain};
use std::fmt::Write;

/// Whether everything that the daemon keeps is in sync: `route-sync status` then exits with 0.
pub fn is_well(report: &Report) -> bool {
    report.synced
        && report.problems.is_empty()
        && report.source.error.is_none()
        && report.conflist.as_ref().is_none_or(|conflist| conflist.waits.is_none())
        && report.cidrs.iter().all(|entry| entry.state == State::Synced)
}

/// The report for people, as of `now` in seconds since 1970.
pub fn table(report: &Report, now: u64) -> String {
    let mut text = head(report, now);
    let head = ["NODE", "CIDR", "PATH", "STATE", "SINCE", "LAST ERROR"].map(str::to_owned);
    let rows: Vec<[String; 6]> = report.cidrs.iter().map(|entry| row(entry, now)).collect();
    if !rows.is_empty() {
        text.push('\n');
        columns(&mut text, std::iter::once(&head).chain(&rows));
    }
    if !report.problems.is_empty() {
        text.push('\n');
        let head = ["PROBLEM", "SINCE", "ERROR"].map(str::to_owned);
        let rows: Vec<[String; 3]> = report
            .problems
            .iter()
            .map(|problem| [plain(&problem.what), age(problem.since, now), plain(&problem.error)])
            .collect();
        columns(&mut text, std::iter::once(&head).chain(&rows));
    }
    text
}

fn head(report: &Report, now: u64) -> String {
    let source = &report.source;
    let mut text = String::new();
    let synced = if report.synced { "yes" } else { "not yet" };
    let set = match source.since {
        Some(since) => {
            let kept = if source.kept { ", kept from an earlier run" } else { "" };
            format!("{} nodes for {}{kept}", source.nodes, age(since, now))
        }
        None => "has sent nothing yet".to_owned(),
    };
    // A String takes whatever is written.
    let _ =
        writeln!(text, "node     {} (route-sync {})", plain(&report.node), plain(&report.version));
    let _ = writeln!(text, "mode     {}", plain(&report.mode));
    let _ = writeln!(text, "source   {}: {set}", plain(&source.name));
    if let Some(error) = &source.error {
        let _ = writeln!(text, "         failing: {}", plain(error));
    }
    let _ = writeln!(text, "synced   {synced}");
    if let Some(ConflistReport { path, waits }) = &report.conflist {
        let state = waits.as_ref().map_or_else(String::new, |why| format!(", not yet: {why}"));
        let _ = writeln!(text, "conflist {}{}", plain(path), plain(&state));
    }
    if let Some(probe) = &report.probe {
        let _ = writeln!(text, "probe    {}", probed(probe));
    }
    for remark in &report.remarks {
        let _ = writeln!(text, "remark   {}", plain(remark));
    }
    text
}

fn probed(probe: &ProbeReport) -> String {
    let ProbeReport { interval, rounds, answered, silent, .. } = probe;
    let every = format!("every {interval}s: {answered} answers in {rounds} rounds");
    if *silent > 0 { format!("{every}, {silent} silent pod networks") } else { every }
}

fn row(entry: &Entry, now: u64) -> [String; 6] {
    let path = match entry.via {
        Some(via) => format!("{} via {via}", entry.path),
        None => entry.path.to_string(),
    };
    [
        if entry.node.is_empty() { "-".to_owned() } else { plain(&entry.node) },
        entry.cidr.to_string(),
        path,
        entry.state.to_string(),
        age(entry.since, now),
        entry.error.as_deref().map_or_else(|| "-".to_owned(), plain),
    ]
}

#[cfg(test)]
pub(crate) mod tests;
