//! The keys that the READMEs and the example explain, against those that the executables read.

use std::collections::BTreeSet;
use std::fs;

use ferrule_tests::Node;
use ferrule_tests::bins::{Bins, workspace};
use ferrule_tests::node::Place;

type Keys = BTreeSet<String>;

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn keys(names: impl IntoIterator<Item = impl Into<String>>) -> Keys {
    names.into_iter().map(Into::into).collect()
}

/// The keys in the first column of the tables of a page that have a column `default`.
fn explained(page: &str) -> Keys {
    let mut found = Keys::new();
    let mut inside = false;
    for line in page.lines() {
        if !line.starts_with('|') {
            inside = false;
        } else if line.starts_with("| key | default |") {
            inside = true;
        } else if inside {
            found.extend(spelled_out(line.split('|').nth(1).unwrap_or_default()));
        }
    }
    found
}

/// `bgp.peer.address`, `.asn` and `import-max-length-ipv4`, `-ipv6` as whole keys.
fn spelled_out(cell: &str) -> Vec<String> {
    let mut whole: Vec<String> = vec![];
    for word in cell.split('`').skip(1).step_by(2) {
        let stem = match word.chars().next() {
            Some(part @ ('.' | '-')) => whole.last().and_then(|key| key.rsplit_once(part)),
            _ => None,
        };
        whole.push(stem.map_or(String::new(), |(stem, _)| stem.to_owned()) + word);
    }
    whole
}

/// The fields of a structure that serde reads, in camelCase.
fn fields(source: &str, structure: &str) -> Keys {
    let (_, body) = source.split_once(&format!("struct {structure} {{\n")).expect(structure);
    let body = body.split("\n}").next().unwrap_or_default();
    let names = body.lines().filter_map(|line| line.trim().split_once(": ").map(|(name, _)| name));
    keys(names.map(|name| {
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
    }))
}

#[test]
fn of_bridge() {
    let mut wanted = fields(&read("plugins/bridge/src/config.rs"), "Wire");
    // Explained by "Capabilities and arguments"; and what the protocol reads.
    wanted.retain(|key| !["args", "runtimeConfig"].contains(&key.as_str()));
    wanted.extend(keys(["ipam", "dns", "logFile", "logLevel"]));
    assert_eq!(explained(&read("plugins/bridge/README.md")), wanted);
}

#[test]
fn of_vxlan() {
    let mut wanted = fields(&read("plugins/vxlan/src/config.rs"), "Wire");
    // What over a tunnel has other defaults than the bridge plugin's.
    wanted.extend(keys(["isGateway", "isDefaultGateway", "mtu", "ipam.ranges"]));
    assert_eq!(explained(&read("plugins/vxlan/README.md")), wanted);
}

#[test]
fn of_host_local() {
    let source = read("ipam/host-local/src/config.rs");
    let mut wanted = fields(&source, "RawRange");
    for reads in ["ipam_key(ipam, \"", "json::get(ipam, \""] {
        let found = source.split(reads).skip(1).filter_map(|rest| rest.split('"').next());
        wanted.extend(keys(found));
    }
    assert_eq!(explained(&read("ipam/host-local/README.md")), wanted);
}

/// What a daemon itself says, asked with a key in each table that there is not.
fn of_daemon(name: &str, texts: &[String]) -> Keys {
    let node = Node::new();
    let exe = Bins::ours().exe(name);
    let mut found = Keys::new();
    for text in texts {
        node.write("/run/odd.toml", text);
        let answer = node.try_run(&format!("{} check-config /run/odd.toml", exe.display())).stderr;
        for line in answer.lines() {
            let Some((place, list)) = line.split_once(" is no key: write one of ") else {
                continue;
            };
            let table = place.rsplit(' ').next().and_then(|key| key.strip_suffix('x')).unwrap();
            found.extend(list.split(", ").map(|key| format!("{table}{key}")));
        }
    }
    // A table's name is no key of its own.
    let tables: Keys = keys(found.iter().filter_map(|key| Some(key.rsplit_once('.')?.0)));
    found.difference(&tables).cloned().collect()
}

fn of_the_daemon() -> Keys {
    let bgp = "[bgp]\nx = 1\nasn = 65001\n[[bgp.peer]]\nx = 1\naddress = \"192.0.2.1\"\n";
    let others =
        "[vxlan]\nx = 1\n[masquerade]\nx = 1\n[metrics]\nx = 1\n[probe]\nx = 1\n[cni]\nx = 1\n";
    let text = |source: &str| format!("x = 1\n{source}\nx = 1\n{bgp}{others}");
    of_daemon("route-sync", &["[source]", "[node]"].map(text))
}

/// The keys of the example, those that are commented out too.
fn of_the_example(path: &str) -> Keys {
    let mut found = Keys::new();
    let mut table = String::new();
    for line in read(path).lines() {
        let line = line.trim_start_matches('#');
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(['[', ']']).to_owned() + ".";
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' '))
        {
            found.insert(format!("{table}{key}"));
        }
    }
    found
}

#[test]
fn of_route_sync() {
    let daemon = of_the_daemon();
    assert!(daemon.len() > 35, "{daemon:?}");
    assert_eq!(explained(&read("route-sync/README.md")), daemon);
    // [node] stands in the place of the example's [source].
    let shown = daemon.into_iter().filter(|key| !key.starts_with("node."));
    assert_eq!(of_the_example("conf/route-sync.toml"), shown.collect());
}

#[test]
fn of_policy_sync() {
    let text = "x = 1\n[source]\nx = 1\n[metrics]\nx = 1\n".to_owned();
    let daemon = of_daemon("policy-sync", &[text]);
    assert!(daemon.len() > 7, "{daemon:?}");
    assert_eq!(explained(&read("policy-sync/README.md")), daemon);
    assert_eq!(of_the_example("conf/policy-sync.toml"), daemon);
}
