//! More on stdin than any configuration needs.

use ferrule_tests::conf;
use ferrule_tests::invoke::Call;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Node, Outcome, Pod, Snapshot};
use serde_json::json;

use crate::{full, report, timed};

const SIZE: usize = 100 << 20;

/// All that read a configuration.
const PLUGINS: [&str; 5] = ["bridge", "host-local", "loopback", "vxlan", "bgp"];

fn run(node: &Node, pod: &Pod, plugin: &str, command: &str, stdin: &[u8]) -> Outcome {
    let bins = Bins::ours();
    let call = Call::new(bins.exe(plugin), &json!(null))
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", pod.id())
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", &pod.netns())
        .env("CNI_PATH", &bins.dir().to_string_lossy());
    Call { stdin: stdin.to_vec(), ..call }.run(node)
}

/// A hundred megabytes, each of which a client could send.
fn huge() -> [(&'static str, Vec<u8>); 4] {
    let config = full().to_string();
    let padded = |before: &str, byte: u8, after: &str| {
        [before.as_bytes(), &vec![byte; SIZE], after.as_bytes()].concat()
    };
    let open = &config[..config.len() - 1];
    [
        ("blanks behind a configuration", padded(&config, b' ', "")),
        ("a long text in a configuration", padded(&format!("{open},\"x\":\""), b'x', "\"}")),
        ("open brackets", vec![b'['; SIZE]),
        ("zeros", vec![0; SIZE]),
    ]
}

#[test]
fn a_hundred_megabytes_are_refused_and_touch_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    let (mut calls, mut slowest) = (0, 0);
    for (what, stdin) in huge() {
        for plugin in PLUGINS {
            for command in ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] {
                let (outcome, took) = timed(|| run(&node, &pod, plugin, command, &stdin));
                let error = outcome.err();
                assert!(error.code == 6, "{plugin} {command}, {what}: {error:?}");
                assert!(
                    error.text().contains("too large"),
                    "{plugin} {command}, {what}: {error:?}"
                );
                (calls, slowest) = (calls + 1, slowest.max(took));
            }
        }
    }
    report(&format!("100 MB on stdin, {calls} calls: all refused, the slowest in {slowest} ms"));
    assert_same(&before, &Snapshot::of(&node));
}

/// Within the limit: what is nested too deep for a parser that recurses.
#[test]
fn deep_nesting_is_refused_and_touches_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    let config = full().to_string();
    let open = &config[..config.len() - 1];
    let depth = 1 << 20;
    let nested = format!("{open},\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for plugin in PLUGINS {
        for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
            let error = run(&node, &pod, plugin, command, nested.as_bytes()).err();
            assert!(error.code == 6, "{plugin} {command}: {error:?}");
        }
    }
    assert_same(&before, &Snapshot::of(&node));
}

/// Just within the limit: it works, and what the IPAM plugin is given is whole.
#[test]
fn thirty_megabytes_are_taken() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = crate::steady(&node);
    let config = conf::with(&full(), &json!({"padding": "x".repeat(30 << 20)}));
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    attachment.check(&result);
    attachment.del(Some(&result));
    assert_same(&before, &crate::steady(&node));
}
