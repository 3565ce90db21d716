//! The reference as oracle: on the same node, and beside it on a node of its own.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Net, ours, reference};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn ipams() -> Vec<Value> {
    vec![
        json!({"subnet": "10.0.0.0/28"}),
        json!({"subnet": "10.0.0.0/28", "rangeStart": "10.0.0.4", "rangeEnd": "10.0.0.9",
               "gateway": "10.0.0.6"}),
        json!({"ranges": [[{"subnet": "10.0.0.0/29"}, {"subnet": "10.9.0.0/29"}],
                          [{"subnet": "fd00::/125", "gateway": "fd00::4"}]],
               "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.0.0.1"}]}),
        json!({"subnet": "10.0.0.0/29", "ranges": [[{"subnet": "fd00:0:0:8::/64"}],
                          [{"subnet": "10.8.0.0/24"}]]}),
    ]
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn the_same_calls_have_the_same_results() {
    for (seed, ipam) in ipams().iter().enumerate() {
        let (one, two) = (Net::new(ipam), Net::new(ipam));
        let mut numbers = Numbers(seed as u64);
        for step in 0..80 {
            let id = format!("c{}", numbers.below(16));
            let command = ["ADD", "ADD", "DEL", "CHECK"][numbers.below(4) as usize];
            let mine = one.call(&ours(), command, &id);
            let theirs = two.call(&reference(), command, &id);
            let place = format!("step {step} of {ipam}: {command} {id}: {mine:?} {theirs:?}");
            assert_eq!(mine.code, theirs.code, "{place}");
            if mine.is_ok() {
                assert_eq!(mine.document, theirs.document, "{place}");
            } else {
                assert_eq!(mine.document["msg"], theirs.document["msg"], "{place}");
            }
            assert_eq!(one.leases(), two.leases(), "{place}");
        }
        for set in 0..2 {
            let last = |net: &Net| {
                std::fs::read_to_string(net.dir().join(format!("last_reserved_ip.{set}"))).ok()
            };
            assert_eq!(last(&one), last(&two));
        }
    }
}

#[test]
fn leases_of_either_are_honoured_by_the_other() {
    for ipam in ipams() {
        let net = Net::new(&ipam);
        let (both, mut numbers) = ([ours(), reference()], Numbers(7));
        let mut living: Vec<(String, Vec<String>)> = Vec::new();
        for step in 0..80 {
            let mut either = || &both[numbers.below(2) as usize];
            if step % 3 != 2 && living.len() < 4 {
                let id = format!("c{step}");
                let addresses = net.call(either(), "ADD", &id).addresses();
                let again = net.call(either(), "ADD", &id).error();
                assert!(again.contains("duplicate allocation is not allowed"), "{again}");
                living.push((id, addresses));
            } else {
                let exe = either().clone();
                let (id, _) = living.remove(numbers.below(living.len() as u64) as usize);
                assert!(net.call(&exe, "DEL", &id).is_ok());
                assert!(!net.call(&both[numbers.below(2) as usize], "CHECK", &id).is_ok());
            }
            for (id, _) in &living {
                assert!(net.call(&both[numbers.below(2) as usize], "CHECK", id).is_ok());
            }
            let held: BTreeSet<_> = living.iter().flat_map(|(_, held)| held.clone()).collect();
            let leased: BTreeSet<_> = net.leases().keys().map(ToString::to_string).collect();
            assert_eq!(held, leased);
        }
    }
}

