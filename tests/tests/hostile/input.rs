//! Spoiled configurations and environments: one answer each, nothing left, and what is refused
//! touches nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Call, Node, Outcome, Pod, Snapshot, conf, hostile, long};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

const COMMANDS: [&str; 7] = ["ADD", "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/// One call in bad faith.
#[derive(Clone)]
struct Spoiled {
    plugin: &'static str,
    command: &'static str,
    /// Variables that are not as they should be.
    env: Vec<(&'static str, String)>,
    stdin: Vec<u8>,
}

impl fmt::Debug for Spoiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdin = String::from_utf8_lossy(&self.stdin);
        let start: String = stdin.chars().take(3000).collect();
        write!(f, "{} {} {:?} < {start}", self.plugin, self.command, self.env)
    }
}

impl Spoiled {
    fn call(&self, pod: &Pod) -> Call {
        let bins = Bins::ours();
        let mut call = Call::new(bins.exe(self.plugin), &Value::Null)
            .env("CNI_COMMAND", self.command)
            .env("CNI_CONTAINERID", pod.id())
            .env("CNI_NETNS", &pod.netns())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &bins.dir().to_string_lossy());
        for (key, value) in &self.env {
            call = call.env(key, value);
        }
        call.stdin.clone_from(&self.stdin);
        call
    }
}

/// A configuration with a value at most keys.
fn document() -> Value {
    let result = json!({
        "cniVersion": conf::version(),
        "interfaces": [{"name": "cni0"}, {"name": "veth1"}, {"name": "eth0", "sandbox": "/x"}],
        "ips": [{"interface": 2, "address": "10.1.0.5/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    let keys = json!({
        "ipMasq": true, "mtu": 1400, "vlan": 0, "macspoofchk": true, "hairpinMode": false,
        "runtimeConfig": {"mac": "02:00:00:00:00:01", "ips": ["10.1.0.9"], "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}]},
        "args": {"cni": {"mac": ""}}, "dns": {"nameservers": ["10.0.0.10"]}, "runDir": "/run/x",
        "sysctl": {"net.core.somaxconn": "77"}, "allmulti": true, "txQLen": 77, "promisc": true,
        "ingressPolicy": "same-bridge", "table": 77, "gateways": ["10.1.0.1"], "vrfname": "blue",
        "ingressRate": 8_000_000, "ingressBurst": 800_000, "snat": true, "masqAll": false,
        "cni.dev/valid-attachments": [{"containerID": "x", "ifname": "eth0"}],
        "prevResult": result,
    });
    conf::with(&conf::dual(), &keys)
}

fn plugin() -> impl Strategy<Value = &'static str> {
    let main = ["bridge", "bridge", "bgp", "loopback"];
    let ipam = ["host-local", "static", "dhcp"];
    let chained = ["tuning", "portmap", "firewall", "bandwidth", "sbr", "vrf"];
    select([&main[..], &ipam, &chained].concat())
}

fn spoiled_stdin() -> impl Strategy<Value = Spoiled> {
    let any = hostile::json().prop_map(|value| value.to_string().into_bytes());
    let stdin = prop_oneof![9 => hostile::spoiled(document()), 1 => any];
    (plugin(), select(&COMMANDS[..]), stdin).prop_map(|(plugin, command, stdin)| Spoiled {
        plugin,
        command,
        env: vec![],
        stdin,
    })
}

fn spoiled_environment() -> impl Strategy<Value = Spoiled> {
    let keys =
        ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
    let odd = [
        "",
        " ",
        ".",
        "..",
        "/",
        "a/b",
        "../../x",
        "all",
        "default",
        "lo",
        "eth%d",
        "-x",
        "=",
        ";",
        "IP=10.1.0.9",
        "IP=;MAC=x",
        "MAC=ff:ff:ff:ff:ff:ff",
        "A=1=2",
        "IgnoreUnknown=1;=",
        "/dev/null",
        "/nonexistent",
        "/run",
        "/proc/self/ns/net",
        "/proc/self/ns/uts",
        ":::",
        "add",
        "\u{1}",
        "0123456789abcdef",
    ];
    let value = prop_oneof![
        6 => select(odd.map(str::to_owned).to_vec()),
        2 => "[^\u{0}]{0,20}",
        1 => (1_usize..5000).prop_map(|length| "x".repeat(length)),
    ];
    let env = prop::collection::vec((select(keys.to_vec()), value), 1..3);
    (plugin(), select(&COMMANDS[..5]), env).prop_map(|(plugin, command, env)| Spoiled {
        plugin,
        command,
        env,
        stdin: conf::with(&document(), &json!({"prevResult": null})).to_string().into_bytes(),
    })
}

/// What a call may leave most easily: links, and files without their content.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    links: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Traces {
    fn of(node: &Node) -> Self {
        let names = |dir: &str| {
            let entries = fs::read_dir(dir).expect("a folder").flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        node.ns().enter(|| {
            let mut files = BTreeSet::new();
            for root in ["/run", "/var/lib"] {
                walk(Path::new(root), &mut files);
            }
            Self { links: names("/sys/class/net"), files }
        })
    }

    /// Host veths, records and leases: what goes with the attachment.
    fn of_attachments(&self) -> Vec<&String> {
        let veths = self.links.iter().filter(|name| name.starts_with("veth"));
        let owned = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            path.contains("/attachments/") || name.parse::<std::net::IpAddr>().is_ok()
        };
        veths.chain(self.files.iter().filter(owned)).collect()
    }
}

fn walk(dir: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), files);
        }
        files.insert(entry.path().to_string_lossy().into_owned());
    }
}

