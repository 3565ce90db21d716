//! docs/errors.md against the sources and against what is printed.

use std::fs;
use std::path::{Path, PathBuf};

use ferrule_tests::bins::workspace;
use ferrule_tests::node::Place;
use ferrule_tests::{Call, Node, Outcome, Pod, conf};
use serde_json::{Value, json};

pub struct Row {
    code: String,
    pub text: String,
}

pub fn page() -> String {
    fs::read_to_string(workspace().join("docs/errors.md")).expect("docs/errors.md")
}

/// The rows `| code | `text` | cause | shows it | remedy |`.
fn rows() -> Vec<Row> {
    let rows = rows_of(&page(), |code| code.parse::<u32>().is_ok());
    assert!(rows.len() > 60, "only {} rows are read", rows.len());
    rows
}

/// The rows of a page whose first cell is wanted.
pub fn rows_of(page: &str, wanted: impl Fn(&str) -> bool) -> Vec<Row> {
    let cells = page.lines().map(|line| {
        let line = line.replace("\\|", "¦");
        line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    });
    cells
        .filter(|cells| cells.len() == 7 && wanted(&cells[1]))
        .map(|cells| {
            for (nth, cell) in cells[1..6].iter().enumerate() {
                assert!(!cell.is_empty(), "column {nth} of {cells:?} is empty");
            }
            Row { code: cells[1].clone(), text: cells[2].trim_matches('`').to_owned() }
        })
        .collect()
}

/// Whether the pieces of `pattern` between `…` stand in `text` in their order.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

pub fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// The product's sources without their tests, with continued strings joined.
fn code() -> Vec<(PathBuf, String)> {
    let mut paths = vec![];
    for room in ["crates", "plugins", "ipam"] {
        for member in fs::read_dir(workspace().join(room)).unwrap().flatten() {
            sources(&member.path().join("src"), &mut paths);
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        (path, joined(&product))
    };
    paths.into_iter().map(read).collect()
}

/// `\` at a line's end takes the next line's indentation with it.
pub fn joined(text: &str) -> String {
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.trim_start())
}

/// Each piece of each text is somewhere in the sources.
#[test]
fn every_text_of_the_page_is_in_the_sources() {
    let all: String = code().into_iter().map(|(_, text)| text).collect();
    let all = all.replace("\\\"", "\"");
    let mut lost = vec![];
    for row in rows() {
        // `failed to open netns …` has its variable parts in braces in the source.
        let pieces = row.text.split('…').map(str::trim).filter(|piece| piece.len() > 3);
        lost.extend(pieces.filter(|piece| !found(&all, piece)).map(str::to_owned));
    }
    assert!(lost.is_empty(), "in docs/errors.md, and in no source: {lost:#?}");
}

/// A text as it is, or with one of its words made from a variable.
fn found(all: &str, piece: &str) -> bool {
    let generated = ["minID", "maxID", "id"].iter().any(|word| {
        let by_name = piece.replacen(&format!("trunk {word} "), "trunk {name} ", 1);
        all.contains(&by_name)
    });
    let listed = piece.replacen("[CNI_PATH]", "[{list}]", 1);
    all.contains(piece) || generated || all.contains(&listed)
}

/// The first string after each place where an error is made: one of its pieces is there.
#[test]
fn every_text_of_the_sources_is_in_the_page() {
    const MAKERS: [&str; 7] = [
        "Error::config(",
        "Error::environment(",
        "Error::io(",
        "Error::Conflict(",
        "Error::Unsupported(",
        "Error::new(",
        "let msg = ",
    ];
    let page = page().replace("…", "");
    let mut lost = vec![];
    for (path, text) in code() {
        // These give an error its cause, who calls them its name; a damaged index is made anew.
        let inner = ["crates/net/", "crates/nft/", "host-local/src/index.rs"];
        if inner.iter().any(|part| path.to_string_lossy().contains(part)) {
            continue;
        }
        for maker in MAKERS {
            for (at, _) in text.match_indices(maker) {
                let Some(literal) = literal(&text[at + maker.len()..]) else { continue };
                let pieces = pieces(&literal);
                let known = pieces.iter().any(|piece| page.contains(piece.as_str()));
                if !known && !pieces.is_empty() {
                    lost.push(format!("{}: {literal:?}", path.file_name().unwrap().display()));
                }
            }
        }
    }
    assert!(lost.is_empty(), "in the sources, and not in docs/errors.md: {lost:#?}");
}

/// The first string literal of an expression, if it begins nearby.
fn literal(text: &str) -> Option<String> {
    let end = text.find(';').unwrap_or(text.len());
    // What follows in `details` is the case's own.
    let end = [".details(", ".also("].iter().filter_map(|at| text[..end].find(at)).min();
    let end = end.unwrap_or_else(|| text.find(';').unwrap_or(text.len()));
    let start = text[..end].find('"')?;
    let between = text[..start].chars().filter(|c| !c.is_whitespace()).count();
    if between > 60 {
        return None;
    }
    let mut literal = String::new();
    let mut characters = text[start + 1..].chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => literal.extend(characters.next()),
            '"' => return Some(literal),
            other => literal.push(other),
        }
    }
    None
}

