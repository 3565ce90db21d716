//! The sample of a chained plugin, crates/attach/examples/macguard.rs, in a real kernel: what it adds
//! is its own, and no other plugin's. Needs root, iproute2 and nftables.
// Clippy's allow-unwrap-in-tests knows functions with #[test], not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../kernel/common.rs"]
#[allow(dead_code)]
mod common;
#[path = "../../examples/macguard.rs"]
mod macguard;

use attach::{Item, Kernel, Macspoof, Maker, Rule, Teardown};
use cni::{Attachment, Command, Env, NetConf, Plugin, Request};
use common::{in_netns, sh};
use macguard::Macguard;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::Path;

const MAC: &str = "0a:58:0a:01:00:02";
const HOST: &str = "veth0123456789a";

/// A call for container `c1`, as the runtime would make it.
fn call(command: &str, run_dir: &Path, keys: &Value) -> Request {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "macguard",
        "runDir": run_dir, "prevResult": {"cniVersion": "1.1.0", "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:01"},
            {"name": HOST, "mac": "fe:00:00:00:00:01"},
            {"name": "eth0", "mac": MAC, "sandbox": "/proc/self/ns/net"}]}});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let stdin = conf.to_string().into_bytes();
    let var = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => command,
            "CNI_CONTAINERID" => "c1",
            "CNI_IFNAME" => "eth0",
            "CNI_NETNS" => "/proc/self/ns/net",
            "CNI_PATH" => "/nowhere",
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let env = Env::read(command, &var).unwrap();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), env.command).unwrap();
    Request { env, conf, stdin }
}

fn attachment() -> Attachment {
    Attachment::new("pods", "c1", "eth0")
}

/// Comments of all elements, sorted.
fn comments() -> Vec<String> {
    let rules = sh("nft list ruleset | grep -o 'comment \"[^\"]*\"' || true");
    let mut found: Vec<_> = rules.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(str::to_owned).collect()
}

/// What the main plugin has for the same attachment, on another port.
fn main_plugins() -> String {
    let comment = Maker::Main.comment(&attachment());
    let port = "vethmain".to_owned();
    let rule = Macspoof { port, mac: attach::Mac([2, 0, 0, 0, 0, 9]), comment: comment.clone() };
    let mut kernel = Kernel::open(None).unwrap();
    kernel.apply(&[Item::Rule(Rule::Macspoof(rule))], &mut Vec::new()).unwrap();
    comment
}

/// Runs a test with a folder for records, in a network namespace with the main plugin's rule.
fn behind_a_main_plugin(test: impl FnOnce(&Path, String) + Send + 'static) {
    in_netns(|| {
        let dir = tempfile::tempdir().unwrap();
        let main = main_plugins();
        test(dir.path(), main);
    });
}

#[test]
fn add_gives_the_result_on_and_check_sees_what_it_made() {
    behind_a_main_plugin(|dir, main| {
        let add = call("ADD", dir, &json!({}));
        let result = Macguard.add(&add).unwrap();
        assert_eq!(Some(&result), add.conf.prev_result.as_ref());
        let own = Maker::Chained("macguard").comment(&attachment());
        assert!(own.starts_with("ferrule.macguard "));
        assert_eq!(comments(), [main, own]);
        let check = call("CHECK", dir, &json!({}));
        Macguard.check(&check).unwrap();
        sh("nft flush ruleset");
        let error = Macguard.check(&check).unwrap_err();
        assert!(error.to_string().contains("MAC spoofing check"), "{error}");
        // A repeated ADD mends it.
        Macguard.add(&add).unwrap();
        Macguard.check(&check).unwrap();
    });
}

#[test]
fn del_and_gc_remove_its_own_and_nothing_else_with_and_without_its_record() {
    for (command, lost) in [("DEL", false), ("DEL", true), ("GC", false), ("GC", true)] {
        behind_a_main_plugin(move |dir, main| {
            Macguard.add(&call("ADD", dir, &json!({}))).unwrap();
            let records = dir.join("attachments");
            let record = records.join(format!("macguard-{}", attachment().hash()));
            assert!(record.is_file());
            if lost {
                std::fs::remove_file(&record).unwrap();
            }
            // DEL needs no configuration that is valid, nor a result.
            let keys = json!({"cni.dev/valid-attachments": [], "prevResult": null});
            let request = call(command, dir, &keys);
            match request.env.command {
                Command::Gc => Macguard.gc(&request).unwrap(),
                _ => Macguard.del(&request).unwrap(),
            }
            assert_eq!(comments(), [main], "{command}, record lost: {lost}");
            assert_eq!(std::fs::read_dir(&records).unwrap().count(), 0);
        });
    }
}

#[test]
fn the_main_plugins_del_and_gc_leave_it_alone() {
    behind_a_main_plugin(|dir, _| {
        Macguard.add(&call("ADD", dir, &json!({}))).unwrap();
        let own = Maker::Chained("macguard").comment(&attachment());
        let main = Teardown { maker: Maker::Main, run_dir: dir.to_owned(), foreign: None };
        attach::del(&call("DEL", dir, &json!({})), &main).unwrap();
        assert_eq!(comments(), [own.as_str()]);
        let keys = json!({"cni.dev/valid-attachments": []});
        attach::gc(&call("GC", dir, &keys), &main).unwrap();
        assert_eq!(comments(), [own]);
        Macguard.check(&call("CHECK", dir, &json!({}))).unwrap();
    });
}

#[test]
fn a_result_that_does_not_fit_is_refused_before_anything_is_made() {
    behind_a_main_plugin(|dir, main| {
        let bare = json!({"prevResult": {"cniVersion": "1.1.0", "interfaces": []}});
        for (keys, wanted) in [
            (bare, "prevResult has no interface of the pod"),
            (json!({"prevResult": null}), "Required prevResult missing"),
        ] {
            let error = Macguard.add(&call("ADD", dir, &keys)).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (7, wanted));
        }
        assert_eq!(comments(), [main]);
        assert!(!dir.join("attachments").exists());
    });
}
