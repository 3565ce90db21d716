//! GC, and what STATUS says of a configuration.

use ferrule_tests::Pod;
use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use serde_json::json;

use ferrule_tests::chained::{Plugin, Scene};

crate::on_each_plugin! {
    gc_removes_what_is_not_listed_and_nothing_else, gc_without_a_list_changes_nothing,
    gc_of_another_network_leaves_it_alone, gc_of_a_network_that_never_was,
    gc_goes_by_interface_too, gc_after_the_pod_went, status_is_ready,
    status_refuses_a_broken_configuration,
}

fn gc_removes_what_is_not_listed_and_nothing_else(plugin: &Plugin) {
    for lost_record in [false, true] {
        let scene = Scene::new(plugin);
        let result = scene.chain().add();
        let lost = Pod::new();
        let gone = scene.chain_of(&lost);
        let previous = gone.add_before();
        let before = scene.state();
        gone.try_add_last(&previous).ok();
        if lost_record {
            scene.node.sh(&format!(
                "cd /run/ferrule/attachments; rm $(grep -l {} * | grep -v ^bridge-)",
                lost.id()
            ));
        }
        scene.chain().last().gc(&[(scene.pod.id(), "eth0")]).ok();
        let after = scene.state();
        if lost_record {
            // The reference's file of old values names no network: without the record it may be
            // another's.
            let files = ["/run/cni/tuning"];
            assert_same(&before.node.without_files(&files), &after.node.without_files(&files));
        } else {
            before.is(&after);
        }
        scene.chain().check(&result);
    }
}

/// Clients of before the list, as `cnitool gc`, send none: that is no list without members.
fn gc_without_a_list_changes_nothing(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    let before = scene.state();
    scene.chain().last().call("GC", None).run(&scene.node).ok();
    before.is(&scene.state());
    scene.chain().check(&result);
}

fn gc_of_another_network_leaves_it_alone(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    let before = scene.state();
    scene.chain().last().clone().with(&json!({"name": "other"})).gc(&[]).ok();
    before.is(&scene.state());
    scene.chain().check(&result);
}

fn gc_of_a_network_that_never_was(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let before = scene.state();
    scene.chain().last().gc(&[]).ok();
    before.is(&scene.state());
}

/// The same container ID on another interface is another attachment.
fn gc_goes_by_interface_too(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let result = scene.chain().add();
    let routes = json!({"ipam": {"routes": [{"dst": "203.0.113.0/24"}]}});
    let mut second = scene.chain().each(|attachment| attachment.ifname("net1"));
    second.links[0] = second.links[0].clone().with(&routes);
    second.links[1] = second.links[1].clone().with(&plugin.second);
    second.add();
    scene.chain().last().gc(&[(scene.pod.id(), "eth0")]).ok();
    scene.chain().check(&result);
    let records = scene.node.sh("ls /run/ferrule/attachments | grep -vc ^bridge- || :");
    assert_eq!(records.trim(), "1", "the second's record is gone");
}

fn gc_after_the_pod_went(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let before = scene.state();
    let pod = Pod::new();
    scene.chain_of(&pod).add();
    let id = pod.id().to_owned();
    drop(pod);
    let chain = scene.chain();
    chain.links.iter().rev().for_each(|link| drop(link.gc(&[]).ok()));
    assert_same(&before.node, &scene.state().node);
    let left = scene.node.sh(&format!("grep -rl {id} /run /var/lib || :"));
    assert_eq!(left, "", "of {id}");
}

fn status_is_ready(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let before = scene.state();
    scene.chain().last().status().ok();
    before.is(&scene.state());
}

fn status_refuses_a_broken_configuration(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    scene.chain().last().clone().with(&plugin.broken).status().err();
}
