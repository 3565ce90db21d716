//! Calls of the executable: the commands, and broken configurations.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Net, ours};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn call(net: &Net, command: &str, id: &str, more: Value) -> Answer {
    let mut conf = net.conf();
    conf["cniVersion"] = json!("1.1.0");
    conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    net.call_with(&mut Command::new(ours()), command, id, "", &conf)
}

fn dual() -> Net {
    Net::new(&json!({"ranges": [[{"subnet": "10.0.0.0/29"}], [{"subnet": "fd00::/64"}]]}))
}

#[test]
fn results_of_every_version() {
    for (n, version) in
        ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"].into_iter().enumerate()
    {
        let net = Net::new(&json!({
            "ranges": [[{"subnet": "10.0.0.0/29"}], [{"subnet": "fd00::/64"}]],
            "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}],
        }));
        let mut conf = net.conf();
        conf["cniVersion"] = json!(version);
        let answer = net.call_with(&mut Command::new(ours()), "ADD", "c", "", &conf);
        assert_eq!(answer.document["cniVersion"], version);
        if n < 2 {
            assert_eq!(answer.document["ip4"]["ip"], "10.0.0.2/29");
            assert_eq!(answer.document["ip6"]["gateway"], "fd00::1");
        } else {
            assert_eq!(answer.addresses(), ["10.0.0.2", "fd00::2"]);
            assert_eq!(answer.document["ips"][0].get("version").is_some(), n < 5);
            assert_eq!(answer.document["routes"][0]["mtu"], 1400);
        }
    }
}

#[test]
fn check_compares_with_prev_result() {
    let net = dual();
    call(&net, "ADD", "a", json!({})).addresses();
    let prev = |ips: &[&str]| {
        let ips: Vec<Value> = ips.iter().map(|ip| json!({ "address": ip })).collect();
        json!({"prevResult": {"cniVersion": "1.1.0", "ips": ips}})
    };
    for ips in [&[][..], &["10.0.0.2/29", "fd00::2/64"], &["192.0.2.1/24"]] {
        let answer = call(&net, "CHECK", "a", prev(ips));
        assert!(answer.is_ok(), "{ips:?}: {answer:?}");
    }
    for (ips, named) in [
        (&["10.0.0.3/29", "fd00::2/64"][..], "prevResult has 10.0.0.3"),
        (&["10.0.0.2/29"], "fd00::2 is leased to it, but not in prevResult"),
    ] {
        let answer = call(&net, "CHECK", "a", prev(ips));
        assert_eq!(answer.document["code"], 101);
        assert!(answer.error().contains(named), "{answer:?}");
    }
    fs::remove_file(net.dir().join("10.0.0.2")).unwrap();
    let answer = call(&net, "CHECK", "a", prev(&["10.0.0.2/29", "fd00::2/64"]));
    assert!(answer.error().contains("10.0.0.2"), "{answer:?}");
    let gone = call(&net, "CHECK", "b", json!({})).error();
    assert!(gone.starts_with("host-local: Failed to find address added by container b"), "{gone}");
}

#[test]
fn del_works_with_a_broken_configuration() {
    let net = dual();
    call(&net, "ADD", "a", json!({})).addresses();
    let data_dir = net.conf()["ipam"]["dataDir"].clone();
    let broken = json!({"ipam": {"dataDir": data_dir, "ranges": "none", "subnet": 5, "routes": {}},
                        "args": 1, "runtimeConfig": [], "prevResult": "x"});
    let answer = call(&net, "DEL", "a", broken);
    assert!(answer.is_ok(), "{answer:?}");
    assert!(net.leases().is_empty());
}

#[test]
fn nothing_is_created_by_questions() {
    let net = dual();
    for command in ["DEL", "STATUS"] {
        assert!(call(&net, command, "a", json!({})).is_ok());
    }
    assert!(!call(&net, "CHECK", "a", json!({})).is_ok());
    let list = json!({"cni.dev/valid-attachments": []});
    assert!(call(&net, "GC", "", list).is_ok());
    assert!(!net.dir().parent().unwrap().exists());
}

#[test]
fn status_tells_the_figures() {
    let net = dual();
    for n in 0..5 {
        assert!(call(&net, "STATUS", "", json!({})).is_ok());
        call(&net, "ADD", &format!("c{n}"), json!({})).addresses();
    }
    assert!(call(&net, "STATUS", "", json!({})).is_ok());
    let mut ipam = net.conf()["ipam"].clone();
    ipam["statusWhenFull"] = json!("not-ready");
    let answer = call(&net, "STATUS", "", json!({ "ipam": ipam }));
    assert_eq!(answer.document["code"], 50);
    let text = "range set 0 (10.0.0.1-10.0.0.6): 5 of 5 addresses leased";
    assert!(answer.error().contains(text), "{answer:?}");
    ipam["statusWhenFull"] = json!("ready");
    assert!(call(&net, "STATUS", "", json!({ "ipam": ipam })).is_ok());
    let add = call(&net, "ADD", "x", json!({}));
    assert_eq!(add.document["code"], 102);
    let text = "failed to allocate for range 0: no IP addresses available in range set: \
                10.0.0.1-10.0.0.6; range set 0 (10.0.0.1-10.0.0.6): 5 of 5 addresses leased";
    assert!(add.error().starts_with(text), "{add:?}");
    assert!(call(&net, "DEL", "c0", json!({})).is_ok());
    assert!(call(&net, "STATUS", "", json!({})).is_ok());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_umask_changes_no_modes() {
    for umask in ["0000", "0027", "0777"] {
        let net = dual();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\""), ours().to_str().unwrap()]);
        net.call_with(&mut shell, "ADD", "c", "", &net.conf()).addresses();
        let above = net.dir().parent().unwrap().to_owned();
        let own = above.join(".ferrule/n");
        for file in ["10.0.0.2", "last_reserved_ip.0", "lock", "../.ferrule/n/index"] {
            assert_eq!(mode(&net.dir().join(file)), 0o600, "{umask}: {file}");
        }
        let folders = [&above, &net.dir(), &above.join(".ferrule"), &own];
        assert_eq!(
            folders.map(|folder| mode(folder.as_path())),
            [0o755, 0o755, 0o755, 0o700],
            "{umask}"
        );
    }
}