/// Whether a refusal is of the input itself, before anything is done. The bridge plugin's code 7
/// may also be that of what IPAM answered, and so may its refusal of CNI_ARGS: then the bridge is
/// there already, and stays.
fn refused(call: &Spoiled, outcome: &Outcome) -> bool {
    if outcome.code == Some(0) {
        return false;
    }
    let error = outcome.err();
    let by_ipam = ["bridge", "bgp"].contains(&call.plugin)
        && (error.code == 7 || error.text().contains("CNI_ARGS: unknown args"));
    [1, 4, 6, 7].contains(&error.code) && !by_ipam
}

/// One call, its answer, which `run` holds against the protocol and a time limit, and its traces.
fn serve(node: &Node, pod: &Pod, spoiled: &Spoiled) {
    let call = spoiled.call(pod);
    let before = Traces::of(node);
    let outcome = call.run(node);
    if outcome.code == Some(0) && outcome.command == "ADD" {
        call.env("CNI_COMMAND", "DEL").run(node).ok();
    }
    let after = Traces::of(node);
    let asks = ["CHECK", "STATUS", "VERSION"].contains(&outcome.command.as_str());
    if asks || refused(spoiled, &outcome) {
        assert_eq!(before, after, "{outcome:#?}");
    }
    assert_eq!(after.of_attachments(), Vec::<&String>::new(), "{outcome:#?}");
    assert_eq!(pod.links(), Vec::<String>::new(), "left in the pod: {outcome:#?}");
}

/// One pod of firewall, for what its first leaves by intent, as the reference's does: chain FORWARD of
/// table filter, whose policy may be the administrator's, and chain CNI-ADMIN, which holds the
/// administrator's rules.
fn use_firewall(node: &Node) {
    let pod = Pod::new();
    let config = json!({"cniVersion": conf::version(), "name": "first", "type": "firewall"});
    let attachment = node.attach(&config, &pod);
    let result = document()["prevResult"].clone();
    attachment.call("ADD", Some(&result)).run(node).ok();
    attachment.del(Some(&result));
}

