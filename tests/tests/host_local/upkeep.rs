//! DEL, CHECK, GC, STATUS, and leases that a reboot left.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod, conf};
use serde_json::{Value, json};

use crate::{LEASES, five, lease, ranges};

#[test]
fn del_of_what_never_was() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&five(), &pod);
    attachment.del(None);
    attachment.add();
    attachment.del(None);
    attachment.del(None);
    assert!(node.leases().is_empty());
}

#[test]
fn del_with_a_configuration_that_broke_since() {
    let broken = [
        json!({"ipam": {"ranges": [[{"subnet": "nonsense"}]]}}),
        json!({"ipam": {"ranges": null}}),
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24", "gateway": "192.0.2.1"}]]}}),
        json!({"ipam": {"ranges": "rubbish"}}),
        json!({"runtimeConfig": {"ips": ["rubbish"]}}),
    ];
    for keys in broken {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&five(), &pod);
        attachment.add();
        attachment.with(&keys).del(None);
        assert!(node.leases().is_empty(), "{keys}");
    }
}

#[test]
fn del_needs_no_netns() {
    for netns in [None, Some(""), Some("/run/netns/gone")] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&five(), &pod);
        attachment.add();
        attachment.netns(netns).del(None);
        assert!(node.leases().is_empty());
    }
}

#[test]
fn check_wants_the_lease_of_this_attachment() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&five(), &pod);
    let result = attachment.add();
    attachment.check(&result);
    let other = conf::with(&result, &json!({"ips": [{"address": "10.1.0.5/29"}]}));
    let error = attachment.try_check(&other).err();
    assert!(error.text().contains("10.1.0."), "{error:?}");
    node.write(&format!("{LEASES}/10.1.0.2"), "someone\r\neth0");
    attachment.try_check(&result).err();
    node.run(&format!("rm {LEASES}/10.1.0.2"));
    attachment.try_check(&result).err();
}

#[test]
fn gc_releases_what_is_not_listed() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})]);
    let pods: Vec<Pod> = (0..3).map(|_| lease(&node, &config).0).collect();
    node.attach(&config, &pods[1]).ifname("net1").add();
    node.write(&format!("{LEASES}/10.1.0.77"), "an-old-one");
    node.write(&format!("{LEASES}/10.1.0.78"), pods[1].id());
    let (others, _) = lease(&node, &conf::with(&config, &json!({"name": "others"})));
    let listed = [(pods[1].id(), "eth0"), ("never-seen", "eth0")];
    node.attach(&config, &pods[0]).gc(&listed).ok();
    // The ID alone, as old files have it, is not known to be of another interface.
    assert_eq!(node.leases(), ["10.1.0.3", "10.1.0.78", "fd00:1::3"]);
    assert!(node.exists(&format!("{LEASES}/lock")));
    assert!(node.exists(&format!("{LEASES}/last_reserved_ip.0")));
    assert!(node.exists("/var/lib/cni/networks/others/10.1.0.2"), "{}", others.id());
    node.attach(&config, &pods[0]).gc(&[]).ok();
    assert!(node.leases().is_empty());
    assert!(node.exists("/var/lib/cni/networks/others/10.1.0.2"));
}

#[test]
fn gc_without_a_list_changes_nothing() {
    let node = Node::new();
    let (pod, _) = lease(&node, &five());
    let call = node.attach(&five(), &pod).call("GC", None);
    let outcome =
        call.without("CNI_NETNS").without("CNI_CONTAINERID").without("CNI_IFNAME").run(&node);
    outcome.ok();
    assert_eq!(node.leases(), ["10.1.0.2"]);
}

#[test]
fn status_counts_each_range_set() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/126"})]);
    let config = conf::with(&config, &json!({"ipam": {"statusWhenFull": "not-ready"}}));
    let attachment_of = |pod: &Pod| node.attach(&config, pod).status();
    let one = lease(&node, &config);
    attachment_of(&one.0).ok();
    let two = lease(&node, &config);
    attachment_of(&two.0).err().expect(50, "2 of 2 addresses leased");
    node.attach(&config, &two.0).del(None);
    attachment_of(&one.0).ok();
}

#[test]
fn status_when_full_is_ready_with_a_warning_unless_asked() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/30"})]);
    let (pod, _) = lease(&node, &config);
    let full = node.attach(&config, &pod);
    let log = json!({"logFile": "/run/log"});
    for keys in [json!({}), json!({"ipam": {"statusWhenFull": "ready"}})] {
        node.write("/run/log", "");
        full.clone().with(&log).with(&keys).status().ok();
        let said = node.read("/run/log");
        assert!(said.contains("1 of 1 addresses leased") && said.contains("warning"), "{said}");
    }
    let strict = json!({"ipam": {"statusWhenFull": "not-ready"}});
    full.with(&strict).status().err().expect(50, "10.1.0");
    let nonsense = json!({"ipam": {"statusWhenFull": "sometimes"}});
    assert_eq!(node.attach(&config, &pod).with(&nonsense).status().err().code, 7);
}

