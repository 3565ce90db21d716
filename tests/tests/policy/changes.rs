//! Packets of every protocol between pods of one bridge, through a sequence of changes.

use crate::site::{Probe, Site, app};
use serde_json::json;

const ALL: [Probe; 4] = [Probe::Tcp(8080), Probe::Tcp(9090), Probe::Udp(5353), Probe::Ping];

#[test]
fn packets_follow_each_change() {
    let site = Site::new();
    let (web, one, two) =
        (site.pod("shop", "web"), site.pod("shop", "one"), site.pod("other", "two"));
    let expect = |passing: &[Probe], from| {
        for probe in ALL {
            site.expect(from, &web, probe, passing.contains(&probe));
        }
    };
    expect(&ALL, &one);
    // Nothing comes in.
    site.policy("shop", "web", &json!({"podSelector": app("web"), "policyTypes": ["Ingress"]}));
    expect(&[], &one);
    expect(&[], &two);
    site.expect(&web, &one, Probe::Tcp(8080), true);
    // One port from one pod, by its name.
    let from_one = json!([{"podSelector": app("one")}]);
    site.policy(
        "shop",
        "web",
        &json!({
            "podSelector": app("web"),
            "ingress": [{"from": from_one, "ports": [{"port": "web"}]}],
        }),
    );
    expect(&[Probe::Tcp(8080)], &one);
    expect(&[], &two);
    // A second policy admits more.
    site.policy("shop", "more", &json!({
        "podSelector": {},
        "ingress": [{"ports": [{"port": 5353, "protocol": "UDP"}, {"port": 9000, "endPort": 9100}]}],
    }));
    expect(&[Probe::Tcp(8080), Probe::Tcp(9090), Probe::Udp(5353)], &one);
    expect(&[Probe::Tcp(9090), Probe::Udp(5353)], &two);
    // Another namespace, everything.
    site.policy(
        "shop",
        "more",
        &json!({
            "podSelector": app("web"),
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels":
                {"kubernetes.io/metadata.name": "other"}}}]}],
        }),
    );
    expect(&ALL, &two);
    expect(&[Probe::Tcp(8080)], &one);
    // Addresses but for one.
    let ours = one.addresses[0];
    site.policy("shop", "more", &json!({
        "podSelector": app("web"),
        "ingress": [{"from": [
            {"ipBlock": {"cidr": "10.1.0.0/24", "except": [format!("{ours}/32")]}},
            {"ipBlock": {"cidr": "fd00:1::/64", "except": [format!("{}/128", one.addresses[1])]}},
        ]}],
    }));
    expect(&ALL, &two);
    expect(&[Probe::Tcp(8080)], &one);
    site.no_policy("shop", "web");
    expect(&[], &one);
    site.no_policy("shop", "more");
    expect(&ALL, &one);
}

#[test]
fn what_goes_out_needs_both_ends() {
    let site = Site::new();
    let (web, one) = (site.pod("shop", "web"), site.pod("shop", "one"));
    site.policy(
        "shop",
        "out",
        &json!({
            "podSelector": app("one"), "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": app("web")}], "ports": [{"port": 8080}]}],
        }),
    );
    site.expect(&one, &web, Probe::Tcp(9090), false);
    site.expect(&one, &web, Probe::Tcp(8080), true);
    site.expect(&one, &web, Probe::Ping, false);
    site.policy(
        "shop",
        "in",
        &json!({
            "podSelector": app("web"), "ingress": [{"ports": [{"port": 9090}]}],
        }),
    );
    site.expect(&one, &web, Probe::Tcp(8080), false);
    site.expect(&one, &web, Probe::Tcp(9090), false);
    site.policy(
        "shop",
        "in",
        &json!({
            "podSelector": app("web"), "ingress": [{"from": [{"podSelector": app("one")}]}],
        }),
    );
    site.expect(&one, &web, Probe::Tcp(8080), true);
    site.expect(&one, &web, Probe::Udp(8080), false);
}
