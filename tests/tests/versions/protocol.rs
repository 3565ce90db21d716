//! The protocol as such: environment, refusals, VERSION, one document whatever comes.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Call, Node, Pod, Snapshot, conf};
use serde_json::{Value, json};

use crate::{VERSIONS, plugins};

/// A valid ADD of a plugin, to be spoilt.
fn valid(node: &Node, pod: &Pod, plugin: &str) -> Call {
    let config = conf::with(&conf::v4(), &json!({"type": plugin}));
    let ifname = if plugin == "loopback" { "lo" } else { "eth0" };
    node.attach(&config, pod).ifname(ifname).call("ADD", None)
}

/// Whether it is an IPAM plugin that enters no namespace.
fn ipam(plugin: &str) -> bool {
    ["host-local", "static"].contains(&plugin)
}

/// Every plugin refuses the spoilt call with a code, and touches nothing.
#[track_caller]
fn refused(spoil: impl Fn(Call) -> Call, code: u64, text: &str) {
    refused_by(plugins(), spoil, code, text);
}

#[track_caller]
fn refused_by(plugins: &[&str], spoil: impl Fn(Call) -> Call, code: u64, text: &str) {
    for plugin in plugins {
        let (node, pod) = (Node::new(), Pod::new());
        let before = Snapshot::of(&node);
        let outcome = spoil(valid(&node, &pod, plugin)).run(&node);
        let error = outcome.err();
        assert_eq!(error.code, code, "{plugin}: {error:?}");
        assert!(error.text().contains(text), "{plugin}: expected `{text}`, got {error:?}");
        assert_same(&before, &Snapshot::of(&node));
        assert!(pod.links().is_empty());
    }
}

#[test]
fn version_lists_all_versions() {
    for plugin in plugins() {
        for input in [json!({"cniVersion": "1.0.0"}), json!({})] {
            let call = Call::new(Bins::ours().exe(plugin), &input).env("CNI_COMMAND", "VERSION");
            let answer = call.run(&Node::new()).ok();
            assert_eq!(answer["supportedVersions"], json!(VERSIONS), "{plugin}");
            assert!(answer["cniVersion"].is_string());
        }
    }
}

#[test]
fn without_a_command_it_says_what_it_is() {
    for plugin in plugins() {
        let outcome = Call::new(Bins::ours().exe(plugin), &json!({})).run(&Node::new());
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, Some(0), "{plugin}: {said}");
        assert!(said.contains(plugin), "{said}");
        for version in VERSIONS {
            assert!(said.contains(version), "{plugin} names {version}: {said}");
        }
    }
}

#[test]
fn unsupported_versions_are_code_1() {
    for version in ["2.0.0", "1.2.0", "0.0.1", "0.3.2", "banana"] {
        let spoil = |mut call: Call| {
            let mut config: Value = serde_json::from_slice(&call.stdin).unwrap();
            config["cniVersion"] = json!(version);
            call.stdin = config.to_string().into_bytes();
            call
        };
        refused(spoil, 1, version);
    }
}

#[test]
fn a_missing_or_bad_environment_is_code_4() {
    for name in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"] {
        refused(|call| call.without(name), 4, name);
        refused(|call| call.env(name, ""), 4, name);
    }
    for name in ["a b", "waytoolongforalink", "a/b", "a:b", ".", ".."] {
        refused(|call| call.env("CNI_IFNAME", name), 4, name);
    }
    for id in ["a b", "-a", "a/b", "../a", "a\nb"] {
        refused(|call| call.env("CNI_CONTAINERID", id), 4, "CNI_CONTAINERID");
    }
    refused(|call| call.env("CNI_COMMAND", "FETCH"), 4, "FETCH");
    // IPAM plugins enter none, and take any, as the reference does.
    for path in ["/run/netns/none", "/etc/passwd"] {
        let others = plugins().iter().copied().filter(|plugin| !ipam(plugin));
        refused_by(&others.collect::<Vec<_>>(), |call| call.env("CNI_NETNS", path), 4, path);
    }
}

