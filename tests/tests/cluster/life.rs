//! The daemon's life: killed at any instant, started without its source, beside a plugin of
//! another version.

use crate::cluster::{ALL, Cluster, LOG, Member, network, node_list};
use ferrule_tests::background::Background;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{Flow, ping};
use ferrule_tests::within;
use serde_json::Value;
use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

/// A node list with `more` nodes beyond the router, at most 4,096.
fn many(more: u16) -> String {
    let mut text = node_list(&ALL);
    for at in 0..more {
        let [high, low] = at.to_be_bytes();
        let [net, first] = (at * 8).to_be_bytes();
        let _ = write!(
            text,
            "[[node]]\nname = \"more-{at}\"\naddresses = [\"100.64.{high}.{low}\"]\n\
             pod-cidrs = [\"10.244.{}.{first}/29\", \"fd00:10:244:{:x}::/64\"]\n",
            128 + net,
            0x8000 + at
        );
    }
    text
}

/// Waits until a member is in step with a set of so many nodes.
#[track_caller]
fn in_step_with(member: &Member, nodes: usize) {
    let in_step = |status: &Value| {
        let cidrs = status["cidrs"].as_array().into_iter().flatten();
        let all = cidrs.filter(|entry| entry["state"] == "synced").count() >= 2 * nodes;
        status["source"]["nodes"] == nodes && status["source"]["kept"] == false && all
    };
    // All suites beside this one take the same RTNL: thousands of messages wait for it.
    let done = within(Duration::from_secs(60), || member.status().filter(in_step));
    assert!(done.is_some(), "{}", member.log());
}

/// SIGKILL at any instant of a sync: what is there afterwards is mended to exactly the right
/// state. 100 times with FERRULE_LONG.
#[test]
fn killed_during_sync_a_restart_ends_in_the_right_state() {
    let mut cluster = Cluster::new();
    let rounds = if ferrule_tests::long() { 100 } else { 20 };
    let (few, all) = (node_list(&ALL), many(1000));
    let member = &mut cluster.members[0];
    // What the daemon logs when it has read the node set, and when it is in step.
    let logged = |member: &Member, text: &str| {
        let reported = || member.log().contains(text).then_some(());
        within(Duration::from_secs(20), reported).unwrap_or_else(|| panic!("{}", member.log()));
    };
    let mut lasts = Duration::ZERO;
    let right = [(&all, 1003), (&few, 3)].map(|(text, nodes)| {
        member.kill();
        member.write_nodes(text);
        member.node.write(LOG, "");
        member.start();
        logged(member, "node set");
        let begin = Instant::now();
        logged(member, "in step");
        lasts = lasts.max(begin.elapsed());
        in_step_with(member, nodes);
        member.kept()
    });
    let mut halfway = 0;
    for round in 0..rounds {
        // From few to all in even rounds, from all to few in odd ones.
        let (to, text, nodes) = if round % 2 == 0 { (0, &all, 1003) } else { (1, &few, 3) };
        member.kill();
        member.write_nodes(text);
        member.node.write(LOG, "");
        member.start();
        logged(member, "node set");
        std::thread::sleep(lasts * (round / 2) / (rounds / 2));
        member.kill();
        halfway += u32::from(!right.contains(&member.kept()));
        member.start();
        in_step_with(member, nodes);
        assert!(member.kept() == right[to], "round {round}: {}", member.log());
    }
    assert!(halfway > 0, "every one of {rounds} kills came too early or too late");
}

/// Traces what a daemon sends, to /run/strace, with more arguments for strace.
fn trace_sends(member: &Member, arguments: &[&str]) -> Background {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/run/strace", "-e", "trace=sendto"]).args(arguments);
    command.args(["-p", &member.pid().to_string()]);
    let strace = Background::start_in(member.node.ns(), None, &command, "/run/strace.err");
    let status = format!("/proc/{}/status", member.pid());
    let traced = || {
        let text = std::fs::read_to_string(&status).unwrap();
        (!text.contains("TracerPid:\t0\n")).then_some(())
    };
    within(Duration::from_secs(10), traced).expect("strace traces: apt-get install strace");
    strace
}

