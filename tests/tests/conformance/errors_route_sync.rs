//! docs/errors.md against what route-sync says.

use std::fs;

use ferrule_tests::bins::workspace;

use crate::errors::{joined, page, pieces, rows_of, sources};

/// The section about the daemon.
fn section() -> String {
    let page = page();
    let (_, section) = page.split_once("\n## route-sync\n").expect("a section about route-sync");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

/// Name and text of each source file of a daemon below some folders, without comments and tests.
pub fn code(folders: &[&str], daemon: &str) -> Vec<(String, String)> {
    let mut paths = vec![];
    for folder in folders {
        sources(&workspace().join(folder), &mut paths);
    }
    paths.retain(|path| !path.ends_with("tests.rs"));
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = code.map(|line| line.to_owned() + "\n").collect();
        // The crate `daemon` puts the name of its daemon there.
        let code = joined(&code).replace("{daemon}", daemon);
        (path.display().to_string(), code)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_text_of_the_section_is_in_the_sources() {
    let crates = ["daemon", "node", "net", "bgp", "kube"].map(|name| format!("crates/{name}/src"));
    let folders = crates.iter().map(String::as_str).chain(["route-sync/src"]);
    let code = code(&folders.collect::<Vec<_>>(), "route-sync");
    let all: String = code.into_iter().map(|(_, text)| text.replace("\\\"", "\"")).collect();
    let rows = rows_of(&section(), |place| place != "where" && !place.starts_with('-'));
    assert!(rows.len() > 30, "only {} rows are read", rows.len());
    // The operating system's and the TOML parser's own words.
    let others = [
        "No file descriptors available",
        "Too many open files",
        "No space left on device",
        "Permission denied",
        "Address already in use",
        "Connection refused",
    ];
    let mut lost = vec![];
    for text in rows.iter().flat_map(|row| row.text.split('`').step_by(2)) {
        // The text before a colon is often added by a caller of what failed.
        let pieces = text.split('…').flat_map(|piece| piece.split(": "));
        let pieces = pieces.map(|piece| piece.trim_matches([' ', ',', ':', ';', '"']));
        let pieces = pieces.filter(|piece| piece.len() > 8 && !others.contains(piece));
        lost.extend(pieces.filter(|piece| !all.contains(piece)).map(str::to_owned));
    }
    assert!(lost.is_empty(), "in docs/errors.md, and in no source: {lost:#?}");
}

/// The files whose sentences are complaints.
const FILES: [&str; 36] = [
    "nodes.rs",
    "desired.rs",
    "plan.rs",
    "device.rs",
    "ensure.rs",
    "view.rs",
    "pass.rs",
    "conditions.rs",
    "failures.rs",
    "forwarding.rs",
    "error.rs",
    "facts.rs",
    "sync.rs",
    "report.rs",
    "source.rs",
    "file.rs",
    "kept.rs",
    "signals.rs",
    "driver.rs",
    "tcp.rs",
    "control.rs",
    "privileges.rs",
    "cni.rs",
    "duties.rs",
    "template.rs",
    "merge.rs",
    "conflist.rs",
    "others.rs",
    "executables.rs",
    "ready.rs",
    "uninstall.rs",
    "kubernetes.rs",
    "convert.rs",
    "fault.rs",
    "access.rs",
    "client.rs",
];

/// Each sentence that the daemon may complain with: what `status` shows, what is logged as a
/// warning, what it ends with.
#[test]
fn every_complaint_of_the_sources_is_in_the_section() {
    const OTHERS: [&str; 9] = [
        "the commands are status and status bgp",
        "it is configured no more",
        "it cannot send its routes again",
        "; the source fails",
        "not in step yet",
        "the one from before is back",
        "refused {} more",
        "line {at}: {message} at",
        "{cidr}, an earlier pod CIDR",
    ];
    let mut code = code(&["route-sync/src", "crates/daemon/src", "crates/kube/src"], "route-sync");
    // BGP's are put together from its state machine's reasons.
    code.retain(|(path, _)| !path.contains("/bgp/"));
    let lost = complaints(&section(), &code, &FILES, &OTHERS);
    assert!(lost.is_empty(), "in the sources, and not in docs/errors.md: {lost:#?}");
}

/// Sentences in some files of a daemon's code that a section does not have.
pub fn complaints(
    section: &str,
    code: &[(String, String)],
    files: &[&str],
    others: &[&str],
) -> Vec<String> {
    // What the log says was done and why, and what systemd shows.
    const NO_COMPLAINTS: [&str; 4] = ["info!(", "debug!(", "trace!(", "work.full("];
    let section = section.replace('…', "");
    let mut lost = vec![];
    for (path, text) in code {
        if !files.iter().any(|file| path.ends_with(&format!("/{file}"))) {
            continue;
        }
        for (before, literal) in literals(text) {
            let complaint = !NO_COMPLAINTS.iter().any(|maker| before.contains(maker))
                && !others.iter().any(|text| literal.contains(text));
            let pieces = pieces(&literal.replace("\\\"", "\""));
            let clauses = pieces.iter().flat_map(|piece| piece.split([';', ':'])).map(str::trim);
            let known =
                clauses.filter(|clause| clause.len() > 7).any(|clause| section.contains(clause));
            if complaint && !known && literal.split(' ').count() > 4 {
                lost.push(format!("{path}: {literal}"));
            }
        }
    }
    lost
}

/// Every string literal, with what stands before it in its statement.
fn literals(text: &str) -> Vec<(String, String)> {
    let mut found = vec![];
    let (mut before, mut literal) = (String::new(), None::<String>);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (&mut literal, character) {
            (Some(inside), '\\') => inside.extend(['\\'].into_iter().chain(characters.next())),
            (Some(_), '"') => found.extend(literal.take().map(|text| (before.clone(), text))),
            (Some(inside), other) => inside.push(other),
            (None, '"') => literal = Some(String::new()),
            (None, ';' | '{' | '}') => before.clear(),
            (None, other) => before.push(other),
        }
    }
    found
}
