//! Plans as data: what the configuration and IPAM's result make of each other.

use super::*;
use crate::config::tests::defaults as config;
use cni::{Attachment, Ip, Route};
use proptest::prelude::*;

fn names(config: &Config) -> Names {
    Names::of(&Attachment::new("pods", "c1", "eth0"), config.mac, config.mtu)
}

fn ip(address: &str, gateway: Option<&str>) -> Ip {
    let gateway = gateway.map(|text| text.parse().unwrap());
    Ip { interface: None, address: address.parse().unwrap(), gateway }
}

fn route(dst: &str, gw: Option<&str>) -> Route {
    Route::new(dst.parse().unwrap(), gw.map(|text| text.parse().unwrap()))
}

fn result(ips: Vec<Ip>, routes: Vec<Route>) -> CniResult {
    CniResult { ips, routes, ..CniResult::default() }
}

fn gateway_of(config: &Config, address: &str) -> Option<String> {
    let completed = complete(config, result(vec![ip(address, None)], vec![]), 2).unwrap();
    completed.ips[0].gateway.map(|gateway| gateway.to_string())
}

#[test]
fn a_gateway_is_the_networks_first_address() {
    let with = Config { gateway: true, ..config() };
    for (address, wanted) in [
        ("10.1.0.5/24", "10.1.0.1"),
        ("10.1.37.5/16", "10.1.0.1"),
        ("10.1.0.254/30", "10.1.0.253"),
        ("10.1.0.5/31", "10.1.0.5"),
        ("fd00:1::5/64", "fd00:1::1"),
        ("fd00:1::1:5/112", "fd00:1::1:1"),
    ] {
        assert_eq!(gateway_of(&with, address).as_deref(), Some(wanted), "{address}");
        assert_eq!(gateway_of(&config(), address), None, "{address}: only where one is wanted");
    }
    for address in ["10.1.0.5/32", "fd00::5/128", "255.255.255.255/32"] {
        let from_ipam = result(vec![ip(address, None)], vec![]);
        let error = complete(&with, from_ipam, 2).unwrap_err();
        assert_eq!(error.code, code::INVALID_CONFIG);
        assert_eq!(error.msg, format!("{address} has no address for a gateway"));
    }
}

#[test]
fn a_gateway_that_ipam_names_stays() {
    for gateway in [true, false] {
        let config = Config { gateway, ..config() };
        let from_ipam = result(vec![ip("10.1.0.5/24", Some("10.1.0.254"))], vec![]);
        let completed = complete(&config, from_ipam, 2).unwrap();
        assert_eq!(completed.ips[0].gateway, "10.1.0.254".parse().ok());
    }
}

#[test]
fn every_address_is_on_the_pods_interface() {
    let from_ipam = result(vec![ip("10.1.0.5/24", None), ip("fd00::5/64", None)], vec![]);
    let completed = complete(&config(), from_ipam, 2).unwrap();
    assert!(completed.ips.iter().all(|ip| ip.interface == Some(2)), "{completed:?}");
    assert_eq!(completed.routes, []);
}

#[test]
fn no_address_is_an_error_of_ipam() {
    let error = complete(&config(), result(vec![], vec![]), 2).unwrap_err();
    assert_eq!(error.msg, "IPAM plugin returned missing IP config");
    assert_eq!(error.code, code::DELEGATE);
}

#[test]
fn ipv6_needs_1280_bytes() {
    let v4 = || ip("10.1.0.5/24", None);
    let v6 = || ip("fd00::5/64", None);
    for (mtu, ips, fine) in [
        (Some(1279), vec![v4(), v6()], false),
        (Some(1279), vec![v6()], false),
        (Some(1279), vec![v4()], true),
        (Some(1280), vec![v4(), v6()], true),
        (None, vec![v6()], true),
    ] {
        let config = Config { mtu, ..config() };
        let done = complete(&config, result(ips, vec![]), 2);
        assert_eq!(done.is_ok(), fine, "{mtu:?}");
        if let Err(error) = done {
            assert_eq!(error.code, code::INVALID_CONFIG);
            assert_eq!(error.msg, "MTU 1279 is too small for the address fd00::5/64");
        }
    }
}

