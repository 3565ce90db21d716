//! An ADD that fails leaves nothing, and a second one changes nothing.

use ferrule_tests::node::Place;
use serde_json::{Value, json};

use ferrule_tests::chained::{Plugin, Scene};

crate::on_each_plugin! {
    without_a_result_of_a_plugin_before, what_it_refuses_changes_nothing, a_bad_netns_touches_nothing,
    a_result_without_what_it_needs_leaves_nothing, a_repeated_add_is_one,
    a_repeated_add_with_a_lost_record_is_one, a_run_dir_that_cannot_be_written_changes_nothing,
    an_add_after_a_failed_one_works,
}

/// ADD of the plugin fails, and all is as it was.
#[track_caller]
fn fails(scene: &Scene<'_>, keys: &Value, previous: &Value, code: u64, text: &str) {
    let before = scene.state();
    let attachment = scene.chain().last().clone().with(keys);
    attachment.call("ADD", Some(previous)).run(&scene.node).err().expect(code, text);
    before.is(&scene.state());
}

fn without_a_result_of_a_plugin_before(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    scene.chain().add_before();
    for previous in [Value::Null, json!(null)] {
        fails(&scene, &json!({}), &previous, 7, plugin.alone);
    }
}

fn what_it_refuses_changes_nothing(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    fails(&scene, &plugin.broken, &previous, 7, "");
    fails(&scene, &json!({"runDir": "relative"}), &previous, 7, "runDir");
    fails(&scene, &json!({"cniVersion": "9.9.9"}), &previous, 1, "incompatible CNI versions");
}

fn a_bad_netns_touches_nothing(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let own = scene.node.ns().net_path();
    let before = scene.state();
    for netns in [Some("/run/netns/none"), Some("/etc/passwd"), Some(""), None, own.to_str()] {
        let attachment = scene.chain().last().clone().netns(netns);
        let error = attachment.call("ADD", Some(&previous)).run(&scene.node).err();
        assert_eq!(error.code, 4, "CNI_NETNS={netns:?}: {error:?}");
        before.is(&scene.state());
    }
}

/// Whether a plugin can do without is its own matter; what fails leaves nothing, and what does not
/// ends by DEL.
fn a_result_without_what_it_needs_leaves_nothing(plugin: &Plugin) {
    let others = [
        json!({"cniVersion": "1.0.0"}),
        json!({"cniVersion": "1.0.0", "interfaces": [], "ips": []}),
        json!({"cniVersion": "1.0.0", "interfaces": [{"name": "other", "sandbox": "/x"}],
            "ips": [{"address": "10.1.0.2/24", "interface": 0}]}),
        json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24", "interface": 7}]}),
        json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24"}}),
    ];
    for previous in others {
        let scene = Scene::new(plugin);
        scene.chain().add_before();
        let before = scene.state();
        let outcome = scene.chain().try_add_last(&previous);
        if outcome.code == Some(0) {
            scene.chain().last().del(None);
        }
        before.is(&scene.state());
    }
}

fn a_repeated_add_is_one(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let first = scene.chain().try_add_last(&previous).ok();
    let after = scene.state();
    let second = scene.chain().try_add_last(&previous).ok();
    assert_eq!(first, second);
    after.is(&scene.state());
    scene.chain().check(&second);
    scene.chain().last().del(Some(&second));
    before.is(&scene.state());
}

fn a_repeated_add_with_a_lost_record_is_one(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let first = scene.chain().try_add_last(&previous).ok();
    let after = scene.state();
    scene.node.sh("rm -f $(ls -d /run/ferrule/attachments/* | grep -v /bridge-)");
    let second = scene.chain().try_add_last(&previous).ok();
    assert_eq!(first, second);
    let now = scene.state();
    // What a sysctl was before is in the record alone, so the new one differs.
    let folder = ["/run/ferrule/attachments/"];
    after.without_files(&folder).is(&now.without_files(&folder));
    scene.chain().check(&second);
    scene.chain().last().del(Some(&second));
    ferrule_tests::snapshot::assert_same(&before.node, &scene.state().node);
}

fn a_run_dir_that_cannot_be_written_changes_nothing(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let keys = json!({"runDir": "/proc/nowhere"});
    fails(&scene, &keys, &previous, 5, "cannot write the attachment's record");
}

fn an_add_after_a_failed_one_works(plugin: &Plugin) {
    let scene = Scene::new(plugin);
    let previous = scene.chain().add_before();
    let before = scene.state();
    let broken = scene.chain().last().clone().with(&plugin.broken);
    broken.call("ADD", Some(&previous)).run(&scene.node).err();
    broken.del(None);
    before.is(&scene.state());
    let result = scene.chain().try_add_last(&previous).ok();
    scene.chain().check(&result);
    scene.chain().last().del(Some(&result));
    before.is(&scene.state());
}