/// Waits until the daemon logs something, and ends strace: what it holds up goes on.
fn until_logged(member: &Member, mut strace: Background, text: &str) {
    let reported = || member.log().contains(text).then_some(());
    within(Duration::from_secs(20), reported).unwrap_or_else(|| panic!("{}", member.log()));
    member.node.sh(&format!("kill -INT {}", strace.pid()));
    within(Duration::from_secs(10), || (!strace.running()).then_some(())).expect("strace ends");
}

/// Netlink fails in the midst of a pass's changes, and of each pass after it. What was then done
/// is unknown; when it is over, all is right.
#[test]
fn a_socket_that_fails_amid_changes_is_got_over() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    let few = node_list(&ALL);
    // Which sends of such a pass are changes.
    member.node.write(LOG, "");
    let strace = trace_sends(member, &[]);
    member.write_nodes(&many(1000));
    until_logged(member, strace, "applied");
    let sends = member.node.read("/run/strace");
    let change = |line: &str| line.contains("RTM_NEWROUTE") || line.contains("RTM_NEWNEIGH");
    let changes = sends.lines().enumerate().filter(|(_, line)| change(line)).map(|(at, _)| at + 1);
    let changes: Vec<usize> = changes.collect();
    assert!(changes.len() > 10, "{} of {} sends", changes.len(), sends.lines().count());
    let amid = changes[changes.len() / 2];
    in_step_with(member, 1003);
    let right = member.kept();
    member.write_nodes(&few);
    in_step_with(member, 3);
    // After so many turns of its loop it has received all notifications of its own changes, and asks
    // nothing before the next pass.
    (0..50).for_each(|_| assert!(member.status().is_some()));
    // How many questions a pass asks beside its changes follows from what happens meanwhile: each
    // third request from then on fails.
    let inject = format!("inject=sendto:error=ENOBUFS:when={amid}+3");
    let strace = trace_sends(member, &["-e", &inject]);
    member.write_nodes(&many(1000));
    until_logged(member, strace, "netlink: carry out changes: No buffer space");
    member.status_when(|status| status["problems"].as_array().is_some_and(Vec::is_empty));
    in_step_with(member, 1003);
    assert!(member.kept() == right, "{}", member.log());
    assert!(member.log().contains("netlink: well again"), "{}", member.log());
}

/// The configuration wants a tunnel, and then wants it no more: what the daemon sends until none of
/// it is left, traced with more arguments for strace.
fn sends_of_removal(member: &Member, arguments: &[&str]) -> String {
    let path = "/run/route-sync.toml";
    let read = member.node.read(path);
    let configure = |other: &str, mode: &str| {
        member.node.write("/run/new.toml", &read.replace(other, mode));
        member.node.run(&format!("mv /run/new.toml {path}"));
    };
    configure("\"direct\"", "\"auto\"");
    within(Duration::from_secs(20), || member.node.link("fvxlan.100")).expect("a tunnel");
    member.in_sync();
    // After so many turns of its loop it has received all notifications of its own changes.
    (0..50).for_each(|_| assert!(member.status().is_some()));
    member.node.write(LOG, "");
    let strace = trace_sends(member, arguments);
    configure("\"auto\"", "\"direct\"");
    until_logged(member, strace, "nftables rules put in step");
    member.node.read("/run/strace")
}

/// The guard goes once the tunnel is gone, and not because it should be.
#[test]
fn a_tunnel_that_cannot_be_removed_keeps_its_guard() {
    let cluster = Cluster::with("mode = \"auto\"", &ALL);
    let member = &cluster.members[0];
    let deletion = |line: &str| line.contains("RTM_DELLINK");
    let mut sends = String::new();
    // What it sends is not always the same: another message may have the deletion's number.
    let struck = (0..5).any(|_| {
        sends = sends_of_removal(member, &[]);
        let nth = sends.lines().position(deletion).unwrap() + 1;
        sends =
            sends_of_removal(member, &["-e", &format!("inject=sendto:error=ENOBUFS:when={nth}")]);
        sends.lines().any(|line| line.contains("(INJECTED)") && deletion(line))
    });
    assert!(struck, "each time it was another send that failed: {sends}");
    let log = member.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text:?} in {log}"));
    let failed = at("device fvxlan.100: delete link fvxlan.100: No buffer space");
    let removed = at("removed: the configuration wants another or none");
    assert!(failed < removed && removed < at("nftables rules put in step"), "{log}");
    member.status_when(|status| status["problems"].as_array().is_some_and(Vec::is_empty));
    assert!(member.node.link("fvxlan.100").is_none());
    assert!(!member.node.run("nft list table inet ferrule").contains("overlay"));
}

