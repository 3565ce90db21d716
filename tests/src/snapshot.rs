//! A node's whole state as text, and the difference of two.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lingering;
use crate::node::{Node, Place};
use crate::ns::Namespace;

/// A node's state: sections of lines, each sorted unless its order means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    sections: BTreeMap<&'static str, Vec<String>>,
}

impl Snapshot {
    /// Reads a node's state.
    pub fn of(node: &Node) -> Self {
        let mut sections = BTreeMap::new();
        sections.insert("links", links(&node.json("ip -d -j link")));
        sections.insert("addresses", lasting(plain(&node.run("ip -o addr show"))));
        sections.insert("routes", routes(node));
        sections.insert("rules", plain(&(node.run("ip -4 rule") + &node.run("ip -6 rule"))));
        sections.insert("fdb", entries(&node.run("bridge fdb show")));
        sections.insert("qdiscs", plain(&node.run("tc qdisc show")));
        sections.insert("nft", ordered(&node.run("nft -s list ruleset")));
        sections.insert("iptables", iptables(node));
        sections.insert("sysctls", node.ns().enter(sysctls));
        sections.insert("forwarding", node.ns().enter(forwarding));
        sections.insert("files", node.ns().enter(files));
        sections.insert("mounts", mounts(node.ns()));
        sections.insert("processes", processes(node.ns()));
        Self { sections }
    }

    /// Without anything of a bridge, which outlives its pods by intent.
    #[must_use]
    pub fn without_bridge(mut self, name: &str) -> Self {
        let mentions = |line: &String| {
            line.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
                .any(|word| word == name)
        };
        for section in ["links", "addresses", "routes", "fdb", "qdiscs", "sysctls"] {
            self.section(section).retain(|line| !mentions(line));
        }
        self
    }

    /// Without what a node keeps of its leases' history: the lock, the last addresses, indexes.
    #[must_use]
    pub fn without_lease_history(mut self) -> Self {
        self.section("files").retain(|line| {
            let path = line.split(" = ").next().unwrap_or(line);
            let kept = ["/lock", "/.ferrule/", "/last_reserved_ip."];
            !(path.starts_with("/var/lib/cni/") && kept.iter().any(|part| path.contains(part)))
        });
        self
    }

    /// Without the files below some folders.
    #[must_use]
    pub fn without_files(mut self, folders: &[&str]) -> Self {
        self.section("files").retain(|line| !folders.iter().any(|folder| line.starts_with(folder)));
        self.section("mounts").retain(|line| !folders.iter().any(|folder| line.contains(folder)));
        self
    }

    /// Without the switches that make a node forward, which stay on by intent.
    #[must_use]
    pub fn without_forwarding(mut self) -> Self {
        self.section("forwarding").clear();
        // A router answers for the first address of each of its IPv6 networks.
        self.section("routes").retain(|line| !line.starts_with("anycast"));
        self
    }

    /// Without all that the first pod of a network on a bridge leaves for the next by intent.
    #[must_use]
    pub fn without_first_use(self, bridge: &str) -> Self {
        self.without_bridge(bridge).without_lease_history().without_forwarding()
    }

    /// The lines of one section.
    pub fn lines(&self, section: &str) -> &[String] {
        &self.sections[section]
    }

    fn section(&mut self, name: &'static str) -> &mut Vec<String> {
        self.sections.entry(name).or_default()
    }

    /// What differs, as text; empty when nothing does.
    pub fn difference(&self, after: &Self) -> String {
        let mut text = String::new();
        for (name, old) in &self.sections {
            let new = &after.sections[name];
            let gone = old.iter().filter(|line| count(old, line) > count(new, line));
            let come = new.iter().filter(|line| count(new, line) > count(old, line));
            gone.for_each(|line| writeln!(text, "{name} - {line}").expect("write to a string"));
            come.for_each(|line| writeln!(text, "{name} + {line}").expect("write to a string"));
        }
        text
    }
}

/// Fails with what differs between two states of a node.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot) {
    let difference = before.difference(after);
    assert!(difference.is_empty(), "the node is not as it was:\n{difference}");
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|other| *other == line).count()
}

fn ordered(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Lines without the link's index, sorted.
fn plain(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = ordered(text);
    for line in &mut lines {
        if let Some((number, rest)) = line.split_once(": ")
            && number.chars().all(|c| c.is_ascii_digit())
        {
            *line = rest.to_owned();
        }
    }
    lines.sort();
    lines
}

/// The entries that someone set: not learned ones, and not the groups that a device listens to.
fn entries(text: &str) -> Vec<String> {
    let set = |line: &String| line.contains("permanent") || line.contains("static");
    let group = |line: &String| line.starts_with("33:33:") || line.starts_with("01:00:5e:");
    plain(text).into_iter().filter(|line| set(line) && !group(line)).collect()
}

/// Without what the kernel gives to every link by itself, a moment after it came up.
fn lasting(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !(line.contains("fe80:") || line.contains("ff00::/8")));
    lines
}

