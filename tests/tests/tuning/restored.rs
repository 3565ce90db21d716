//! DEL and a failed ADD give the pod back what it had.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::{SET, all_keys, tuned, values};

#[test]
fn del_restores_every_value_whatever_it_knows() {
    for previous in [true, false] {
        let (node, pod) = (Node::new(), Pod::new());
        let chain = tuned(&node, &pod, &all_keys());
        let before = chain.add_before();
        let had = values(&pod);
        let result = chain.try_add_last(&before).ok();
        assert_eq!(values(&pod), SET);
        chain.last().del(previous.then_some(&result));
        assert_eq!(values(&pod), had);
        chain.last().del(previous.then_some(&result));
        assert_eq!(values(&pod), had);
        assert_eq!(
            node.sh("find /run/cni /run/ferrule/attachments -name '*_eth0*' -o -name 'tuning-*'"),
            ""
        );
        chain.del(None);
    }
}

/// An earlier ADD's values are no values of before, also where its record is lost.
#[test]
fn a_repeated_add_restores_what_was_before_the_first() {
    for lost in ["true", "rm -f /run/ferrule/attachments/tuning-*"] {
        let (node, pod) = (Node::new(), Pod::new());
        // Original sysctls are only in the record.
        let keys = if lost == "true" {
            all_keys()
        } else {
            ferrule_tests::conf::with(&all_keys(), &json!({"sysctl": null}))
        };
        let chain = tuned(&node, &pod, &keys);
        let before = chain.add_before();
        let had = values(&pod);
        chain.try_add_last(&before).ok();
        node.sh(lost);
        let result = chain.try_add_last(&before).ok();
        chain.check(&result);
        chain.last().del(Some(&result));
        assert_eq!(values(&pod), had, "{lost}");
    }
}

/// A key that the second ADD does not have any more.
#[test]
fn a_repeated_add_with_fewer_keys_restores_the_others() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    let before = chain.add_before();
    let had = values(&pod);
    chain.try_add_last(&before).ok();
    let fewer = chain.last().clone().with(&json!({"mtu": null, "sysctl": null, "mac": null}));
    fewer.call("ADD", Some(&before)).run(&node).ok();
    let now = values(&pod);
    assert_eq!((&now[0], &now[1], &now[5..]), (&had[0], &had[1], &had[5..]));
    assert_eq!(now[2..5], SET[2..5]);
    fewer.del(None);
    assert_eq!(values(&pod), had);
}

/// The container is started again in a new namespace, and no DEL was called: what the earlier pod had
/// is no matter of the new one's.
#[test]
fn a_new_pod_of_the_same_id_gets_nothing_of_the_earlier_one() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    pod.set_sysctl("net/core/somaxconn", "55");
    chain.add();
    let next = Pod::new();
    node.sh("ip link del $(ip -br link show type veth | cut -d@ -f1)");
    let again = chain.clone().each(|a| a.netns(Some(&next.netns())));
    let before = again.add_before();
    let had = values(&next);
    let result = again.try_add_last(&before).ok();
    assert_eq!(values(&next), SET);
    again.last().del(Some(&result));
    assert_eq!(values(&next), had);
}

#[test]
fn del_without_the_pod_forgets_the_values() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    chain.add();
    for netns in [None, Some("/nonexistent")] {
        chain.last().clone().netns(netns).del(None);
        assert_eq!(
            node.sh("ls -A /run/cni/tuning; ls /run/ferrule/attachments | grep tuning || :"),
            ""
        );
    }
    assert_eq!(values(&pod), SET, "what cannot be reached");
}

/// A sysctl that someone else has set since is theirs; the link's values are restored whatever they
/// are by now, as with the reference.
#[test]
fn a_sysctl_that_another_set_since_is_left_alone() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    let before = chain.add_before();
    let had = values(&pod);
    let result = chain.try_add_last(&before).ok();
    pod.set_sysctl("net/core/somaxconn", "99");
    pod.run("ip link set eth0 mtu 1300");
    chain.last().del(Some(&result));
    assert_eq!(pod.sysctl("net/core/somaxconn"), "99");
    assert_eq!(pod.link("eth0").unwrap()["mtu"].to_string(), had[1]);
}

#[test]
fn del_works_with_a_configuration_that_became_invalid() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = tuned(&node, &pod, &all_keys());
    let before = chain.add_before();
    let had = values(&pod);
    chain.try_add_last(&before).ok();
    let broken = json!({"mtu": -1, "mac": "zz", "sysctl": {"kernel.hostname": "x"}, "promisc": 7});
    chain.last().clone().with(&broken).del(None);
    assert_eq!(values(&pod), had);
}