/// What stands between the variables and the quotation marks of a format.
pub fn pieces(literal: &str) -> Vec<String> {
    let mut pieces = vec![];
    let mut rest = literal;
    while let Some((before, after)) = rest.split_once('{') {
        pieces.extend(before.split('"'));
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    pieces.extend(rest.split('"'));
    let bare = pieces.into_iter().map(|piece| piece.trim().to_owned());
    bare.filter(|piece| piece.len() > 5).collect()
}

#[test]
fn every_code_is_listed() {
    let page = page();
    let source = fs::read_to_string(workspace().join("crates/cni/src/error.rs")).unwrap();
    let constants = source.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("pub const ")?.split_once(": u32 = ")?;
        Some((name.to_owned(), value.trim_end_matches(';').to_owned()))
    });
    let constants: Vec<_> = constants.collect();
    assert!(constants.len() > 10, "{constants:?}");
    for (name, value) in constants {
        assert!(page.contains(&format!("| {value} | `{name}` |")), "{name} = {value}");
    }
}

/// What a call says has a row with its code.
#[track_caller]
fn in_the_page(outcome: &Outcome, rows: &[Row]) {
    let error = outcome.err();
    let fits = |row: &&Row| row.code == error.code.to_string() && matches(&row.text, &error.msg);
    assert!(rows.iter().any(|row| fits(&row)), "no row for {error:?}");
}

fn bridge_errors(rows: &[Row]) {
    let cases = [
        json!({"hairpinMode": true, "promiscMode": true}),
        json!({"disableContainerInterface": true}),
        json!({"vlan": 4095}),
        json!({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}),
        json!({"vlanTrunk": [{"minID": 0, "maxID": 10}]}),
        json!({"vlanTrunk": [{"id": 4095}]}),
        json!({"vlanTrunk": [{"minID": 9, "maxID": 5}]}),
        json!({"vlanTrunk": [{"minID": 9}]}),
        json!({"mtu": 1}),
        json!({"mtu": "big"}),
        json!({"bridge": "a-name-longer-than-fifteen"}),
        json!({"ipMasqBackend": "ebtables"}),
        json!({"runtimeConfig": {"mac": "not-a-mac"}}),
        json!({"runtimeConfig": {"mac": "01:00:00:00:00:01"}}),
        json!({"runDir": "relative"}),
        json!({"name": null}),
        json!({"name": "a/b"}),
        json!({"cniVersion": "9.9.9"}),
        json!({"ipam": {"type": "nowhere"}}),
        json!({"ipam": {"type": "../host-local"}}),
        json!({"ipam": {"ranges": [[{"subnet": "fd00:1::/64"}]]}, "mtu": 1000}),
    ];
    let (node, pod) = (Node::new(), Pod::new());
    for keys in cases {
        in_the_page(&node.attach(&conf::v4(), &pod).with(&keys).try_add(), rows);
    }
}

fn host_local_errors(rows: &[Row]) {
    let set = |range: Value| json!({"ipam": {"ranges": [[range]]}});
    let cases = [
        json!({"ipam": null}),
        json!({"ipam": {"ranges": null}}),
        json!({"ipam": {"ranges": [[]]}}),
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}}),
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/22"}, {"subnet": "10.1.2.0/24"}]]}}),
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/22"}], [{"subnet": "10.1.2.0/24"}]]}}),
        set(json!({"subnet": "10.1.0.0/31"})),
        set(json!({"subnet": "10.1.0.3/24"})),
        set(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.9.0.1"})),
        set(json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.9.0.1"})),
        json!({"runtimeConfig": {"ips": ["10.1.0.1"]}}),
        json!({"runtimeConfig": {"ips": ["10.1.0.255"]}}),
        json!({"runtimeConfig": {"ips": ["192.0.2.1"]}}),
        json!({"ipam": {"resolvConf": "/run/nowhere"}}),
        json!({"ipam": {"statusWhenFull": "perhaps"}}),
        json!({"name": "n".repeat(256)}),
        json!({"cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}],
            [{"subnet": "10.2.0.0/24"}]]}}),
    ];
    let (node, pod) = (Node::new(), Pod::new());
    let config = conf::host_local(&json!([[{"subnet": "10.1.0.0/24"}]]));
    for keys in cases {
        in_the_page(&node.attach(&config, &pod).with(&keys).try_add(), rows);
    }
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    in_the_page(&attachment.try_add(), rows);
    attachment.del(None);
    in_the_page(&attachment.try_check(&result), rows);
    let tiny = attachment.with(&json!({"ipam": {"statusWhenFull": "not-ready",
        "ranges": [[{"subnet": "10.1.0.0/30"}]]}}));
    tiny.add();
    in_the_page(&tiny.status(), rows);
    in_the_page(&node.attach(&tiny.config, &Pod::new()).try_add(), rows);
}

