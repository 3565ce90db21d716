//! DEL in every circumstance: what the plugin added is gone, and nothing else.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Pod};
use serde_json::{Value, json};

use ferrule_tests::chained::{Plugin, Scene, State, veth};

crate::on_each_plugin! {
    with_everything_known, twice, without_a_result, with_a_damaged_or_old_result,
    with_a_configuration_that_broke_since, with_malformed_arguments, with_a_lost_record,
    without_a_netns, with_a_netns_that_is_gone, after_the_main_plugins_del,
    after_the_pod_itself_is_gone, with_a_netns_that_is_another_pods, of_what_never_was,
    after_someone_else_removed_parts, another_pods_things_stay,
}

/// A pod of the chain, what there was before the plugin's ADD, and the result.
fn ready(plugin: &Plugin) -> (Scene<'_>, State, Value) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let result = scene.chain().try_add_last(&previous).ok();
    (scene, before, result)
}

/// The plugin's DEL, called so, removes all of it.
#[track_caller]
fn removes_all(plugin: &Plugin, del: impl Fn(Attachment<'_>, &Value)) {
    let (scene, before, result) = ready(plugin);
    del(scene.chain().last().clone(), &result);
    before.is(&scene.state());
    // The pod itself lives on.
    scene.chain().links[0].check(&result_of_the_main(&scene, &result));
}

/// What bridge said, of the chain's result: its own MAC address and MTU in it.
fn result_of_the_main(scene: &Scene<'_>, result: &Value) -> Value {
    let mut result = result.clone();
    let link = scene.pod.link("eth0").expect("eth0");
    let interfaces = result["interfaces"].as_array_mut().into_iter().flatten();
    for interface in interfaces.filter(|interface| interface["name"] == "eth0") {
        interface["mac"] = link["address"].clone();
        interface["mtu"] = link["mtu"].clone();
    }
    result
}

fn with_everything_known(plugin: &Plugin) {
    removes_all(plugin, |attachment, result| attachment.del(Some(result)));
}

fn twice(plugin: &Plugin) {
    removes_all(plugin, |attachment, result| {
        attachment.del(Some(result));
        attachment.del(Some(result));
        attachment.del(None);
        attachment.netns(None).del(None);
    });
}

fn without_a_result(plugin: &Plugin) {
    removes_all(plugin, |attachment, _| attachment.del(None));
}

fn with_a_damaged_or_old_result(plugin: &Plugin) {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.9/24"}});
    for previous in [json!({"cniVersion": "1.0.0", "ips": [{}]}), json!("rubbish"), old, json!({})]
    {
        removes_all(plugin, |attachment, _| attachment.del(Some(&previous)));
    }
}

fn with_a_configuration_that_broke_since(plugin: &Plugin) {
    let rubbish = json!({"runtimeConfig": 7, "args": [], "capabilities": "x", "prevResult": 5});
    for broken in [&plugin.broken, &rubbish] {
        removes_all(plugin, |attachment, result| attachment.with(broken).del(Some(result)));
    }
}

fn with_malformed_arguments(plugin: &Plugin) {
    for args in ["rubbish", "=", "a=b=c;;d", "IgnoreUnknown=perhaps;MAC=none"] {
        removes_all(plugin, |attachment, result| attachment.args(args).del(Some(result)));
    }
}

/// Then DEL goes by the marks; a pod's values of before are in the record alone, or in the
/// reference's file.
fn with_a_lost_record(plugin: &Plugin) {
    for with_result in [true, false] {
        let (scene, before, result) = ready(plugin);
        scene.node.sh("rm -f $(ls -d /run/ferrule/attachments/* | grep -v /bridge-)");
        scene.chain().last().del(with_result.then_some(&result));
        assert_same(&before.node, &scene.state().node);
    }
}

fn without_a_netns(plugin: &Plugin) {
    for (netns, with_result) in [(None, true), (Some(""), false)] {
        let (scene, before, result) = ready(plugin);
        scene.chain().last().clone().netns(netns).del(with_result.then_some(&result));
        assert_same(&before.node, &scene.state().node);
    }
}

fn with_a_netns_that_is_gone(plugin: &Plugin) {
    for path in ["/run/netns/gone", "/proc/self/fd/999"] {
        let (scene, before, result) = ready(plugin);
        scene.chain().last().clone().netns(Some(path)).del(Some(&result));
        assert_same(&before.node, &scene.state().node);
    }
}

/// Runtimes call in the other order; where they do not, or called the main one alone.
fn after_the_main_plugins_del(plugin: &Plugin) {
    for with_result in [true, false] {
        let scene = Scene::new(plugin);
        let before = scene.state();
        let result = scene.chain().add();
        let previous = with_result.then_some(&result);
        scene.chain().links[0].del(previous);
        scene.chain().last().del(previous);
        assert_same(&before.node, &scene.state().node);
    }
}

/// The pod's namespace ended, and the kernel took its links along.
fn after_the_pod_itself_is_gone(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let pod = Pod::new();
    let before = scene.state();
    let chain = scene.chain_of(&pod).each(|attachment| attachment);
    let result = chain.add();
    let chain = chain.each(|attachment| attachment.netns(None));
    drop(pod);
    let gone = || (!scene.node.links().contains(&veth(&result).to_owned())).then_some(());
    ferrule_tests::within(std::time::Duration::from_secs(20), gone).expect("the veth goes");
    chain.del(Some(&result));
    assert_same(&before.node, &scene.state().node);
}

/// The path leads to a pod that lives, of the same chain.
fn with_a_netns_that_is_another_pods(plugin: &Plugin) {
    let (scene, before, result) = ready(plugin);
    let other = Pod::new();
    let others = scene.chain_of(&other);
    let kept = others.add();
    let stale = scene.chain().last().clone().netns(Some(&other.netns()));
    stale.del(Some(&result));
    assert_eq!(other.links(), ["eth0"]);
    others.links[0].clone().del(Some(&kept));
    others.last().del(Some(&kept));
    assert_same(&before.node, &scene.state().node);
}

fn of_what_never_was(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    scene.chain().add_before();
    let before = scene.state();
    scene.chain().last().del(None);
    scene.chain().last().clone().netns(None).del(None);
    before.is(&scene.state());
}

fn after_someone_else_removed_parts(plugin: &Plugin) {
    for script in [
        "nft flush ruleset",
        "rm -rf /run/ferrule",
        "nft flush ruleset; rm -rf /run/ferrule /run/cni",
        "ip link del VETH",
        "ip link del VETH; nft flush ruleset; rm -rf /run/ferrule",
        "ip link set VETH down",
    ] {
        let scene = Scene::new(plugin);
        let before = scene.state();
        let result = scene.chain().add();
        scene.node.sh(&script.replace("VETH", veth(&result)));
        scene.chain().del(Some(&result));
        let left = before.node.difference(&scene.state().node);
        let more: Vec<_> = left.lines().filter(|line| line.contains(" + ")).collect();
        assert!(more.is_empty(), "after `{script}`: {more:#?}");
    }
}

fn another_pods_things_stay(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let other = Pod::new();
    let others = scene.chain_of(&other);
    let kept = others.add();
    let (before, inside) = (scene.state(), ferrule_tests::chained::inside(&other));
    let result = scene.chain().add();
    scene.chain().del(Some(&result));
    assert_same(&before.node, &scene.state().node);
    assert_eq!(ferrule_tests::chained::inside(&other), inside);
    others.check(&kept);
}