#[test]
fn others_may_write_in_no_folder_above_the_leases() {
    let net = dual();
    call(&net, "ADD", "a", json!({})).addresses();
    let above = net.dir().parent().unwrap().to_owned();
    for (was, is) in [(0o777, 0o755), (0o700, 0o700), (0o770, 0o750), (0o1777, 0o1777)] {
        fs::set_permissions(&above, Permissions::from_mode(was)).unwrap();
        assert!(call(&net, "STATUS", "", json!({})).is_ok());
        assert!(call(&net, "CHECK", "a", json!({})).is_ok());
        assert_eq!(mode(&above), is, "{was:o}");
    }
}

#[test]
fn gc_refuses_a_list_with_an_entry_that_names_nothing() {
    let net = dual();
    call(&net, "ADD", "a", json!({})).addresses();
    for torn in [json!({}), json!({"containerID": "a"}), json!({"ifname": "eth0"}), json!(null)] {
        let refused = call(&net, "GC", "", json!({"cni.dev/valid-attachments": [torn]}));
        assert_eq!(refused.document["code"], 7, "{refused:?}");
        assert!(refused.error().contains("containerID or ifname is missing"), "{refused:?}");
    }
    assert_eq!(net.leases().len(), 2);
}

#[test]
fn status_of_a_network_whose_ranges_come_with_add() {
    let net = Net::new(&json!({}));
    assert!(call(&net, "STATUS", "", json!({})).is_ok(), "a runtime gives STATUS no ipRanges");
    let broken = call(&net, "STATUS", "", json!({"ipam": {"subnet": "10.0.0.0/31"}}));
    assert_eq!(broken.document["code"], 7);
}

#[test]
fn gc_releases_what_is_not_listed() {
    let net = dual();
    for id in ["a", "b", "c"] {
        call(&net, "ADD", id, json!({})).addresses();
    }
    fs::write(net.dir().join("10.0.0.6"), "b").unwrap();
    let list = json!({"cni.dev/valid-attachments": [
        {"containerID": "b", "ifname": "eth0"}, {"containerID": "c", "ifname": "eth1"}]});
    let other = net.dir().parent().unwrap().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("10.0.0.2"), "a\r\neth0").unwrap();
    assert!(call(&net, "GC", "", list).is_ok());
    let left: Vec<_> = net.leases().keys().map(ToString::to_string).collect();
    assert_eq!(left, ["10.0.0.3", "10.0.0.6", "fd00::3"]);
    assert!(other.join("10.0.0.2").exists());
    // Without a list nothing is known to be gone.
    assert!(call(&net, "GC", "", json!({})).is_ok());
    assert_eq!(net.leases().len(), 3);
    assert!(call(&net, "GC", "", json!({"cni.dev/valid-attachments": null})).is_ok());
    assert!(net.leases().is_empty());
}

#[test]
fn resolv_conf_is_in_the_result() {
    let net = dual();
    let path = net.dir().parent().unwrap().with_extension("resolv");
    fs::write(&path, "nameserver 192.0.2.3\nsearch example.com\n").unwrap();
    let mut ipam = net.conf()["ipam"].clone();
    ipam["resolvConf"] = json!(path);
    let answer = call(&net, "ADD", "a", json!({ "ipam": ipam }));
    assert_eq!(
        answer.document["dns"],
        json!({"nameservers": ["192.0.2.3"], "search": ["example.com"]})
    );
    ipam["resolvConf"] = json!("/nonexistent");
    let answer = call(&net, "ADD", "b", json!({ "ipam": ipam }));
    assert_eq!(answer.document["code"], 5);
    assert_eq!(net.leases().len(), 2, "nothing is leased when the result cannot be made");
}

#[test]
fn requested_addresses_of_both_families() {
    let net = dual();
    let answer =
        call(&net, "ADD", "a", json!({"runtimeConfig": {"ips": ["fd00::77", "10.0.0.5/8"]}}));
    assert_eq!(answer.addresses(), ["10.0.0.5", "fd00::77"]);
    assert_eq!(answer.document["ips"][1]["address"], "fd00::77/64");
    let none = call(&net, "ADD", "b", json!({"args": {"cni": {"ips": ["10.0.0.7"]}}}));
    assert!(none.error().starts_with("failed to allocate all requested IPs: 10.0.0.7"), "{none:?}");
    assert_eq!(net.leases().len(), 2);
}