#[test]
fn what_is_no_json_is_code_6() {
    let inputs: [&[u8]; 6] =
        [b"", b"{", b"[]", b"\"text\"", b"{\"cniVersion\": \"1.0.0\"}}", b"\xff\xfe{}"];
    for input in inputs {
        let spoil = |mut call: Call| {
            call.stdin = input.to_vec();
            call
        };
        refused(spoil, 6, "");
    }
}

#[test]
fn a_bad_network_name_is_code_7() {
    for name in
        [json!(null), json!(""), json!("../escape"), json!("a/b"), json!("a b"), json!("-a")]
    {
        let spoil = |mut call: Call| {
            let mut config: Value = serde_json::from_slice(&call.stdin).unwrap();
            config["name"] = name.clone();
            call.stdin = config.to_string().into_bytes();
            call
        };
        refused(spoil, 7, "");
    }
}

/// Values of a wrong type are a matter of decoding.
#[test]
fn wrong_types_are_refused() {
    for keys in [json!({"name": 7}), json!({"cniVersion": 1.0}), json!({"ipam": "text"})] {
        for plugin in ["bridge", "host-local"] {
            let (node, pod) = (Node::new(), Pod::new());
            let config = conf::with(&conf::v4(), &json!({"type": plugin}));
            let error = node.attach(&config, &pod).with(&keys).try_add().err();
            assert_eq!(error.code, 7, "{plugin} {keys}: {error:?}");
        }
    }
}

/// Deep nesting and length are refused or served, and answered in one document.
#[test]
fn large_and_deep_inputs_get_one_document() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for plugin in plugins() {
        for filler in [format!("\"{}\"", "x".repeat(8_000_000)), deep.clone()] {
            let (node, pod) = (Node::new(), Pod::new());
            let mut call = valid(&node, &pod, plugin);
            let text = String::from_utf8(call.stdin.clone()).unwrap();
            call.stdin = text.replacen('{', &format!("{{\"filler\": {filler},"), 1).into_bytes();
            let outcome = call.run(&node);
            assert!(matches!(outcome.code, Some(0 | 1)), "{plugin}: {:?}", outcome.code);
        }
    }
}

/// A runtime that went away is no reason to end by a signal.
#[test]
fn a_closed_stdout_is_survived() {
    for plugin in plugins() {
        let (node, pod) = (Node::new(), Pod::new());
        let call = valid(&node, &pod, plugin).env("CNI_COMMAND", "VERSION");
        let exe = call.exe.display();
        let input = String::from_utf8(call.stdin.clone()).unwrap();
        node.write("/run/input", &input);
        let script = format!(
            "set +e; {{ CNI_COMMAND=VERSION {exe} </run/input; echo $? >/run/code; }} | true"
        );
        for _ in 0..5 {
            node.sh(&script);
            assert!(
                node.read("/run/code").parse::<u32>().unwrap() < 128,
                "{plugin}: ended by a signal"
            );
        }
    }
}

/// Two documents on stdout were the reference's answer here.
#[test]
fn the_nodes_own_netns_is_refused_before_anything_is_touched() {
    let own = |node: &Node| node.ns().net_path().to_string_lossy().into_owned();
    for plugin in plugins().iter().filter(|plugin| !ipam(plugin)) {
        let (node, pod) = (Node::new(), Pod::new());
        let before = Snapshot::of(&node);
        let error = valid(&node, &pod, plugin).env("CNI_NETNS", &own(&node)).run(&node).err();
        assert_eq!(error.code, 4, "{error:?}");
        assert_same(&before, &Snapshot::of(&node));
    }
}

/// Runtimes throw stderr away; `logFile` keeps it.
#[test]
fn a_log_file_is_written_where_it_is_asked_for() {
    let (node, pod) = (Node::new(), Pod::new());
    let keys = json!({"logFile": "/run/ferrule.log", "logLevel": "debug"});
    let attachment = node.attach(&conf::v4(), &pod).with(&keys);
    let result = attachment.add();
    attachment.del(Some(&result));
    let log = node.read("/run/ferrule.log");
    assert!(log.contains(pod.id()) && log.contains("ADD") && log.contains("DEL"), "{log}");
}