fn environment_errors(rows: &[Row]) {
    let (node, pod) = (Node::new(), Pod::new());
    let own = node.ns().net_path().to_string_lossy().into_owned();
    let alterations: [fn(Call) -> Call; 8] = [
        |call| call.env("CNI_COMMAND", "FROB"),
        |call| call.without("CNI_CONTAINERID"),
        |call| call.env("CNI_CONTAINERID", "a/b"),
        |call| call.env("CNI_IFNAME", "a-name-longer-than-fifteen"),
        |call| call.env("CNI_IFNAME", "a:b"),
        |call| call.env("CNI_NETNS", "/run/netns/gone"),
        |call| call.env("CNI_ARGS", "K8S_POD_NAME=a"),
        |call| call.without("CNI_PATH"),
    ];
    let call = || node.attach(&conf::v4(), &pod).call("ADD", None);
    for alter in alterations {
        in_the_page(&alter(call()).run(&node), rows);
    }
    in_the_page(&call().env("CNI_NETNS", &own).run(&node), rows);
    let mut torn = call();
    torn.stdin = b"{".to_vec();
    in_the_page(&torn.run(&node), rows);
}

fn node_errors(rows: &[Row]) {
    let (node, pod) = (Node::new(), Pod::new());
    let by = node.attach(&conf::v4(), &pod);
    let result = by.add();
    in_the_page(&by.try_add(), rows);
    in_the_page(&by.call("CHECK", None).run(&node), rows);
    let elsewhere = by.clone().netns(Some(&Pod::new().netns())).try_check(&result);
    in_the_page(&elsewhere, rows);
    node.run("ip link set cni0 down");
    in_the_page(&by.try_check(&result), rows);
    node.run("ip link set cni0 up");
    let second = Pod::new();
    let taken = node.attach(&conf::v4(), &second).with(&json!({"ipam": {"ranges":
        [[{"subnet": "10.2.0.0/24"}]]}}));
    in_the_page(&taken.try_add(), rows);
    let not_a_bridge = node.attach(&conf::v4(), &second).with(&json!({"bridge": "lo"}));
    in_the_page(&not_a_bridge.try_add(), rows);
    second.run("ip link add eth0 type veth peer name other0");
    in_the_page(&node.attach(&conf::v4(), &second).try_add(), rows);
}

fn loopback_errors(rows: &[Row]) {
    let (node, pod) = (Node::new(), Pod::new());
    let config = json!({"cniVersion": conf::version(), "name": "lo", "type": "loopback"});
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    pod.run("ip link set lo down");
    in_the_page(&attachment.try_check(&result), rows);
    pod.run("ip addr add 192.0.2.1/32 dev lo");
    in_the_page(&attachment.try_add(), rows);
}

/// Of vxlan and bgp, where no daemon ever ran.
fn errors_without_a_daemon(rows: &[Row]) {
    let (node, pod) = (Node::new(), Pod::new());
    let ranges = json!({"ranges": [[{"subnet": "10.1.0.0/24"}]]});
    let keys = json!({"vni": 100, "port": 4789, "underlay": "lo", "ipam": ranges});
    let vxlan = conf::with(&conf::v4(), &json!({"type": "vxlan", "ipam": {"ranges": null}}));
    in_the_page(&node.attach(&vxlan, &pod).try_add(), rows);
    for odd in [json!({"vni": 0}), json!({"port": 0}), json!({"ipam": {"ranges": null}}), json!({})]
    {
        let config = conf::with(&conf::with(&vxlan, &keys), &odd);
        in_the_page(&node.attach(&config, &pod).try_add(), rows);
    }
    // A configuration that the bridge plugin refuses makes no tunnel either.
    node.sh("ip link add up0 type veth peer name far0; ip addr add 192.0.2.9/24 dev up0");
    for odd in [json!({"vlan": 5000}), json!({"ipam": {"type": "nowhere"}})] {
        let config = conf::with(&conf::with(&vxlan, &keys), &json!({"underlay": "up0"}));
        in_the_page(&node.attach(&conf::with(&config, &odd), &pod).try_add(), rows);
        assert!(node.link("fvxlan.100").is_none(), "a refused ADD made the device");
    }
    let bgp = conf::with(&conf::v4(), &json!({"type": "bgp", "ipam": {"routes": null}}));
    let hop = json!([{"dst": "192.0.2.0/24", "gw": "10.1.0.9"}]);
    for odd in
        [json!({"ipam": null}), json!({"ipam": {"ranges": null}}), json!({"ipam": {"routes": hop}})]
    {
        in_the_page(&node.attach(&conf::with(&bgp, &odd), &pod).try_add(), rows);
    }
    in_the_page(&node.attach(&bgp, &pod).status(), rows);
    node.run("ip route add 10.1.0.3 dev lo");
    in_the_page(&node.attach(&bgp, &pod).try_add(), rows);
}

/// What is printed has a row: code and text.
#[test]
fn what_is_printed_is_in_the_page() {
    let rows = rows();
    bridge_errors(&rows);
    host_local_errors(&rows);
    environment_errors(&rows);
    node_errors(&rows);
    loopback_errors(&rows);
    errors_without_a_daemon(&rows);
}
