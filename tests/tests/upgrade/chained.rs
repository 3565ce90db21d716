//! Plugins that are chained behind bridge: ADD by one suite, DEL by the other, for each plugin.

use ferrule_tests::chained::Plugin;
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Chain, Node, Pod, conf};
use serde_json::{Value, json};

use crate::{Reference, newest};

ferrule_tests::on_each_chained_plugin! {
    from_the_old_reference_to_ours, from_the_newest_reference_to_ours, from_ours_to_the_old_reference,
    from_ours_to_the_newest_reference, back_and_forth,
}

/// Both suites' calls of one chain.
struct Scene<'a> {
    plugin: &'a Plugin,
    node: Node,
    pod: Pod,
    version: &'static str,
}

impl<'a> Scene<'a> {
    fn new(plugin: &'a Plugin, reference: Reference) -> Self {
        let version = if reference == Reference::Old { "1.0.0" } else { "1.1.0" };
        Self { plugin, node: Node::new(), pod: Pod::new(), version }
    }

    fn chain(&self, by: &Bins) -> Chain<'_> {
        let main = conf::with(&conf::dual(), &json!({"cniVersion": self.version}));
        let chain =
            Chain::new(&self.node, &self.pod, &main, std::slice::from_ref(&self.plugin.keys));
        chain.each(|attachment| attachment.by(by))
    }

    /// The values that the reference restores too: of the pod's link.
    fn link(&self) -> Vec<Value> {
        let link = self.pod.link("eth0").expect("eth0");
        ["address", "mtu", "flags", "promiscuity", "allmulti"].map(|key| link[key].clone()).into()
    }

    /// What is left of the pod: leases, links, and what names its ID, its addresses or a chain of
    /// its own. (Chains that the reference makes for all pods stay.)
    fn traces(&self) -> String {
        let words =
            format!("{}\\|10\\.1\\.0\\.2\\>\\|fd00:1::2\\>\\|CNI-DN-\\|CNI-SN-", self.pod.id());
        let script = format!(
            "{{ nft list ruleset; iptables-save; ip6tables-save; ip -d link; tc qdisc
                ls /run/cni/* /run/ferrule/*; }} 2> /dev/null | grep -e '{words}' || :"
        );
        let (leases, veths) = (self.node.leases(), self.node.veths());
        format!("{}{}{}", leases.join("\n"), veths.join("\n"), self.node.sh(&script))
    }
}

/// ADD by `first`, DEL by `then`: the pod has what it had before the plugin, and nothing is left.
fn taken_over(plugin: &Plugin, reference: Reference, first: &Bins, then: &Bins) {
    let scene = Scene::new(plugin, reference);
    let previous = scene.chain(first).add_before();
    let had = scene.link();
    let result = scene.chain(first).try_add_last(&previous).ok();
    scene.chain(then).last().del(Some(&result));
    assert_eq!(scene.link(), had, "the pod's link after DEL");
    scene.chain(then).del(Some(&result));
    // What the reference does not know of ours goes at GC.
    let ours = scene.chain(&Bins::ours()).each(|attachment| {
        let config = newest(&attachment.config);
        attachment.with(&config)
    });
    ours.links.iter().rev().for_each(|link| drop(link.gc(&[]).ok()));
    assert_eq!(scene.traces(), "");
}

fn from_the_old_reference_to_ours(plugin: &Plugin) {
    taken_over(plugin, Reference::Old, &Bins::old_reference(), &Bins::ours());
}

fn from_the_newest_reference_to_ours(plugin: &Plugin) {
    taken_over(plugin, Reference::Newest, &Bins::reference(), &Bins::ours());
}

fn from_ours_to_the_old_reference(plugin: &Plugin) {
    taken_over(plugin, Reference::Old, &Bins::ours(), &Bins::old_reference());
}

fn from_ours_to_the_newest_reference(plugin: &Plugin) {
    taken_over(plugin, Reference::Newest, &Bins::ours(), &Bins::reference());
}

/// The pod is made by ours, a neighbour by the reference, and each is removed by the other, in one
/// node; the other's things stay meanwhile.
fn back_and_forth(plugin: &Plugin) {
    let (scene, other) = (Scene::new(plugin, Reference::Newest), Pod::new());
    let second = |by: &Bins| {
        let mut chain = scene.chain(by);
        for link in &mut chain.links {
            link.container = other.id().to_owned();
            link.netns = Some(other.netns());
        }
        // Of two pods, one may have a host's port.
        chain.links[1] = chain.links[1].clone().with(&plugin.second);
        chain
    };
    let (ours, theirs) = (Bins::ours(), Bins::reference());
    let one = scene.chain(&ours).add();
    let two = second(&theirs).add();
    scene.chain(&ours).last().check(&one);
    second(&ours).del(Some(&two));
    scene.chain(&ours).last().check(&one);
    let two = second(&ours).add();
    scene.chain(&theirs).del(Some(&one));
    second(&ours).last().check(&two);
    second(&ours).del(Some(&two));
    let ours = scene.chain(&ours);
    ours.links.iter().rev().for_each(|link| drop(link.gc(&[]).ok()));
    assert_eq!(scene.traces(), "");
}

/// Of the reference's portmap, in whose iptables chains the comments name network and container.
#[test]
fn gc_removes_host_ports_of_pods_that_are_not_listed() {
    let plugin = ferrule_tests::chained::portmap();
    let scene = Scene::new(&plugin, Reference::Newest);
    scene.chain(&Bins::reference()).add();
    let left = || scene.node.sh("iptables-save -t nat | grep -c CNI-DN- || :").trim().to_owned();
    let ours = scene.chain(&Bins::ours());
    ours.last().gc(&[(scene.pod.id(), "eth0")]).ok();
    assert_ne!(left(), "0", "a listed pod's stay");
    ours.last().clone().with(&json!({"name": "other"})).gc(&[]).ok();
    assert_ne!(left(), "0", "another network's stay");
    ours.last().gc(&[]).ok();
    assert_eq!(left(), "0");
}