/// With the state of 4,096 nodes, and a flow that must not lose its connection.
#[test]
fn a_restart_with_thousands_of_nodes_loses_no_flow() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (far, addresses) = cluster.members[2].pod();
    cluster.members[0].write_nodes(&many(4093));
    in_step_with(&cluster.members[0], 4096);
    let mut flows: Vec<_> =
        addresses.iter().map(|address| Flow::open(&near, &far, address).unwrap()).collect();
    let member = &mut cluster.members[0];
    let before = member.kept();
    std::thread::scope(|scope| {
        let pings: Vec<_> = addresses
            .iter()
            .map(|to| format!("ping -n -q -i 0.01 -c 400 -W 2 {to}"))
            .map(|command| {
                scope.spawn({
                    let near = &near;
                    move || near.run(&command)
                })
            })
            .collect();
        for _ in 0..2 {
            member.kill();
            flows.iter_mut().for_each(|flow| flow.turn().unwrap());
            member.start();
            let back = within(Duration::from_secs(60), || {
                flows.iter_mut().for_each(|flow| flow.turn().unwrap());
                member.status().filter(|status| status["synced"] == true)
            });
            assert!(back.is_some(), "{}", member.log());
        }
        for ping in pings {
            let reported = ping.join().unwrap();
            assert!(reported.contains("400 received"), "{reported}");
        }
    });
    in_step_with(member, 4096);
    assert!(member.kept() == before, "a restart changed something");
}

/// A node that boots while its source is away routes by the kept set, and removes nothing.
#[test]
fn a_boot_without_the_source_routes_by_the_kept_set() {
    let mut cluster = Cluster::new();
    let (near, _) = cluster.members[0].pod();
    let (_far, addresses) = cluster.members[2].pod();
    let member = &mut cluster.members[0];
    let right = member.kept();
    member.kill();
    member.node.run("rm /run/nodes.toml");
    // What a boot leaves: nothing of the kernel's, nothing of /run/ferrule's daemon.
    member.node.sh("ip route flush proto 118; ip -6 route flush proto 118
        ip link del fvxlan.100; nft delete table inet ferrule; rm /run/ferrule/node.json");
    // Something of an earlier life that the kept set does not know stays.
    member.node.run("ip route add 10.9.9.0/24 via 192.0.2.2 proto 118");
    member.start();
    // The kept set is carried out while the source is still asked.
    let status = member
        .status_when(|status| status["synced"] == true && !status["source"]["error"].is_null());
    assert_eq!(status["source"]["kept"], true);
    assert!(status["source"]["error"].as_str().unwrap().contains("No such file"), "{status:#?}");
    assert!(member.node.run("ip route show proto 118").contains("10.9.9.0/24"));
    addresses.iter().for_each(|address| ping(&near, address));
    // The source is back: now it is swept.
    member.write_nodes(&node_list(&ALL));
    in_step_with(member, 3);
    assert_eq!(member.kept(), right);
}

/// A plugin reads node.json of a daemon of its own release alone.
#[test]
fn a_plugin_and_a_daemon_of_different_versions_say_so() {
    let mut cluster = Cluster::new();
    let member = &mut cluster.members[0];
    let path = "/run/ferrule/node.json";
    let other = member.node.read(path).replace("\"version\": 1", "\"version\": 2");
    member.node.write(path, &other);
    let pod = member.node.pod();
    let error = member.node.attach(&network(), &pod).try_add().err();
    let reported = format!("{} {}", error.msg, error.details);
    for part in ["node.json is of version 2", "reads version 1", "of the same release"] {
        assert!(reported.contains(part), "{part:?} is not in {reported}");
    }
    // The daemon of this release writes it anew.
    member.kill();
    member.start();
    within(Duration::from_secs(10), || (member.node.read(path) != other).then_some(())).unwrap();
    member.in_sync();
    let attachment = member.node.attach(&network(), &pod);
    attachment.del(None);
    attachment.add();
}