fn default_routes(ips: Vec<Ip>, routes: Vec<Route>) -> Vec<String> {
    let config = Config { gateway: true, default_gateway: true, ..config() };
    let completed = complete(&config, result(ips, routes), 2).unwrap();
    let text = |route: &Route| match route.gw {
        Some(gw) => format!("{} via {gw}", route.dst),
        None => route.dst.to_string(),
    };
    completed.routes.iter().map(text).collect()
}

#[test]
fn a_default_gateway_gives_each_family_one_default_route() {
    let v4 = || ip("10.1.0.5/24", None);
    let v6 = || ip("fd00::5/64", Some("fd00::fe"));
    assert_eq!(default_routes(vec![v4()], vec![]), ["0.0.0.0/0 via 10.1.0.1"]);
    assert_eq!(default_routes(vec![v6()], vec![]), ["::/0 via fd00::fe"]);
    let both = ["0.0.0.0/0 via 10.1.0.1", "::/0 via fd00::fe"];
    assert_eq!(default_routes(vec![v4(), v6()], vec![]), both);
    assert_eq!(default_routes(vec![v6(), v4()], vec![]), both);
    let many = vec![v4(), v6(), ip("fd01::5/64", None), ip("10.2.0.5/24", None)];
    assert_eq!(default_routes(many, vec![]), both);
}

#[test]
fn a_default_route_of_ipams_is_enough() {
    let ips = || vec![ip("10.1.0.5/24", None), ip("fd00::5/64", None)];
    let other = route("10.0.0.0/8", None);
    for own in [route("0.0.0.0/0", None), route("0.0.0.0/0", Some("10.1.0.9"))] {
        let shown = default_routes(ips(), vec![other.clone(), own.clone()]);
        let own = own.gw.map_or("0.0.0.0/0".to_owned(), |gw| format!("0.0.0.0/0 via {gw}"));
        assert_eq!(shown, ["10.0.0.0/8", &own, "::/0 via fd00::1"]);
    }
    let shown = default_routes(ips(), vec![route("::/0", None)]);
    assert_eq!(shown, ["::/0", "0.0.0.0/0 via 10.1.0.1"]);
}

#[test]
fn a_gateway_alone_is_no_default_route() {
    let with = Config { gateway: true, ..config() };
    let completed = complete(&with, result(vec![ip("10.1.0.5/24", None)], vec![]), 2).unwrap();
    assert_eq!(completed.routes, []);
}

/// The routes of a plan, in words.
fn routes(plan: &[Item]) -> Vec<String> {
    let route = |item: &Item| match item {
        Item::Route(route) => Some(route.route.to_string()),
        _ => None,
    };
    plan.iter().filter_map(route).collect()
}

#[test]
fn a_route_without_next_hop_takes_the_first_gateway_of_its_family() {
    let config = config();
    let ips = vec![
        ip("10.1.0.5/24", None),
        ip("10.2.0.5/24", Some("10.2.0.1")),
        ip("10.3.0.5/24", Some("10.3.0.1")),
        ip("fd00::5/64", Some("fd00::1")),
    ];
    let wanted = vec![
        route("10.0.0.0/8", None),
        route("0.0.0.0/0", Some("10.1.0.9")),
        route("fd09::/32", None),
    ];
    let result = result(ips, wanted);
    let plan = layer3(&config, &names(&config), &result);
    let found = routes(&plan);
    assert_eq!(
        found,
        ["10.0.0.0/8 via 10.2.0.1", "0.0.0.0/0 via 10.1.0.9", "fd09::/32 via fd00::1"]
    );
}

