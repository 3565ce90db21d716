//! What is in force stays in force: without the daemon, through its restarts, and through flushes by others.

use std::time::Duration;

use crate::site::{Probe, Site, app, reaches};
use ferrule_tests::node::Place;
use ferrule_tests::within;
use serde_json::json;

const WEB: Probe = Probe::Tcp(8080);

fn closed(site: &Site) {
    site.policy("shop", "closed", &json!({"podSelector": app("web"), "policyTypes": ["Ingress"]}));
}

#[test]
fn a_flush_by_others_is_mended() {
    let site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    closed(&site);
    site.expect(&one, &web, WEB, false);
    let table = "nft list table inet ferrule-policy";
    let whole = site.node.run("nft -s list table inet ferrule-policy");
    for damage in [
        "flush ruleset",
        "flush chain inet ferrule-policy new4",
        "flush map inet ferrule-policy in6",
    ] {
        site.node.sh(&format!("nft '{damage}'"));
        let mended = || {
            let now = site.node.try_run("nft -s list table inet ferrule-policy").stdout;
            // A flush takes the recorded drops with it.
            let kept = |line: &&str| !line.contains(" . tcp . ");
            let lines = |text: &str| {
                let mut lines: Vec<_> = text.lines().filter(kept).map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            (lines(&now) == lines(&whole)).then_some(())
        };
        let state = || site.node.try_run(table).stdout;
        within(Duration::from_secs(10), mended).unwrap_or_else(|| panic!("{damage}: {}", state()));
        site.expect(&one, &web, WEB, false);
    }
}

#[test]
fn without_the_daemon_policies_stay_and_new_pods_wait() {
    let mut site = Site::with("add-wait = 100");
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    closed(&site);
    site.expect(&one, &web, WEB, false);
    site.kill();
    site.expect(&one, &web, WEB, false);
    site.expect(&web, &one, WEB, true);
    let late = site.pod("shop", "late");
    assert!(!reaches(&late.pod, &one.pod, one.addresses[0], WEB), "nobody has decided on it");
    site.no_policy("shop", "closed");
    site.expect(&one, &web, WEB, false);
    site.start();
    site.expect(&late, &one, WEB, true);
    site.expect(&one, &web, WEB, true);
}

#[test]
fn a_restart_changes_nothing() {
    let mut site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    closed(&site);
    site.expect(&one, &web, WEB, false);
    for _ in 0..3 {
        site.kill();
        site.start();
        for _ in 0..5 {
            assert!(!reaches(&one.pod, &web.pod, web.addresses[0], WEB));
        }
        site.expect(&web, &one, WEB, true);
    }
}

#[test]
fn cleanup_opens_all_and_leaves_what_is_others() {
    let mut site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    closed(&site);
    site.expect(&one, &web, WEB, false);
    site.kill();
    site.node.run("nft add table inet administrator");
    let ours = site.node.try_run("nft list table inet ferrule").stdout;
    site.node.run(&site.command("cleanup"));
    site.expect(&one, &web, WEB, true);
    let tables = site.node.run("nft list tables");
    assert!(!tables.contains("ferrule-policy") && tables.contains("administrator"), "{tables}");
    assert_eq!(site.node.try_run("nft list table inet ferrule").stdout, ours);
    assert!(!site.node.exists("/run/ferrule/policy.json"));
    let bridge = site.node.link("cni0").unwrap();
    assert_eq!(bridge["linkinfo"]["info_data"]["nf_call_iptables"], json!(0));
}

#[test]
fn a_pod_that_goes_leaves_nothing() {
    let site = Site::new();
    closed(&site);
    let one = site.pod("shop", "one");
    let empty = site.node.run("nft -s list map inet ferrule-policy in4");
    let web = site.pod("shop", "web");
    site.expect(&one, &web, WEB, false);
    site.attachment(&web.pod, "shop", "web").del(Some(&web.result));
    let gone = || {
        let now = site.node.run("nft -s list map inet ferrule-policy in4");
        (now == empty).then_some(())
    };
    within(Duration::from_secs(10), gone).expect("no element is left");
}