#[test]
fn both_at_once_give_no_address_twice() {
    let net =
        Net::new(&json!({"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]}));
    let add = |thread: usize, exe: PathBuf| {
        let mut all = Vec::new();
        for n in 0..12 {
            let id = format!("c{thread}-{n}");
            let addresses = net.call(&exe, "ADD", &id).addresses();
            if n % 3 == 0 {
                assert!(net.call(&exe, "DEL", &id).is_ok());
            } else {
                all.extend(addresses);
            }
        }
        all
    };
    let all: Vec<String> = std::thread::scope(|scope| {
        let add = &add;
        let start = |thread: usize| {
            let exe = if thread.is_multiple_of(2) { ours() } else { reference() };
            scope.spawn(move || add(thread, exe))
        };
        let running: Vec<_> = (0..6).map(start).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let once: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!((once.len(), all.len()), (96, 96));
    let leased: BTreeSet<_> = net.leases().keys().map(ToString::to_string).collect();
    assert_eq!(once, leased);
}

#[test]
fn errors_hold_the_reference_s_text() {
    let subnet = "10.1.0.0/24";
    let range = |range: Value| json!({"ipam": {"ranges": [[range]]}});
    let table = [
        json!({}),
        json!({"ipam": {}}),
        json!({"ipam": {"ranges": [[]]}}),
        json!({"ipam": {"ranges": []}}),
        json!({"ipam": {"ranges": [[{"subnet": subnet}, {"subnet": "fd00::/64"}]]}}),
        json!({"ipam": {"ranges": [[{"subnet": subnet}, {"subnet": "10.1.0.0/25"}]]}}),
        json!({"ipam": {"subnet": subnet, "ranges": [[{"subnet": "fd00::/64"}], [{"subnet": subnet}]]}}),
        json!({"cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": subnet}], [{"subnet": "10.2.0.0/24"}]]}}),
        json!({"ipam": {"subnet": subnet, "resolvConf": "/nonexistent"}}),
        json!({"ipam": {"subnet": "10.1.0.0"}}),
        json!({"ipam": {"subnet": ""}}),
        json!({"ipam": {"subnet": subnet}, "args": {"cni": {"ips": ["10.2.0.5"]}}}),
        json!({"ipam": {"subnet": subnet}, "args": {"cni": {"ips": ["10.1.0.1"]}}}),
        json!({"ipam": {"subnet": subnet}, "args": {"cni": {"ips": ["x"]}}}),
        json!({"ipam": {"subnet": subnet}, "runtimeConfig": {"ips": ["10.1.0.4", "10.1.0.5", "10.1.0.4"]}}),
        range(json!({})),
        range(json!({"subnet": "10.1.0.0/31"})),
        range(json!({"subnet": "10.1.0.5/32"})),
        range(json!({"subnet": "fd00::/127"})),
        range(json!({"subnet": "10.1.0.7/24"})),
        range(json!({"subnet": "2001:db8:24:19ff::/63"})),
        range(json!({"subnet": "::ffff:10.0.0.0/120"})),
        range(json!({"subnet": subnet, "gateway": "x"})),
        range(json!({"subnet": subnet, "rangeStart": "10.2.0.1"})),
        range(json!({"subnet": subnet, "rangeStart": "fd00::1"})),
        range(json!({"subnet": subnet, "rangeEnd": "10.2.0.1"})),
        range(json!({"subnet": subnet, "rangeEnd": "10.1.0.0"})),
        range(json!({"subnet": subnet, "rangeStart": "10.1.0.50", "rangeEnd": "10.1.0.40"})),
        range(json!({"subnet": subnet, "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.1"})),
    ];
    for (n, part) in table.iter().enumerate() {
        let net = Net::new(&json!({}));
        let mut conf = net.conf();
        let data_dir = conf["ipam"]["dataDir"].clone();
        conf.as_object_mut().unwrap().remove("ipam");
        conf.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        if let Some(ipam) = conf.get_mut("ipam") {
            ipam["dataDir"] = data_dir;
        }
        let call = |exe| net.call_with(&mut Command::new(exe), "ADD", "c", "", &conf);
        let (mine, theirs) = (call(ours()), call(reference()));
        let text = theirs.error();
        let text = text.trim_end_matches("; ");
        // One of several that were asked for is served first; the reference picks any.
        let text = if n == 14 { "failed to allocate all requested IPs: 10.1.0." } else { text };
        // Of a failed open(2) each runtime library says it in its own words.
        let text = text.strip_prefix("open ").map_or(text, |rest| rest.split(':').next().unwrap());
        assert!(mine.error().contains(text), "{part}: {mine:?} lacks {text:?}");
        assert!(net.leases().is_empty());
    }
}

#[test]
fn cni_args_are_read_alike() {
    let net = Net::new(&json!({"subnet": "10.0.0.0/24"}));
    for (n, args) in
        ["IP=10.0.0.9", "IP=10.0.1.9", "IP=x", "MAC=1", "MAC=1;IgnoreUnknown=1", "ip=10.0.0.7"]
            .into_iter()
            .enumerate()
    {
        let call =
            |exe, id: String| net.call_with(&mut Command::new(exe), "ADD", &id, args, &net.conf());
        let theirs = call(reference(), format!("t{n}"));
        assert!(net.call(&reference(), "DEL", &format!("t{n}")).is_ok());
        let mine = call(ours(), format!("m{n}"));
        assert!(net.call(&ours(), "DEL", &format!("m{n}")).is_ok());
        assert_eq!(mine.code, theirs.code, "{args}: {mine:?} {theirs:?}");
        if !mine.is_ok() {
            let text = theirs.error();
            let text = text.trim_end_matches("; ").split(": ").last().unwrap().to_owned();
            assert!(mine.error().contains(&text), "{args}: {mine:?} lacks {text}");
        }
    }
}