/// Batches of a dozen calls on one node; ten times as many with `scripts/test --long`.
fn harmless(batches: u32, calls: impl Strategy<Value = Spoiled>) {
    let batches = if long() { batches * 10 } else { batches };
    let (node, pod) = (Node::new(), Pod::new());
    use_firewall(&node);
    // A spoiled dataDir may name any place; the node's own ones stay as they are.
    node.run("mount -o remount,bind,ro /");
    let config =
        ProptestConfig { cases: batches, failure_persistence: None, ..ProptestConfig::default() };
    let batch = prop::collection::vec(calls, 12);
    let run = TestRunner::new(config).run(&batch, |calls| {
        let before = Snapshot::of(&node);
        calls.iter().for_each(|call| serve(&node, &pod, call));
        let after = Snapshot::of(&node);
        for section in ["nft", "iptables", "rules", "mounts", "processes"] {
            assert_eq!(before.lines(section), after.lines(section), "{section}");
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn spoiled_configurations_do_no_harm() {
    harmless(32, spoiled_stdin());
}

#[test]
fn spoiled_environments_do_no_harm() {
    harmless(16, spoiled_environment());
}

/// Noise on stdin is refused with code 6, whatever the command, and nothing at all has changed.
#[test]
fn noise_is_refused_and_touches_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    let noise = prop::collection::vec(any::<u8>(), 0..2000);
    let calls = (plugin(), select(&COMMANDS[..6]), noise);
    let run = TestRunner::new(config).run(&calls, |(plugin, command, stdin)| {
        let call = Spoiled { plugin, command, env: vec![], stdin };
        assert_eq!(call.call(&pod).run(&node).err().code, 6, "{call:?}");
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    assert_same(&before, &Snapshot::of(&node));
}

/// To open a FIFO would wait for its other end, for ever.
#[test]
fn a_fifo_holds_up_no_call() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("mkfifo /run/fifo");
    let mut spoiled = Spoiled {
        plugin: "bridge",
        command: "ADD",
        env: vec![("CNI_NETNS", "/run/fifo".to_owned())],
        stdin: conf::v4().to_string().into_bytes(),
    };
    spoiled.call(&pod).run(&node).err().expect(4, "not a network namespace");
    spoiled.env.clear();
    let log = conf::with(&conf::v4(), &json!({"logFile": "/run/fifo", "logLevel": "debug"}));
    spoiled.stdin = log.to_string().into_bytes();
    let outcome = spoiled.call(&pod).run(&node);
    outcome.ok();
    assert!(outcome.stderr.contains("cannot open logFile"), "{outcome:#?}");
}

/// Names that stand for every interface below /proc/sys/net.
#[test]
fn names_that_are_sysctls_are_refused() {
    for name in ["all", "default"] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = Snapshot::of(&node);
        let config = conf::with(&conf::v4(), &json!({"bridge": name}));
        node.attach(&config, &pod).try_add().err();
        assert_same(&before.clone().without_first_use(name), &after(&node, name));
        node.attach(&conf::v4(), &pod).ifname(name).try_add().err();
        assert_same(&before.without_first_use("cni0"), &after(&node, "cni0"));
        assert_eq!(pod.links(), Vec::<String>::new());
    }
}

fn after(node: &Node, bridge: &str) -> Snapshot {
    Snapshot::of(node).without_first_use(bridge)
}

/// No link has such a name, and no attribute of netlink holds one of 64 KiB.
#[test]
fn a_result_may_name_an_interface_by_more_than_netlink_can() {
    for length in [16, 70_000] {
        let (node, pod) = (Node::new(), Pod::new());
        let name = "x".repeat(length);
        let result = json!({"cniVersion": "1.1.0", "interfaces": [{"name": name}, {"name": name},
            {"name": "eth0", "sandbox": "/x"}], "ips": [{"address": "10.1.0.5/24", "interface": 2}]});
        let attachment = node.attach(&conf::v4(), &pod);
        attachment.del(Some(&result));
        attachment.try_check(&result).err();
    }
}