/// The kernel's boot ID, in this node alone.
fn reboot(node: &Node, id: &str) {
    node.write("/run/boot_id", &format!("{id}\n"));
    node.sh("umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
        mount --bind /run/boot_id /proc/sys/kernel/random/boot_id");
}

const BOOTS: [&str; 2] =
    ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"];

fn one_address() -> Value {
    ranges(&[json!({"subnet": "10.1.0.0/30"})])
}

/// No netns survives a boot, so no lease of a pod does.
#[test]
fn a_lease_from_before_the_boot_is_free() {
    let node = Node::new();
    reboot(&node, BOOTS[0]);
    let (pod, _) = lease(&node, &one_address());
    node.attach(&one_address(), &Pod::new()).try_add().err();
    reboot(&node, BOOTS[1]);
    node.attach(&one_address(), &pod).status().ok();
    let (next, address) = lease(&node, &one_address());
    assert_eq!(address, "10.1.0.2");
    assert_eq!(node.read(&format!("{LEASES}/10.1.0.2")), format!("{}\r\neth0", next.id()));
    node.attach(&one_address(), &pod).del(None);
    assert_eq!(node.leases(), ["10.1.0.2"], "a late DEL of the old pod");
}

/// What we did not record is not ours to judge: the reference's, or a file copied by hand.
#[test]
fn a_lease_that_we_did_not_write_survives_a_boot() {
    let node = Node::new();
    reboot(&node, BOOTS[0]);
    let (pod, _) = lease(&node, &one_address());
    node.attach(&one_address(), &pod).del(None);
    node.write(&format!("{LEASES}/10.1.0.2"), "by-the-reference\r\neth0");
    reboot(&node, BOOTS[1]);
    node.attach(&one_address(), &Pod::new()).try_add().err();
    assert_eq!(node.leases(), ["10.1.0.2"]);
}

/// Our record is of one very file; a lease that replaced it by another hand is not that file.
#[test]
fn a_lease_rewritten_by_another_survives_a_boot() {
    let node = Node::new();
    reboot(&node, BOOTS[0]);
    let (pod, _) = lease(&node, &one_address());
    node.run(&format!("rm {LEASES}/10.1.0.2"));
    node.write(&format!("{LEASES}/10.1.0.2"), &format!("{}\r\neth0", pod.id()));
    reboot(&node, BOOTS[1]);
    node.attach(&one_address(), &Pod::new()).try_add().err();
}

/// As the reference once wrote it, and a person may.
#[test]
fn a_lease_rewritten_to_the_container_alone_is_released() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"})]);
    let (pod, address) = lease(&node, &config);
    let (other, _) = lease(&node, &config);
    let file = format!("/var/lib/cni/networks/pods/{address}");
    node.sh(&format!("printf %s {} >{file}", pod.id()));
    node.attach(&config, &pod).del(None);
    assert!(!node.exists(&file));
    assert_eq!(node.leases().len(), 1);
    node.attach(&config, &other).del(None);
    assert!(node.leases().is_empty());
}

/// Callers whose pods' namespaces are out of sight: host-local enters none.
#[test]
fn any_netns_will_do() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"})]);
    node.write("/run/no-netns", "");
    for netns in ["/var/run/netns/cni-1234", "/run/no-netns", "/proc/self/ns/net"] {
        for overridden in ["", "1", "true"] {
            let pod = Pod::new();
            let attachment = node.attach(&config, &pod).netns(Some(netns));
            let call = |command: &str, result: Option<&Value>| {
                attachment.call(command, result).env("CNI_NETNS_OVERRIDE", overridden).run(&node)
            };
            let result = call("ADD", None).ok();
            assert_eq!(node.leases().len(), 1, "{netns}");
            call("CHECK", Some(&result)).ok();
            call("DEL", Some(&result)).ok();
            assert!(node.leases().is_empty(), "{netns}");
        }
    }
}

#[test]
fn a_name_that_no_directory_can_have() {
    let node = Node::new();
    let long = json!({"name": "n".repeat(256)});
    let config = conf::with(&ranges(&[json!({"subnet": "10.1.0.0/24"})]), &long);
    let pod = Pod::new();
    let attachment = node.attach(&config, &pod);
    attachment.try_add().err().expect(7, "network name is too long");
    attachment.del(None);
    assert_eq!(node.sh("ls /var/lib"), "");
}
