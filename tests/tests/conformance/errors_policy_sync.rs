//! docs/errors.md against what policy-sync says.

use crate::errors::{page, rows_of};
use crate::errors_route_sync::{code, complaints};

/// The section about the daemon.
fn section() -> String {
    let page = page();
    let (_, section) = page.split_once("\n## policy-sync\n").expect("a section about policy-sync");
    section.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn every_text_of_the_section_is_in_the_sources() {
    let code = code(&["policy-sync/src", "crates/daemon/src", "crates/node/src"], "policy-sync");
    let all: String = code.into_iter().map(|(_, text)| text.replace("\\\"", "\"")).collect();
    let rows = rows_of(&section(), |place| place != "where" && !place.starts_with('-'));
    assert!(rows.len() > 20, "only {} rows are read", rows.len());
    let mut lost = vec![];
    for text in rows.iter().flat_map(|row| row.text.split('`').step_by(2)) {
        let pieces = text.split('…').flat_map(|piece| piece.split(": "));
        let pieces = pieces.map(|piece| piece.trim_matches([' ', ',', ':', ';', '"']));
        let pieces = pieces.filter(|piece| piece.len() > 8);
        lost.extend(pieces.filter(|piece| !all.contains(piece)).map(str::to_owned));
    }
    assert!(lost.is_empty(), "in docs/errors.md, and in no source: {lost:#?}");
}

/// Each sentence that it may complain with is in the section.
#[test]
fn every_complaint_of_the_sources_is_in_the_section() {
    const FILES: [&str; 12] = [
        "config/read.rs",
        "model/read.rs",
        "read/network.rs",
        "read/cluster.rs",
        "model/selector.rs",
        "src/error.rs",
        "source/yaml.rs",
        "source/files.rs",
        "source/records.rs",
        "src/sync.rs",
        "check/suspicions.rs",
        "src/question.rs",
    ];
    // What is said of what passes and is dropped, and the help of `check`.
    const OTHERS: [&str; 10] = [
        "write one as ",
        "{policies} policies, {local} pods here",
        "the policies of now would let it pass",
        "no more: {it}",
        "policies are in force",
        "ICMP and other protocols",
        "From {source} to {destination}",
        "looking again in",
        "node-name is missing",
        "write \\\"kubernetes\\\" or",
    ];
    let lost = complaints(&section(), &code(&["policy-sync/src"], "policy-sync"), &FILES, &OTHERS);
    assert!(lost.is_empty(), "in the sources, and not in docs/errors.md: {lost:#?}");
}
