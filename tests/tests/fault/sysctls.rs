//! Sysctls of the pod that keep failing: one that a pod can do without is done without, where the
//! kernel lacks it or it is read-only; everything else fails ADD, which leaves nothing.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use serde_json::Value;

use crate::bench::Bench;
use crate::seam::Victim;
use crate::{gateway, routed};

/// Whether a pod can do without, and what is set below conf/eth0.
const BY_BRIDGE: &[(bool, &str)] = &[
    (true, "ipv4/conf/eth0/arp_notify"),
    (true, "ipv6/conf/eth0/accept_ra"),
    (true, "ipv4/conf/all/accept_redirects"),
    (false, "ipv6/conf/eth0/disable_ipv6"),
    (true, "ipv6/conf/eth0/keep_addr_on_down"),
    (true, "ipv6/conf/eth0/ndisc_notify"),
    (true, "ipv6/conf/eth0/accept_dad"),
];

const BY_BGP: &[(bool, &str)] =
    &[(false, "ipv6/conf/eth0/disable_ipv6"), (true, "ipv6/conf/eth0/keep_addr_on_down")];

/// The pod's sysctls, each failing at every open(2) of it.
fn keep_failing(config: &Value, victim: Victim, keys: &[(bool, &str)]) {
    let bench = Bench::used(config);
    let attachment = bench.attach(config);
    for (optional, key) in keys {
        let path = format!("/proc/sys/net/{key}");
        let errors = [(2, "ENOENT", *optional), (30, "EROFS", *optional), (5, "EIO", false)];
        for (number, errno, harmless) in errors {
            let case = format!("{errno} of {key}");
            let call = || attachment.try_add();
            let (outcome, struck) = bench.seam().fail_to_open(victim, &path, errno, call);
            assert!(struck.is_some(), "{case}: ADD does not open it");
            if harmless {
                let result = outcome.ok();
                ping(&bench.pod, gateway(config));
                // A file that only cannot be written is one that CHECK reads.
                if errno == "ENOENT" {
                    let check = || attachment.check(&result);
                    bench.seam().fail_to_open(victim, &path, errno, check);
                }
                attachment.del(Some(&result));
            } else {
                let text_of_error = outcome.err().text();
                let cause = format!("(os error {number})");
                let named = text_of_error.contains(&format!("sysctl net/{key}"))
                    && text_of_error.contains(&cause);
                assert!(named, "{case}: {text_of_error}");
            }
            let left = bench.left();
            assert!(left.is_nothing(), "{case} left:\n{left}");
        }
    }
}

#[test]
fn of_a_pod_on_a_bridge() {
    keep_failing(&conf::full(), Victim::Plugin, BY_BRIDGE);
}

#[test]
fn of_a_routed_pod() {
    keep_failing(&routed(&conf::full()), Victim::Bgp, BY_BGP);
}

/// A distribution that makes devices without IPv6, and a read-only /proc/sys: such a
/// pod can have no IPv6 address.
#[test]
fn read_only_where_ipv6_is_switched_off() {
    for config in [conf::full(), routed(&conf::full())] {
        let bench = Bench::used(&config);
        bench.pod.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        bench.node.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
        let attachment = bench.attach_plainly(&config);
        let text_of_error = attachment.try_add().err().text();
        let key = "sysctl net/ipv6/conf/eth0/disable_ipv6 to 0";
        assert!(
            text_of_error.contains(key) && text_of_error.contains("(os error 30)"),
            "{text_of_error}"
        );
        bench.node.sh("umount /proc/sys");
        let left = bench.left();
        assert!(left.is_nothing(), "{left}");
        let result = attachment.add();
        ping(&bench.pod, gateway(&config));
        attachment.del(Some(&result));
    }
}
