//! CHECK sees each single thing that is not as ADD made it, and names it.

use ferrule_tests::Pod;
use ferrule_tests::node::Place;

use ferrule_tests::chained::{At, Plugin, Scene, veth};

crate::on_each_plugin! {
    every_single_alteration_is_named, more_than_ours_is_fine, a_missing_result_is_refused,
    check_changes_nothing, what_ended_is_missed,
}

fn every_single_alteration_is_named(plugin: &Plugin) {
    for (at, script, named) in plugin.altered {
        let scene = Scene::new(plugin);
        let result = scene.chain().add();
        scene.chain().check(&result);
        let script = script.replace("VETH", veth(&result));
        match at {
            At::Pod => scene.pod.sh(&script),
            At::Node => scene.node.sh(&script),
        };
        let outcome = scene.chain().last().try_check(&result);
        assert_ne!(outcome.code, Some(0), "CHECK passed after `{script}`");
        let error = outcome.err();
        assert!(error.text().contains(named), "after `{script}`: {error:?} names no {named}");
        assert!(error.code == 101 || error.code == 100, "after `{script}`: {error:?}");
    }
}

/// What others add is none of CHECK's business.
fn more_than_ours_is_fine(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    scene.pod.sh("ip addr add 192.0.2.7/32 dev eth0; ip link add extra type bridge
        ip rule add from 192.0.2.7 table 77; ip route add 203.0.113.0/24 dev eth0");
    scene
        .node
        .sh("nft add table inet other; ip route add 203.0.113.0/24 dev lo; ip neigh flush all
        ip link add more type bridge; ip rule add from 192.0.2.7 table 77");
    let other = Pod::new();
    scene.chain_of(&other).add();
    scene.chain().check(&result);
}

fn a_missing_result_is_refused(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    scene.chain().add();
    let error = scene.chain().last().call("CHECK", None).run(&scene.node).err();
    error.expect(7, "Required prevResult missing");
}

fn check_changes_nothing(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    let before = scene.state();
    scene.chain().check(&result);
    before.is(&scene.state());
}

/// After its DEL, while the pod lives.
fn what_ended_is_missed(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    scene.chain().last().del(Some(&result));
    let error = scene.chain().last().try_check(&result).err();
    assert!(error.code == 101 || error.code == 100, "{error:?}");
}
