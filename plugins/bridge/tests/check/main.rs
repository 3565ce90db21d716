//! CHECK sees each single thing that an ADD made: a plan of the bridge plugin is applied in
//! network namespaces, and then each of its items is altered alone, in every way that the tests of
//! crate `attach` know. Needs root, iproute2 and nftables.
// Clippy's allow-unwrap-in-tests knows functions with #[test], not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../../../crates/attach/tests/kernel/alter.rs"]
mod alter;
#[path = "../../../../crates/attach/tests/kernel/common.rs"]
#[allow(dead_code)]
mod common;

use alter::{alterations, names_it};
use attach::{Item, Kernel, Names, Rule};
use bridge::Config;
use bridge::plan::{bridge, complete, last, layer3, link, up};
use cni::{Attachment, CniResult, Ip, Route};
use common::{Pod, in_netns};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Everything at once that goes together.
fn rich() -> Config {
    Config {
        bridge: "cni0".to_owned(),
        gateway: true,
        default_gateway: true,
        force_address: false,
        address_protocol: 0,
        masquerade: true,
        exclude: vec![],
        mtu: Some(1400),
        metric: None,
        hairpin: true,
        promiscuous: false,
        vlan: None,
        trunk: Vec::new(),
        keep_default_vlan: false,
        macspoof: true,
        dad: false,
        pod_up: true,
        isolated: true,
        accept_ra: false,
        mac: None,
        run_dir: PathBuf::from("/run/ferrule"),
    }
}

fn ip(text: &str) -> Ip {
    Ip { interface: None, address: text.parse().unwrap(), gateway: None }
}

fn route(text: &str) -> Route {
    Route::new(text.parse().unwrap(), None)
}

fn from_ipam() -> CniResult {
    let routes = vec![
        Route { mtu: Some(1300), advmss: Some(1200), priority: Some(50), ..route("10.9.0.0/16") },
        Route { table: Some(1000), ..route("10.8.0.0/16") },
        Route { table: Some(1000), mtu: Some(1300), ..route("fd09::/32") },
    ];
    let ips = vec![ip("10.1.0.2/24"), ip("fd00:1::2/64"), ip("fd00:2::2/64")];
    CniResult { ips, routes, ..CniResult::default() }
}

fn plan_of(config: &Config, from_ipam: Option<CniResult>) -> Vec<Item> {
    let names = Names::of(&Attachment::new("pods", "c1", "eth0"), config.mac, config.mtu);
    let mut items = bridge(config);
    items.extend(link(config, &names));
    let layer3 = |result: &CniResult| layer3(config, &names, result);
    let completed = from_ipam.map(|result| complete(config, result, 2).unwrap());
    let result = completed.clone().unwrap_or_default();
    items.extend(up(config, &names, &result));
    items.extend(completed.iter().flat_map(layer3));
    items.extend(last(config, &names, &result));
    items
}

/// Alters every item of a plan in every way, each in namespaces of its own.
fn every_alteration_is_named(items: &[Item]) {
    for (index, item) in items.iter().enumerate() {
        let all = alterations(item);
        assert!(!all.is_empty(), "{item}");
        for alteration in all {
            let items = items.to_vec();
            in_netns(move || names_it(&items, index, &alteration));
        }
    }
}

/// The kinds of items, by their first words.
fn kinds(items: &[Item]) -> BTreeSet<&'static str> {
    let kind = |item: &Item| match item {
        Item::Bridge(_) => "bridge",
        Item::VlanDevice(..) => "VLAN device",
        Item::Veth(_) => "veth",
        Item::Port(_) => "port",
        Item::Vlans(_) => "VLANs",
        Item::Sysctl(_) => "sysctl",
        Item::Up(..) | Item::UpAs(..) => "up",
        Item::Address(..) => "address",
        Item::Route(_) => "route",
        Item::Gateway(_) => "gateway",
        Item::SubnetRoute(_) => "subnet route",
        Item::Forwarding(_) => "forwarding",
        Item::Rule(Rule::Masquerade(_)) => "masquerade",
        Item::Rule(Rule::Macspoof(_)) => "macspoof",
        Item::Rule(Rule::Rpfilter(_) | Rule::Forwarded(_))
        | Item::PodGateway(..)
        | Item::HostRoute(_)
        | Item::Neighbour(_) => "routed",
        Item::Setting(_) => "setting",
        Item::Rule(Rule::HostPorts(_)) => "host ports",
        Item::Ifb(_) | Item::RateLimit(_) | Item::Redirect(_) => "limits",
    };
    items.iter().map(kind).collect()
}

#[test]
fn each_noun_of_a_rich_plan_is_named_when_it_is_altered() {
    let items = plan_of(&rich(), Some(from_ipam()));
    assert_eq!(kinds(&items).len(), 11, "all but those of VLANs: {items:#?}");
    every_alteration_is_named(&items);
}

#[test]
fn each_noun_of_gateways_outside_the_subnets_is_named() {
    let outside = |subnet: &str, gateway: &str| Ip { gateway: gateway.parse().ok(), ..ip(subnet) };
    let ips = vec![outside("10.1.0.2/24", "10.8.0.1"), outside("fd00:1::2/64", "fe80::1")];
    let on_link = Route { scope: Some(253), ..route("169.254.169.254/32") };
    let result = CniResult { ips, routes: vec![on_link], ..CniResult::default() };
    let items = plan_of(&Config { metric: Some(500), ..rich() }, Some(result));
    assert!(kinds(&items).contains("subnet route"), "{items:#?}");
    every_alteration_is_named(&items);
}

#[test]
fn each_noun_of_a_network_without_addresses_is_named() {
    let config = Config {
        gateway: false,
        default_gateway: false,
        masquerade: false,
        macspoof: false,
        mtu: None,
        hairpin: false,
        promiscuous: true,
        isolated: false,
        dad: true,
        ..rich()
    };
    every_alteration_is_named(&plan_of(&config, None));
}

/// Whether this kernel can make an item; what it says where it cannot.
fn refusal(items: Vec<Item>) -> Option<String> {
    in_netns(move || {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        let error = kernel.apply(&items, &mut Vec::new()).err()?;
        Some(format!("{}: {}", error.summary(), error.cause()))
    })
}

#[test]
fn each_noun_of_a_network_with_vlans_is_named_or_refused() {
    let config = Config { vlan: Some(100), trunk: vec![7, 8], ..rich() };
    let items = plan_of(&config, Some(from_ipam()));
    assert_eq!(kinds(&items).len(), 13, "{items:#?}");
    match refusal(items.clone()) {
        None => every_alteration_is_named(&items),
        Some(text) => assert!(text.contains("VLAN") && text.contains("CONFIG_"), "{text}"),
    }
}
