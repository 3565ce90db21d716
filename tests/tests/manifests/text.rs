//! The files of conf/kubernetes as text: documents, and files inside of a ConfigMap.

use std::path::PathBuf;

use ferrule_tests::bins::workspace;

/// A file of conf/kubernetes.
pub fn path(name: &str) -> PathBuf {
    workspace().join("conf/kubernetes").join(name)
}

/// What it holds.
#[track_caller]
pub fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a file of YAML, without comments and empty lines, sorted.
pub fn documents(yaml: &str) -> Vec<String> {
    let matters = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let bare = |document: &str| document.lines().filter(matters).collect::<Vec<_>>().join("\n");
    let mut all: Vec<_> = format!("\n{yaml}").split("\n---").map(bare).collect();
    all.retain(|document| !document.is_empty());
    all.sort_unstable();
    all
}

/// The document of a kind, of which there is one.
#[track_caller]
pub fn of_kind(yaml: &str, kind: &str) -> String {
    let line = format!("kind: {kind}");
    let mut found = documents(yaml);
    found.retain(|document| document.lines().any(|it| it == line));
    assert_eq!(found.len(), 1, "{kind}: {found:#?}");
    found.remove(0)
}

/// A file inside of the ConfigMap: the block below `NAME: |`, with its comments.
#[track_caller]
pub fn embedded(yaml: &str, name: &str) -> String {
    let mut lines = yaml.lines().skip_while(|line| *line != format!("  {name}: |"));
    assert!(lines.next().is_some(), "no {name}");
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: Vec<&str> = block.map(|line| line.strip_prefix("    ").unwrap_or("")).collect();
    text.join("\n").trim_end().to_owned() + "\n"
}
