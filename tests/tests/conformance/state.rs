//! A place's state in words that name no index, no MAC and no generated name.

use std::collections::BTreeMap;
use std::fs;

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::{Map, Value, json};

/// What one suite calls `veth1a2b…` and the other `veth3c4d…`.
type Names = BTreeMap<String, String>;

/// Links with their addresses, routes, and the sysctls that the suites set.
pub fn of(place: &impl Place) -> Value {
    let all = place.json("ip -d -j addr");
    let links: Vec<&Value> =
        all.as_array().into_iter().flatten().filter(|link| link["ifname"] != "lo").collect();
    let names = names(&links);
    let shown: Map<String, Value> = links
        .iter()
        .map(|link| (rename(&link["ifname"], &names), describe(link, &names)))
        .collect();
    let mut routes = routes(&place.json("ip -j -4 route"), &names);
    routes.extend(routes_of_six(place, &names));
    json!({
        "links": shown,
        "routes": routes,
        "sysctls": sysctls(place, &names),
    })
}

fn names(links: &[&Value]) -> Names {
    let generated = links
        .iter()
        .filter_map(|link| link["ifname"].as_str())
        .filter(|name| name.starts_with("veth"));
    generated.enumerate().map(|(nth, name)| (name.to_owned(), format!("veth#{nth}"))).collect()
}

fn rename(name: &Value, names: &Names) -> String {
    let name = name.as_str().unwrap_or_default();
    names.get(name).cloned().unwrap_or_else(|| name.to_owned())
}

fn describe(link: &Value, names: &Names) -> Value {
    let flag = |name: &str| link["flags"].as_array().is_some_and(|f| f.contains(&json!(name)));
    let port = &link["linkinfo"]["info_slave_data"];
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let lasting = addresses.filter(|address| address["scope"] != "link").map(|address| {
        json!({
            "address": format!("{}/{}", address["local"].as_str().unwrap_or(""), address["prefixlen"]),
            "scope": address["scope"],
            "broadcast": address["broadcast"],
        })
    });
    json!({
        "kind": link["linkinfo"]["info_kind"],
        "up": flag("UP"),
        "promiscuous": flag("PROMISC"),
        "mtu": link["mtu"],
        "master": rename(&link["master"], names),
        "vlan filtering": link["linkinfo"]["info_data"]["vlan_filtering"],
        "hairpin": port["hairpin"],
        "isolated": port["isolated"],
        "addresses": lasting.collect::<Vec<_>>(),
    })
}

fn routes(all: &Value, names: &Names) -> Vec<Value> {
    let kept = all.as_array().into_iter().flatten().filter(|route| {
        let to = route["dst"].as_str().unwrap_or_default();
        !(to.starts_with("fe80:") || to.starts_with("ff00:"))
    });
    kept.map(|route| {
        json!({
            "dst": route["dst"],
            "gateway": route["gateway"],
            "dev": rename(&route["dev"], names),
            "metric": route["metric"],
            "scope": route["scope"],
            "source": route["prefsrc"],
        })
    })
    .collect()
}

fn routes_of_six(place: &impl Place, names: &Names) -> Vec<Value> {
    routes(&place.json("ip -j -6 route"), names)
}

/// What the suites set for a link, and for the node.
fn sysctls(place: &impl Place, names: &Names) -> Value {
    const OF_A_LINK: [&str; 5] = [
        "ipv4/conf/*/arp_notify",
        "ipv4/conf/*/promote_secondaries",
        "ipv6/conf/*/disable_ipv6",
        "ipv6/conf/*/accept_ra",
        "ipv6/conf/*/enhanced_dad",
    ];
    place.ns().enter(|| {
        let read = |key: &str| fs::read_to_string(format!("/proc/sys/net/{key}"));
        let mut seen = Map::new();
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            seen.insert(key.replace('/', "."), json!(read(key).unwrap_or_default().trim()));
        }
        let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        for link in links.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
            let name = rename(&json!(link), names);
            for key in OF_A_LINK.iter().filter(|_| link != "lo") {
                let value = read(&key.replace('*', &link)).unwrap_or_default();
                seen.insert(key.replace('*', &name).replace('/', "."), json!(value.trim()));
            }
        }
        Value::Object(seen)
    })
}

/// A result where the MACs, the names and the sandbox that a run made up are replaced by what
/// they stand for; one that stands for nothing stays, and so differs.
pub fn result(result: &Value, node: &Node, pod: &Pod) -> Value {
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    for (place, whose) in [(node.json("ip -j link"), "node"), (pod.json("ip -j link"), "pod")] {
        for link in place.as_array().into_iter().flatten().filter(|link| link["ifname"] != "lo") {
            let (name, mac) = (link["ifname"].as_str(), link["address"].as_str());
            let (name, mac) = (name.unwrap_or_default(), mac.unwrap_or_default());
            if name.starts_with("veth") {
                // A bridge may have its port's MAC: then it is the bridge's.
                words.entry(mac.to_owned()).or_insert_with(|| "<MAC of the host veth>".to_owned());
                words.insert(name.to_owned(), "<host veth>".to_owned());
            } else {
                words.insert(mac.to_owned(), format!("<MAC of {name} of the {whose}>"));
            }
        }
    }
    words.insert(pod.netns(), "<netns>".to_owned());
    let mut seen = result.clone();
    replace(&mut seen, &words);
    seen
}

fn replace(value: &mut Value, words: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(word) = words.get(text) {
                text.clone_from(word);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, words)),
        Value::Object(map) => map.values_mut().for_each(|value| replace(value, words)),
        _ => {}
    }
}

/// The files where leases are: name and content. Container IDs differ from run to run.
pub fn leases(node: &Node, with_history: bool) -> Value {
    let wanted = |name: &str| with_history || !(name == "lock" || name.starts_with("last_"));
    node.ns().enter(|| {
        let mut seen = Map::new();
        for folder in fs::read_dir("/var/lib/cni/networks").into_iter().flatten().flatten() {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if folder.file_name() == ".ferrule" || !wanted(&name) {
                    continue;
                }
                let content = fs::read_to_string(file.path()).unwrap_or_default();
                let path = format!("{}/{name}", folder.file_name().to_string_lossy());
                seen.insert(path.replace('/', ": "), json!(without_ids(&content)));
            }
        }
        Value::Object(seen)
    })
}

/// `pod-1234-5` is another in each run.
fn without_ids(text: &str) -> String {
    let Some((before, after)) = text.split_once("pod-") else { return text.to_owned() };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    format!("{before}<container>{rest}")
}