#[test]
fn every_field_of_a_route_arrives() {
    let config = config();
    let wanted = Route {
        mtu: Some(1400),
        advmss: Some(1300),
        priority: Some(50),
        table: Some(1000),
        scope: Some(253),
        ..route("10.9.1.2/16", None)
    };
    let plan =
        layer3(&config, &names(&config), &result(vec![ip("10.1.0.5/24", None)], vec![wanted]));
    let mut expected = attach::NetRoute::new("10.9.0.0/16".parse().unwrap(), None, 0);
    (expected.mtu, expected.advmss) = (Some(1400), Some(1300));
    (expected.priority, expected.table, expected.scope) = (50, 1000, Some(253));
    let expected = attach::Route { link: "eth0".to_owned(), route: expected };
    assert!(plan.contains(&Item::Route(expected)), "host bits are gone: {plan:#?}");
}

#[test]
fn with_a_vlan_the_gateway_is_on_a_device_of_its_own() {
    let config = Config { gateway: true, vlan: Some(100), trunk: vec![7, 100], ..config() };
    let names = names(&config);
    let result = result(vec![ip("10.1.0.5/24", Some("10.1.0.1"))], vec![]);
    let plan = layer3(&config, &names, &result);
    let device = Item::VlanDevice("cni0.100".to_owned(), "cni0".to_owned(), 100);
    let at = |wanted: &Item| plan.iter().position(|item| item == wanted);
    let gateway = Item::Gateway(Gateway {
        link: "cni0.100".to_owned(),
        address: "10.1.0.1/24".parse().unwrap(),
        force: false,
        protocol: 0,
    });
    assert!(at(&device).unwrap() < at(&gateway).unwrap());
    // What pods send to that VLAN reaches the node by this device.
    assert!(at(&accept_ra("cni0.100")).unwrap() > at(&device).unwrap());
    let [Item::Bridge(bridge), ..] = &super::bridge(&config)[..] else { panic!() };
    assert!(bridge.vlan_filtering);
    let vlans = vec![
        Vlan { id: 100, pvid: true, untagged: true },
        Vlan { id: 7, pvid: false, untagged: false },
    ];
    let vlans = Item::Vlans(Vlans { link: names.host.clone(), vlans, keep_default: false });
    assert!(link(&config, &names).contains(&vlans));
}

#[test]
fn the_veth_pair_comes_before_what_belongs_to_it() {
    let config = Config { macspoof: true, ..config() };
    let link = link(&config, &names(&config));
    assert!(matches!(link.first(), Some(Item::Veth(_))), "{link:#?}");
}

/// Distinct addresses and routes, and a configuration.
fn scenario() -> impl Strategy<Value = (Config, CniResult)> {
    let flags = prop::collection::vec(any::<bool>(), 10);
    let vlan = prop::option::of(1..=4094_u16);
    let trunk = prop::collection::btree_set(1..=4094_u16, 0..5);
    let ips =
        prop::collection::btree_map((any::<bool>(), 2..99_u8), prop::option::of(100..120_u8), 1..6);
    let routes = prop::collection::btree_map((any::<bool>(), 0..9_u8), any::<bool>(), 0..6);
    (flags, vlan, trunk, ips, routes).prop_map(|(flags, vlan, trunk, ips, routes)| {
        let config = Config {
            gateway: flags[0] || flags[1],
            default_gateway: flags[1],
            force_address: flags[2],
            address_protocol: 0,
            masquerade: flags[3],
            exclude: vec![],
            hairpin: flags[4],
            promiscuous: !flags[4] && flags[5],
            vlan,
            trunk: trunk.into_iter().collect(),
            keep_default_vlan: flags[6],
            macspoof: flags[7],
            dad: flags[8],
            isolated: flags[9],
            ..config()
        };
        // Neighbours in a subnet share its gateway, as in life.
        let net = |v6: bool, host: u8| match v6 {
            true => format!("fd00:{}::{host:x}/64", host / 8),
            false => format!("10.{}.0.{host}/24", host / 8),
        };
        let far = |v6: bool, host: u8, last: u8| {
            net(v6, host).replace(
                &if v6 { format!("::{host:x}/64") } else { format!(".{host}/24") },
                &if v6 { format!("::{last:x}") } else { format!(".{last}") },
            )
        };
        let ips = ips.iter().map(|((v6, host), gateway)| {
            ip(&net(*v6, *host), gateway.map(|last| far(*v6, *host, last)).as_deref())
        });
        let routes = routes.iter().map(|((v6, nth), default)| match (v6, default) {
            (true, true) if *nth == 0 => route("::/0", None),
            (false, true) if *nth == 0 => route("0.0.0.0/0", None),
            (true, _) => route(&format!("fd{nth:02x}:9::/32"), None),
            (false, _) => route(&format!("10.{nth}.128.0/20"), None),
        });
        let result = result(ips.collect(), routes.collect());
        (config, result)
    })
}

