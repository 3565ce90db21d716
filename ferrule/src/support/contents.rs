//! What is in the archive.

use crate::facts::Facts;
use crate::facts::daemon::CONFIG;
use crate::places::{self, Places};
use crate::report::Report;
use crate::{attachments, ls, output};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive's folder.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// As much of the end of a log as is taken, in bytes.
const TAIL: usize = 256 << 10;

/// Files of the node that tell of the machine.
const OF_NODE: [&str; 8] = [
    "/proc/version",
    "/etc/os-release",
    "/proc/net/snmp",
    "/proc/net/stat/nf_conntrack",
    "/proc/net/softnet_stat",
    "/proc/modules",
    "/etc/systemd/networkd.conf",
    CONFIG,
];

/// Everything that a bug report needs.
#[must_use]
pub fn members(facts: &Facts) -> Vec<Member> {
    let report = Report::of(facts);
    let all = attachments::list(facts);
    let mut members = vec![
        member("doctor.txt", report.text()),
        member("doctor.json", output::json(&report)),
        member("ls.txt", ls::table(&all)),
        member("ls.json", output::json(&all)),
        member("facts.txt", format!("{facts:#?}\n")),
    ];
    let places = &facts.places;
    let mut missing = String::new();
    let of_node = OF_NODE.iter().map(|path| (places.at(path), format!("node{path}")));
    for (path, name) in of_node.chain(kept(places)) {
        match places::text(&path) {
            Ok(Some(text)) => members.push(Member { name, text }),
            Ok(None) => {}
            Err(why) => missing += &format!("{why}\n"),
        }
    }
    for log in logs(places) {
        match places::text(&log) {
            Ok(Some(text)) => members.push(member(&format!("logs{}", log.display()), tail(&text))),
            Ok(None) => {}
            Err(why) => missing += &format!("{why}\n"),
        }
    }
    if !missing.is_empty() {
        members.push(member("not-read.txt", missing));
    }
    members
}

fn member(name: &str, text: String) -> Member {
    Member { name: name.to_owned(), text }
}

/// Conflists, records and node.json, with their names in the archive.
fn kept(places: &Places) -> Vec<(PathBuf, String)> {
    let records = places.run_dir.join("attachments");
    let mut files = Vec::new();
    for (folder, name) in [(&places.conf_dir, "conflists"), (&records, "records")] {
        let names = places::names(folder).ok().flatten().unwrap_or_default();
        files.extend(names.into_iter().map(|file| (folder.join(&file), format!("{name}/{file}"))));
    }
    files.push((places.run_dir.join("node.json"), "node.json".to_owned()));
    // A kubeconfig beside the conflists is a secret whole.
    files.retain(|(path, _)| !path.to_string_lossy().to_lowercase().contains("kubeconfig"));
    files
}

/// The files that networks name by `logFile`.
fn logs(places: &Places) -> Vec<PathBuf> {
    let names = places::names(&places.conf_dir).ok().flatten().unwrap_or_default();
    let mut logs = Vec::new();
    for name in names {
        let text = places::text(&places.conf_dir.join(name)).ok().flatten().unwrap_or_default();
        let conf = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let plugins = conf["plugins"].as_array().into_iter().flatten().chain([&conf]);
        logs.extend(plugins.filter_map(|plugin| plugin["logFile"].as_str()).map(PathBuf::from));
    }
    logs.retain(|log| log.is_absolute() && !log.starts_with(Path::new("/dev")));
    logs.sort();
    logs.dedup();
    logs
}

fn tail(text: &str) -> String {
    let mut begin = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    text[begin..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::nothing;
    use std::fs;

    #[test]
    fn records_conflists_and_logs_are_in_it_and_no_kubeconfig() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("net.d")).unwrap();
        fs::create_dir_all(at("run/attachments")).unwrap();
        let log = at("plugin.log");
        let conf = format!(
            r#"{{"name":"a","plugins":[{{"type":"bridge","logFile":"{}"}}]}}"#,
            log.display()
        );
        fs::write(at("net.d/10-a.conflist"), conf).unwrap();
        fs::write(at("net.d/calico-kubeconfig"), "token: s3cret").unwrap();
        fs::write(at("run/attachments/bridge-1"), "{}").unwrap();
        fs::write(&log, "a line\n").unwrap();
        let mut facts = nothing();
        facts.places.conf_dir = at("net.d");
        facts.places.run_dir = at("run");
        let members = members(&facts);
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        for wanted in ["doctor.txt", "facts.txt", "conflists/10-a.conflist", "records/bridge-1"] {
            assert!(names.contains(&wanted), "{names:?}");
        }
        assert!(names.iter().any(|name| name.ends_with("plugin.log")), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("kubeconfig")), "{names:?}");
    }
}
