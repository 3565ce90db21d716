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
fn gc_without_a_list_is_refused() {
    let node = Node::new();
    let (pod, _) = lease(&node, &five());
    let call = node.attach(&five(), &pod).call("GC", None);
    let outcome =
        call.without("CNI_NETNS").without("CNI_CONTAINERID").without("CNI_IFNAME").run(&node);
    outcome.err().expect(7, "GC without cni.dev/valid-attachments");
    assert_eq!(node.leases(), ["10.1.0.2"]);
}

#[test]
fn status_counts_each_range_set() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/126"})]);
    let attachment_of = |pod: &Pod| node.attach(&config, pod).status();
    let one = lease(&node, &config);
    attachment_of(&one.0).ok();
    let two = lease(&node, &config);
    attachment_of(&two.0).err().expect(50, "2 of 2 addresses leased");
    node.attach(&config, &two.0).del(None);
    attachment_of(&one.0).ok();
}

#[test]
fn status_when_full_can_be_ready() {
    let node = Node::new();
    let config = ranges(&[json!({"subnet": "10.1.0.0/30"})]);
    let (pod, _) = lease(&node, &config);
    node.attach(&config, &pod).status().err().expect(50, "10.1.0");
    let ready = json!({"ipam": {"statusWhenFull": "ready"}});
    node.attach(&config, &pod).with(&ready).status().ok();
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