/// One line for each link, without what numbers, counts or ages.
fn links(all: &Value) -> Vec<String> {
    let mut lines: Vec<String> = all.as_array().into_iter().flatten().map(link).collect();
    lines.sort();
    lines
}

fn link(link: &Value) -> String {
    let mut link = link.clone();
    forget(&mut link);
    // A VLAN device is UNKNOWN until linkwatch, which runs later, says UP (rfc2863_policy).
    if link["operstate"] == "UNKNOWN" && link["flags"].to_string().contains("LOWER_UP") {
        link["operstate"] = Value::from("UP");
    }
    format!("{} {link}", link["ifname"].as_str().unwrap_or_default())
}

fn forget(value: &mut Value) {
    const MOVING: [&str; 5] = ["ifindex", "link_index", "link_netnsid", "stats64", "promiscuity"];
    if let Value::Object(map) = value {
        map.retain(|key, _| !MOVING.contains(&key.as_str()) && !key.ends_with("_timer"));
        map.values_mut().for_each(forget);
    }
}

fn routes(node: &Node) -> Vec<String> {
    let four = node.run("ip -4 -d route show table all");
    let six = node.run("ip -6 -d route show table all");
    // The expiry of a learned route counts down.
    let steady = (four + &six)
        .lines()
        .filter(|l| !l.contains("expires"))
        .fold(String::new(), |text, line| text + line.trim_end() + "\n");
    lasting(plain(&steady))
}

fn iptables(node: &Node) -> Vec<String> {
    let mut lines = vec![];
    for tool in ["iptables-save", "ip6tables-save"] {
        let saved = node.try_run(tool).stdout;
        let rules = saved.lines().filter(|line| !line.starts_with('#'));
        // Counters: `:INPUT ACCEPT [12:720]`.
        lines.extend(rules.map(|line| line.split(" [").next().unwrap_or(line).to_owned()));
    }
    lines
}

fn sysctls() -> Vec<String> {
    let mut lines = vec![];
    for family in ["ipv4", "ipv6"] {
        let conf = format!("/proc/sys/net/{family}/conf");
        walk(Path::new(&conf), &mut |path| {
            let name = path.to_string_lossy().into_owned();
            // Forwarding sets these two; it is a section of its own.
            let follows = ["forwarding", "conf/all/accept_redirects", "stable_secret"];
            if !follows.iter().any(|end| name.ends_with(end)) {
                let value = fs::read_to_string(path).unwrap_or_default();
                lines.push(format!("{} = {}", &name["/proc/sys/net/".len()..], value.trim()));
            }
        });
    }
    lines.sort();
    lines
}

fn forwarding() -> Vec<String> {
    let switches = ["ipv4/ip_forward", "ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"];
    let read = |name: &&str| fs::read_to_string(format!("/proc/sys/net/{name}")).ok();
    switches
        .iter()
        .map(|name| format!("{name} = {}", read(name).unwrap_or_default().trim()))
        .collect()
}

fn files() -> Vec<String> {
    let mut lines = vec![];
    for root in ["/var/lib", "/run", "/etc/cni"] {
        walk(Path::new(root), &mut |path| {
            let text = match fs::symlink_metadata(path) {
                Ok(data) if data.is_file() => fs::read(path).unwrap_or_default(),
                _ => vec![],
            };
            let text = String::from_utf8_lossy(&text);
            let shown: String = text.chars().take(400).collect();
            lines.push(format!("{} = {shown:?} ({} bytes)", path.display(), text.len()));
        });
    }
    lines.sort();
    lines
}

/// Everything below a folder that is not a folder itself.
fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

/// What is mounted in the node; read from outside, since the node may have a /proc of its own.
fn mounts(ns: &Namespace) -> Vec<String> {
    let (give, take) = mpsc::channel();
    let (done, wait) = mpsc::channel::<()>();
    let read = move || {
        let thread: nix::unistd::Pid = take.recv().expect("the thread inside answers");
        let listed = fs::read_to_string(format!("/proc/self/task/{thread}/mounts"));
        drop(done);
        listed.expect("read the mounts")
    };
    let reader = thread::spawn(read);
    ns.enter(move || {
        give.send(nix::unistd::gettid()).expect("tell the thread");
        let _ = wait.recv();
    });
    let mut lines = ordered(&reader.join().expect("read the mounts"));
    lines.sort();
    lines
}

/// How long the kernel may take to be done with a link that is out of sight.
const PATIENCE: Duration = Duration::from_secs(20);

/// The programs that run in the node's netns, once those have ended that wait for the kernel to be
/// done with a link. DEL starts one and does not wait for it.
fn processes(ns: &Namespace) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    while !lingering::of(ns).is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
    let line = |pid| fs::read(lingering::folder(pid).join("cmdline")).ok();
    let text = |line: Vec<u8>| String::from_utf8_lossy(&line).replace('\0', " ");
    let lines = lingering::inside(ns).into_iter().filter_map(line).map(text);
    let mut found: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    found.sort();
    found
}