proptest! {
    #[test]
    fn a_plan_says_nothing_twice((config, from_ipam) in scenario()) {
        let names = names(&config);
        let result = complete(&config, from_ipam, 2).unwrap();
        let mut plan = bridge(&config);
        plan.extend(link(&config, &names));
        plan.extend(up(&config, &names, &result));
        plan.extend(layer3(&config, &names, &result));
        plan.extend(last(&config, &names, &result));
        for (at, item) in plan.iter().enumerate() {
            prop_assert!(!plan[..at].contains(item), "{item} twice: {plan:#?}");
            let name = item.to_string();
            let same = plan[..at].iter().find(|other| other.to_string() == name);
            prop_assert!(same.is_none(), "two are called {name}: {plan:#?}");
        }
    }

    #[test]
    fn layer3_gives_each_address_its_items((config, from_ipam) in scenario()) {
        let names = names(&config);
        let result = complete(&config, from_ipam, 2).unwrap();
        let plan = layer3(&config, &names, &result);
        let count = |test: &dyn Fn(&Item) -> bool| plan.iter().filter(|item| test(item)).count();
        for ip in &result.ips {
            let address = Item::Address("eth0".to_owned(), ip.address, config.dad);
            prop_assert_eq!(count(&|item| *item == address), 1);
            let masquerade =
                |item: &Item| matches!(item, Item::Rule(Rule::Masquerade(m)) if m.address == ip.address.ip());
            prop_assert_eq!(count(&masquerade), usize::from(config.masquerade));
        }
        prop_assert_eq!(count(&|item| matches!(item, Item::Address(..))), result.ips.len());
        prop_assert_eq!(count(&|item| matches!(item, Item::Route(_))), result.routes.len());
        let forwarding = count(&|item| matches!(item, Item::Forwarding(_)));
        let families = [true, false].into_iter().filter(|v6| {
            config.gateway && result.ips.iter().any(|ip| ip.address.is_ipv6() == *v6)
        });
        prop_assert_eq!(forwarding, families.count());
    }

    /// With IPv6, what decides about its addresses comes before the link; without, the link-local
    /// address begins in the kernel's own time.
    #[test]
    fn addresses_go_without_dad_unless_it_is_wanted((config, from_ipam) in scenario()) {
        let names = names(&config);
        let result = complete(&config, from_ipam, 2).unwrap();
        let plan = [
            link(&config, &names),
            up(&config, &names, &result),
            layer3(&config, &names, &result),
            last(&config, &names, &result),
        ]
        .concat();
        let at = |wanted: &Item| plan.iter().position(|item| item == wanted);
        let pod = Item::UpAs("eth0".to_owned(), names.pod_mac.unwrap());
        let dad = |value| sysctl(Place::Pod, "ipv6/conf/*/accept_dad", "eth0", value, true);
        prop_assert!(at(&pod) < at(&Item::Up(Place::Host, names.host.clone())));
        match (config.dad, uses_v6(&result)) {
            (true, _) => prop_assert!(at(&dad("1")) < at(&pod) && at(&dad("0")).is_none()),
            (false, true) => prop_assert!(at(&dad("0")) < at(&pod) && at(&dad("0")).is_some()),
            (false, false) => prop_assert_eq!(at(&dad("0")), Some(plan.len() - 1)),
        }
    }

    #[test]
    fn completing_twice_is_completing_once((config, from_ipam) in scenario()) {
        let once = complete(&config, from_ipam, 2).unwrap();
        prop_assert_eq!(complete(&config, once.clone(), 2).unwrap(), once);
    }
}
