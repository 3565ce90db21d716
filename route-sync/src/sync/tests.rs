use super::*;
use crate::config::Mode;
use crate::facts::read::facts;
use crate::report::State;
use crate::routes::diff::Change;
use crate::routes::learned::Hops;
use crate::routes::plan::tests::config;
use crate::routes::protocols::BLACKHOLE;
use crate::source::nodes::Node;
use ipnetwork::IpNetwork;
use net::route::Route;
use net::{Link, address, link};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use std::collections::BTreeMap;
use std::process::Command;

#[cfg(feature = "kubernetes")]
mod assigned;
mod conflicts;
mod learned;

/// In a network namespace of its own, which vanishes with the thread.
fn on_a_node(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
        for line in [
            "ip link set lo up",
            "ip link add eth0 type veth peer name wire",
            "ip link set eth0 up",
            "ip link set wire up",
            "ip address add 192.0.2.1/24 dev eth0",
        ] {
            run(line);
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(line: &str) -> String {
    let (program, args) = line.split_once(' ').unwrap();
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.unwrap_or_else(|e| panic!("{line}: {e}: apt install iproute2 nftables"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A daemon that is in step, in a mode, and the loopback device, which the kernel never removes.
fn in_step(mode: Mode) -> (tempfile::TempDir, Sync, Link) {
    let dir = tempfile::tempdir().unwrap();
    let mut sync = Sync::new(Config { run_dir: dir.path().to_owned(), ..config(mode) }).unwrap();
    let own = Node {
        name: "own".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        pod_cidrs: vec!["10.1.1.0/24".parse().unwrap()],
    };
    sync.set(&NodeSet { nodes: vec![own], ..NodeSet::default() }, false);
    sync.work();
    assert!(sync.report().synced, "{:#?}", sync.report());
    let lo = sync.socket.get(&link::by_name("lo")).unwrap().unwrap();
    (dir, sync, lo)
}

/// Every peer has sent its routes, these changes the last.
fn all_sent(changes: BTreeMap<IpNetwork, Option<Hops>>) -> Announced {
    Announced { changes, has_routes: true, complete: true, refuses: false }
}

const GUARD: &str = "udp dport 4789 drop";

/// What cannot be removed is at the tunnel's own port, or there is another guard than it needs.
#[test]
fn a_device_that_stays_keeps_its_guard_and_hinders_no_repair_of_it() {
    on_a_node(|| {
        for guarded in [true, false] {
            let (_dir, mut sync, lo) = in_step(Mode::Auto);
            sync.remove_devices(std::slice::from_ref(&lo), guarded);
            assert!(sync.problems.has("device lo"));
            run("nft flush ruleset");
            sync.ruleset_changed();
            assert!(run("nft list ruleset").contains(GUARD), "{guarded}");
            if !guarded {
                sync.view.config.mode = Mode::Direct;
                sync.view.desired.tunnel = None;
                sync.ruleset_changed();
                assert!(run("nft list ruleset").contains(GUARD));
            }
        }
    });
}

/// Cards without an address lead to other nodes where a link that leads nowhere has the node's.
#[test]
fn bare_cards_count_where_the_loopback_device_or_a_dummy_has_the_address() {
    let link = |index, name: &str, kind: &str, master| Link {
        index,
        name: name.to_owned(),
        kind: kind.to_owned(),
        master,
        ..Link::default()
    };
    let links = [
        link(1, "lo", "", 0),
        link(2, "eth0", "", 0),
        link(3, "bond0", "bond", 0),
        link(4, "eth1", "", 3),
        link(5, "veth0", "veth", 0),
        link(6, "node0", "dummy", 0),
    ];
    let known = |holder| {
        let held = address::Address {
            link: holder,
            address: "192.0.2.1/32".parse().unwrap(),
            tentative: false,
            passing: false,
            dad_failed: false,
            global: true,
            protocol: 0,
        };
        facts(&links, &[held]).links.into_keys().collect::<Vec<_>>()
    };
    assert_eq!([known(1), known(2), known(6)], [vec![1, 2, 3], vec![2], vec![2, 3, 6]]);
}

/// The same kernel object is asked to be there and, with other hops or by another run, to go.
#[test]
fn a_failure_ends_when_its_own_object_is_as_it_must_be() {
    on_a_node(|| {
        let (_dir, mut sync, _) = in_step(Mode::Auto);
        let to = |dst: &str| Route::new(dst.parse().unwrap(), "192.0.2.9".parse().ok(), 1);
        let busy = net::Error::of("a change", Errno::EBUSY as i32, "");
        let [make, other] = ["10.1.1.0/24", "10.9.9.0/24"].map(to);
        sync.failures.refused(&Change::Create(make.clone()), &busy, false);
        sync.failures.refused(&Change::Delete(other.clone()), &busy, false);
        let own = |sync: &Sync| sync.report().cidrs[0].state;
        // The route that must go belongs to no CIDR that is shown.
        let problems = sync.report().problems;
        assert_eq!((own(&sync), problems.len()), (State::Failing, 1));
        assert_eq!(problems[0].what, "route 10.9.9.0/24");
        sync.failures.carried_out(&Change::Delete(make.clone()));
        let blackhole = Route { priority: BLACKHOLE, ..Route::blackhole(make.dst) };
        sync.failures.carried_out(&Change::Create(blackhole));
        assert_eq!(own(&sync), State::Failing);
        sync.failures.carried_out(&Change::Replace(make));
        sync.failures.carried_out(&Change::Delete(other));
        assert_eq!((own(&sync), sync.report().problems.len()), (State::Synced, 0));
    });
}
