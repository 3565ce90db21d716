//! Plugins that are chained behind bridge, with spoiled configurations: one answer each, and after DEL
//! the node and the pod are as they were.

use ferrule_tests::chained::{Plugin, Scene};
use ferrule_tests::conf::with;
use ferrule_tests::{hostile, long};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::json;

ferrule_tests::on_each_chained_plugin! { spoiled_configurations_do_no_harm }

/// How many calls are made on one pod before its state is compared.
const BATCH: usize = 16;

fn spoiled_configurations_do_no_harm(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let common = json!({"cniVersion": "1.1.0", "name": "pods", "prevResult": previous,
        "runtimeConfig": {"mac": "02:00:00:00:00:07"}, "args": {"cni": {"mtu": 1350}}});
    let document = with(&common, &plugin.keys);
    let commands = select(&["ADD", "ADD", "ADD", "CHECK", "DEL"][..]);
    let calls = prop::collection::vec((commands, hostile::spoiled(document)), BATCH);
    let cases = if long() { 100 } else { 6 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&calls, |calls| {
        for (command, stdin) in &calls {
            let mut call = scene.chain().last().call(command, None);
            call.stdin.clone_from(stdin);
            // Every answer is held against the protocol.
            call.run(&scene.node);
        }
        // A spoiled name is another network's, and dataDir or runDir may be anywhere.
        for (_, stdin) in calls.iter().filter(|(command, _)| *command == "ADD") {
            let mut call = scene.chain().last().call("DEL", None);
            call.stdin.clone_from(stdin);
            call.run(&scene.node);
        }
        scene.chain().last().del(None);
        let difference = before.difference(&scene.state());
        // Folders that were asked for stay.
        let odd = |line: &&str| !line.starts_with("files + ") || line.contains(scene.pod.id());
        let left: Vec<_> = difference.lines().filter(odd).collect();
        prop_assert!(left.is_empty(), "{left:#?}");
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}
