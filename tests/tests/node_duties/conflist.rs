//! When the conflist is written, and what becomes of what others put into it.

use crate::scene::{CONFLIST, LIMIT, Scene, bridge, said, types};
use ferrule_tests::Pod;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::within;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn it_appears_with_the_nodes_cidrs_once_its_routes_are_made_and_serves_pods() {
    let mut scene = Scene::new(&bridge(), "");
    scene.list(&["two"]);
    scene.start();
    let waits = |(ready, text): &(bool, String)| !ready && text.contains("not in the node set");
    within(LIMIT, || scene.ready().filter(waits)).expect("not ready");
    let status = scene.member().status_when(|status| status["source"]["nodes"] == 1);
    assert!(status["conflist"]["waits"].as_str().unwrap().contains("not in the node set"));
    assert!(scene.get("/healthz").unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(scene.conflist(), None, "the runtime begins no pod yet");
    scene.list(&["one", "two"]);
    let list = scene.conflist_when(|_| true);
    let ranges = json!([[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]]);
    assert_eq!(list["plugins"][0]["ipam"]["ranges"], ranges);
    within(LIMIT, || scene.ready().filter(|(ready, _)| *ready)).expect("ready");
    assert!(scene.member().node.run("ip route show proto 118").contains("10.244.2.0/24"));
    let pod = Pod::new();
    let result: Value = serde_json::from_str(&scene.add(&pod)).unwrap();
    let address = result["ips"][0]["address"].as_str().unwrap();
    assert!(address.starts_with("10.244.1."), "{address}");
    ping(&pod, "10.244.1.1");
    let status = scene.member().status_when(|status| status["conflist"]["path"] == CONFLIST);
    assert_eq!(status["conflist"]["waits"], Value::Null);
    scene.del(&pod);
}

/// A plugin that another program appended stays through all that happens to the rest.
#[test]
fn another_programs_plugin_stays_when_cidrs_and_template_change() {
    let mut scene = Scene::new(&bridge(), "");
    scene.start();
    let mut list = scene.conflist_when(|_| true);
    // As istio-cni and linkerd-cni do it: the whole file anew.
    list["plugins"].as_array_mut().unwrap().push(json!({"type": "tuning", "mine": [1]}));
    list["plugins"][0]["hairpinMode"] = true.into();
    scene.replace(CONFLIST, &list.to_string());
    let status = scene.member().status_when(|status| said(status).contains("put there: tuning"));
    assert!(said(&status).contains("hairpinMode is true there and absent in the template"));
    assert!(status["problems"].as_array().unwrap().is_empty(), "{status:#}");
    let nodes = scene.member().node.read("/run/nodes.toml");
    scene.member().write_nodes(&nodes.replace("10.244.1.0/24", "10.244.9.0/24"));
    let changed = scene.conflist_when(|list| list.to_string().contains("10.244.9.0/24"));
    assert_eq!(types(&changed), ["bridge", "tuning"]);
    assert_eq!(changed["plugins"][0]["hairpinMode"], true);
    let mut template = bridge();
    template["plugins"].as_array_mut().unwrap().push(json!({"type": "portmap",
        "capabilities": {"portMappings": true}}));
    scene.template(&template);
    let changed = scene.conflist_when(|list| list["plugins"][2].is_object());
    assert_eq!(types(&changed), ["bridge", "portmap", "tuning"]);
    assert_eq!(changed["plugins"][2], json!({"type": "tuning", "mine": [1]}));
    let pod = Pod::new();
    scene.add(&pod);
    ping(&pod, "10.244.9.1");
    scene.del(&pod);
    // Removed, it comes back; broken, it is kept aside.
    scene.member().node.run(&format!("rm {CONFLIST}"));
    scene.conflist_when(|list| types(list) == ["bridge", "portmap"]);
    scene.replace(CONFLIST, "{ broken");
    let status = scene.member().status_when(|status| said(status).contains("were replaced"));
    let kept = "/var/lib/ferrule/10-ferrule.conflist.replaced";
    assert!(said(&status).contains(kept), "{status:#}");
    assert_eq!(scene.member().node.read(kept), "{ broken");
    scene.conflist_when(|list| types(list) == ["bridge", "portmap"]);
}

#[test]
fn a_template_that_is_invalid_is_named_and_changes_nothing() {
    let mut scene = Scene::new(&bridge(), "");
    scene.start();
    let before = scene.conflist_when(|_| true);
    let mut template = bridge();
    template["plugins"][0]["type"] = json!(7);
    scene.template(&template);
    scene.member().status_when(|status| {
        said(status).contains("plugins[0].type is 7: write the name of the plugin's executable")
    });
    assert_eq!(scene.conflist(), Some(before.clone()));
    scene.kill();
    scene.start();
    let waits = |(ready, text): &(bool, String)| !ready && text.contains("type is 7");
    within(LIMIT, || scene.ready().filter(waits)).expect("not ready");
    assert_eq!(scene.conflist(), Some(before));
    scene.template(&bridge());
    within(LIMIT, || scene.ready().filter(|(ready, _)| *ready)).expect("ready");
}

#[test]
fn other_networks_are_named_and_left_alone() {
    let mut scene = Scene::new(&bridge(), "");
    scene.start();
    scene.conflist_when(|_| true);
    scene.replace("/run/net.d/99-last.conf", "{}");
    scene.member().status_when(|status| said(status).contains("/run/net.d also has 99-last.conf"));
    scene.replace("/run/net.d/05-first.conflist", "{}");
    let status = scene.member().status_when(|status| {
        said(status).contains("the runtime uses /run/net.d/05-first.conflist instead")
    });
    assert_eq!(status["problems"][0]["what"], "other networks");
    assert!(scene.member().node.exists("/run/net.d/05-first.conflist"));
    scene.member().node.run("rm /run/net.d/05-first.conflist");
    scene.member().status_when(|status| status["problems"].as_array().unwrap().is_empty());
}

/// SIGKILL at any moment: what the runtime reads is a whole conflist, with what others put there.
#[test]
fn killed_at_any_moment_it_leaves_no_half_file_and_loses_nothing() {
    let mut scene = Scene::new(&bridge(), "");
    scene.start();
    let mut list = scene.conflist_when(|_| true);
    list["plugins"].as_array_mut().unwrap().push(json!({"type": "x", "long": "y".repeat(5000)}));
    scene.replace(CONFLIST, &list.to_string());
    let forms = [1500, 1400].map(|mtu| {
        let mut template = bridge();
        template["plugins"][0]["mtu"] = mtu.into();
        template
    });
    let rounds = if ferrule_tests::long() { 100 } else { 16 };
    let in_force = |scene: &Scene, form: &Value| {
        scene.conflist_when(|list| list["plugins"][0]["mtu"] == form["plugins"][0]["mtu"])
    };
    for round in 0..rounds {
        let form = &forms[round % 2];
        scene.template(form);
        std::thread::sleep(Duration::from_millis(20 + 3 * (round as u64 / 2)));
        scene.kill();
        let list = scene.conflist().expect("it is always there");
        assert_eq!(types(&list), ["bridge", "x"], "round {round}");
        scene.start();
        let list = in_force(&scene, form);
        assert_eq!(types(&list), ["bridge", "x"], "round {round}");
        assert_eq!(list["plugins"][1]["long"].as_str().map(str::len), Some(5000));
        within(LIMIT, || scene.ready().filter(|(ready, _)| *ready)).expect("ready");
        let names = scene.member().node.run("ls -A /run/net.d");
        assert_eq!(names.trim(), "10-ferrule.conflist", "round {round}");
    }
    let kept = "/var/lib/ferrule/10-ferrule.conflist.replaced";
    assert!(!scene.member().node.exists(kept), "{}", scene.member().log());
}
