//! Every version of the specification, and keys as people write them.

use ferrule_tests::invoke::merged;
use ferrule_tests::{Bins, Call, Chain, Node, conf};
use serde_json::{Map, Value, json};

use ferrule_tests::chained::{Plugin, Scene};

crate::on_each_plugin! {
    the_versions_are_the_references, every_version_is_served, keys_are_read_in_any_case,
    unknown_keys_are_ignored, what_it_does_not_change_of_a_result_is_passed_on,
}

/// What VERSION says of a suite's executable.
fn versions(bins: &Bins, plugin: &Plugin) -> Vec<String> {
    let kind = plugin.keys["type"].as_str().expect("a type");
    let call =
        Call::new(bins.exe(kind), &json!({"cniVersion": "1.1.0"})).env("CNI_COMMAND", "VERSION");
    let listed = call.run(&Node::new()).ok()["supportedVersions"].clone();
    let listed = listed.as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut listed: Vec<_> = listed.map(str::to_owned).collect();
    listed.sort();
    listed
}

/// Every version that the reference serves; ours may serve more.
fn the_versions_are_the_references(plugin: &Plugin) {
    let (ours, theirs) = (versions(&Bins::ours(), plugin), versions(&Bins::reference(), plugin));
    let missing: Vec<_> = theirs.iter().filter(|version| !ours.contains(version)).collect();
    assert!(missing.is_empty(), "{missing:?} of {theirs:?}");
}

/// The chain with the main plugin, too, in a version.
fn spoken<'a>(scene: &'a Scene<'_>, version: &str, keys: &Value) -> Chain<'a> {
    let main = conf::with(&conf::full(), &json!({"cniVersion": version}));
    Chain::new(&scene.node, &scene.pod, &main, &[merged(&scene.plugin.keys, keys)])
}

fn every_version_is_served(plugin: &Plugin) {
    for version in versions(&Bins::reference(), plugin) {
        let scene = Scene::new(plugin);
        let chain = spoken(&scene, &version, &json!({}));
        let previous = chain.add_before();
        let before = scene.state();
        let result = chain.try_add_last(&previous).ok();
        assert_eq!(result["cniVersion"], json!(version));
        if version.as_str() >= "0.4.0" {
            chain.check(&result);
        }
        chain.last().del(Some(&result));
        before.is(&scene.state());
    }
}

/// Names of members in capitals, but for keys of maps, which are data.
fn capitals(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let members = map.iter().map(|(key, value)| match key.as_str() {
                "sysctl" => (key.to_uppercase(), value.clone()),
                _ => (key.to_uppercase(), capitals(value)),
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(capitals).collect()),
        other => other.clone(),
    }
}

fn keys_are_read_in_any_case(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let mut loud = scene.chain().last().clone();
    loud.config = capitals(&loud.config);
    let result = loud.call("ADD", Some(&previous)).run(&scene.node).ok();
    scene.chain().check(&result);
    loud.check(&result);
    loud.del(Some(&result));
    before.is(&scene.state());
}

fn unknown_keys_are_ignored(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let more = json!({"nobodys": {"a": [1, null]}, "ipam": {}, "capabilities": {"other": true},
        "runtimeConfig": {"other": 1}, "args": {"labels": [{"key": "a", "value": "b"}]}});
    let attachment = scene.chain().last().clone().with(&more);
    let result = attachment.call("ADD", Some(&previous)).run(&scene.node).ok();
    attachment.check(&result);
    scene.chain().check(&result);
}

/// In each version: fields that only others use, too.
fn what_it_does_not_change_of_a_result_is_passed_on(plugin: &Plugin) {
    for version in versions(&Bins::reference(), plugin) {
        let scene = Scene::new(plugin);
        let chain = spoken(&scene, &version, &plugin.quiet);
        let mut previous = chain.add_before();
        previous["dns"] = json!({"nameservers": ["10.0.0.10"], "domain": "d", "search": ["s"]});
        let mut result = chain.try_add_last(&previous).ok();
        // A plugin may add interfaces of its own behind those that there are.
        let interfaces = result.get_mut("interfaces").and_then(Value::as_array_mut);
        if let (Some(before), Some(after)) = (previous["interfaces"].as_array(), interfaces) {
            after.truncate(before.len());
        }
        assert_eq!(result, previous, "{version}");
    }
}
