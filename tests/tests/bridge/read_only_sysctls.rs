//! A node whose /proc/sys is read-only.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::json;

/// ADD and DEL where /proc/sys cannot be written: of the node nothing has to change for IPv4.
fn attach_without_writing_sysctls(pod: impl Fn() -> Pod) {
    let none = json!({"isGateway": false, "ipam": {"routes": null}});
    for config in [conf::l2(), conf::with(&conf::v4(), &none), conf::v4()] {
        let (node, one, two) = (Node::new(), pod(), pod());
        node.set_sysctl("net/ipv4/ip_forward", "1");
        node.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
        let tried = node.try_run("sysctl -w net.ipv4.ip_forward=1");
        assert!(!tried.status.success(), "/proc/sys is read-only");
        let attachment = node.attach(&config, &one);
        let result = attachment.add();
        node.attach(&config, &two).add();
        if config["ipam"].is_object() {
            ping(&one, "10.1.0.3");
        }
        if config["isGateway"] == true {
            ping(&one, GATEWAY4);
        }
        attachment.del(Some(&result));
        assert!(one.links().is_empty());
    }
}

#[test]
fn read_only_sysctls_do_not_matter_where_nothing_has_to_change() {
    attach_without_writing_sysctls(|| {
        let pod = Pod::new();
        pod.set_sysctl("net/ipv4/conf/default/arp_notify", "1");
        pod
    });
}

/// The pod is as the kernel makes it: its later announcements are not worth a failure.
#[test]
fn read_only_sysctls_do_not_matter_in_a_fresh_pod() {
    attach_without_writing_sysctls(Pod::new);
}
