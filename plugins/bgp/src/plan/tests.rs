//! Plans as data: what the configuration and IPAM's result make of each other.

use super::*;
use cni::{Ip, code};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn config() -> Config {
    Config {
        masquerade: true,
        exclude: vec![],
        mtu: Some(1400),
        metric: None,
        mac: None,
        accept_ra: false,
        pod_cidrs: ["10.1.0.0/24", "fd00:1::/64"].map(|cidr| cidr.parse().unwrap()).to_vec(),
        run_dir: PathBuf::from("/run/ferrule"),
    }
}

fn names() -> Names {
    config().names(&Attachment::new("pods", "c1", "eth0"))
}

fn ip(text: &str) -> Ip {
    Ip { interface: None, address: text.parse().unwrap(), gateway: "10.1.0.1".parse().ok() }
}

fn route(dst: &str, gw: Option<&str>) -> Route {
    Route::new(dst.parse().unwrap(), gw.map(|gw| gw.parse().unwrap()))
}

fn from_ipam(ips: &[&str], routes: &[(&str, Option<&str>)]) -> CniResult {
    CniResult {
        ips: ips.iter().map(|text| ip(text)).collect(),
        routes: routes.iter().map(|(dst, gw)| route(dst, *gw)).collect(),
        ..CniResult::default()
    }
}

fn texts(result: &CniResult) -> Vec<String> {
    let gw = |route: &Route| route.gw.map(|gw| format!(" {gw}")).unwrap_or_default();
    result.routes.iter().map(|route| format!("{}{}", route.dst, gw(route))).collect()
}

#[test]
fn addresses_stand_alone_and_have_our_gateway() {
    let result = config().complete(from_ipam(&["10.1.0.5/24", "fd00:1::5/64"], &[])).unwrap();
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    assert_eq!(ips, ["10.1.0.5/32", "fd00:1::5/128"]);
    let gateways: Vec<IpAddr> = result.ips.iter().filter_map(|ip| ip.gateway).collect();
    assert_eq!(gateways, [IpAddr::from(GATEWAY4), GATEWAY6.into()]);
    assert!(result.ips.iter().all(|ip| ip.interface == Some(1)));
    assert_eq!(texts(&result), ["0.0.0.0/0 169.254.1.1", "::/0 fe80::1"]);
}

#[test]
fn routes_of_a_family_take_the_place_of_its_default() {
    for (routes, wanted) in [
        (&[("10.0.0.0/8", None)][..], vec!["10.0.0.0/8", "::/0 fe80::1"]),
        (&[("::/0", None)], vec!["::/0", "0.0.0.0/0 169.254.1.1"]),
        (
            &[("0.0.0.0/0", Some("169.254.1.1")), ("fd00::/8", Some("fe80::1"))],
            vec!["0.0.0.0/0 169.254.1.1", "fd00::/8 fe80::1"],
        ),
    ] {
        let from_ipam = from_ipam(&["10.1.0.5/24", "fd00:1::5/64"], routes);
        assert_eq!(texts(&config().complete(from_ipam).unwrap()), wanted);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (ips, routes, mtu, text) in [
        (&[][..], &[][..], 1400, "the IPAM plugin gave no address"),
        (
            &["10.1.0.5/24"],
            &[("10.9.0.0/16", Some("10.1.0.1"))],
            1400,
            "the route to 10.9.0.0/16 is by the gateway 10.1.0.1",
        ),
        (
            &["10.1.0.5/24", "fd00:1::5/64"],
            &[],
            1279,
            "MTU 1279 is too small for the address fd00:1::5/128",
        ),
    ] {
        let config = Config { mtu: Some(mtu), ..config() };
        let error = config.complete(from_ipam(ips, routes)).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (code::INVALID_CONFIG, text));
    }
}

fn plan_of(config: &Config, from_ipam: CniResult) -> Vec<Item> {
    let names = config.names(&Attachment::new("pods", "c1", "eth0"));
    let result = config.complete(from_ipam).unwrap();
    let mut items = config.link(&names);
    items.extend(config.layer3(&names, &result));
    items
}

#[test]
fn the_filter_is_there_before_the_pod_can_send() {
    let items = config().link(&names());
    let at = |wanted: &dyn Fn(&Item) -> bool| items.iter().position(wanted).unwrap();
    let veth = at(&|item| matches!(item, Item::Veth(veth) if veth.bridge.is_none()));
    let filter = at(&|item| matches!(item, Item::Rule(Rule::Rpfilter(_))));
    let up = at(&|item| matches!(item, Item::Up(Place::Pod, _)));
    assert!(veth < filter && filter < up, "{items:#?}");
}

#[test]
fn the_host_has_a_route_to_each_address_and_knows_its_pod() {
    let items = plan_of(&config(), from_ipam(&["10.1.0.5/24", "fd00:1::5/64"], &[]));
    for address in ["10.1.0.5", "fd00:1::5"] {
        let address: IpAddr = address.parse().unwrap();
        let route = |item: &&Item| matches!(item, Item::HostRoute(r) if r.address == address);
        let route = items.iter().find(route).unwrap();
        let Item::HostRoute(route) = route else { panic!() };
        assert_eq!((route.protocol, &route.link), (117, &names().host));
        let known = |item: &Item| {
            matches!(item, Item::Neighbour(n) if n.address == address && n.place == Place::Host
                && !n.permanent && Some(n.mac) == names().pod_mac)
        };
        assert!(items.iter().any(known), "{items:#?}");
    }
    let gateways = items.iter().filter_map(|item| match item {
        Item::Neighbour(n) if n.place == Place::Pod && n.permanent => Some((n.address, n.mac)),
        _ => None,
    });
    let mac = names().host_mac.unwrap();
    let wanted = [(IpAddr::from(GATEWAY4), mac), (GATEWAY6.into(), mac)];
    assert_eq!(gateways.collect::<Vec<_>>(), wanted);
}

/// What is made for a subnet in nf_tables is made once for all pods of a CIDR.
#[test]
fn masquerading_goes_by_the_nodes_cidr() {
    let items = plan_of(&config(), from_ipam(&["10.1.0.5/24", "10.9.0.5/24", "fd00:1::5/64"], &[]));
    let subnets = items.iter().filter_map(|item| match item {
        Item::Rule(Rule::Masquerade(m)) => Some(m.subnet.to_string()),
        _ => None,
    });
    assert_eq!(subnets.collect::<Vec<_>>(), ["10.1.0.0/24", "10.9.0.5/32", "fd00:1::/64"]);
    let off = Config { masquerade: false, ..config() };
    let items = plan_of(&off, from_ipam(&["10.1.0.5/24"], &[]));
    assert!(!items.iter().any(|item| matches!(item, Item::Rule(Rule::Masquerade(_)))));
}

#[test]
fn one_family_asks_for_nothing_of_the_other() {
    for (address, not_of) in [("10.1.0.5/24", "ipv6/conf/all"), ("fd00:1::5/64", "ipv4")] {
        let items = plan_of(&config(), from_ipam(&[address], &[]));
        let wanted = Family::of(address.split('/').next().unwrap().parse().unwrap());
        for item in &items {
            let fine = match item {
                Item::Forwarding(family) => *family == wanted,
                Item::Address(_, address, _) => Family::of(address.ip()) == wanted,
                Item::PodGateway(_, address) => Family::of(address.ip()) == wanted,
                Item::Neighbour(n) => Family::of(n.address) == wanted,
                // Those of the link are there for either.
                Item::Sysctl(sysctl) => sysctl.optional || !sysctl.key.contains(not_of),
                _ => true,
            };
            assert!(fine, "{item} for {address}");
        }
    }
}

/// Distinct addresses, and routes without a gateway.
fn scenario() -> impl Strategy<Value = CniResult> {
    let four = prop::collection::btree_set(any::<u32>(), 0..4);
    let six = prop::collection::btree_set(any::<u128>(), 0..4);
    let routes = prop::collection::btree_set((any::<u32>(), 0_u8..=32), 0..4);
    (four, six, routes).prop_filter_map("no address", |(four, six, routes)| {
        let four = four.into_iter().map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
        let six = six.into_iter().map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
        let net = |address| IpNetwork::new(address, 24).unwrap();
        let ips: Vec<Ip> = four
            .chain(six)
            .map(|address| Ip { interface: None, address: net(address), gateway: None })
            .collect();
        let nets: BTreeSet<IpNetwork> = routes
            .into_iter()
            .map(|(bits, length)| {
                let net = IpNetwork::new(Ipv4Addr::from_bits(bits).into(), length).unwrap();
                IpNetwork::new(net.network(), length).unwrap()
            })
            .collect();
        let routes = nets.into_iter().map(|net| Route::new(net, None)).collect();
        (!ips.is_empty()).then(|| CniResult { ips, routes, ..CniResult::default() })
    })
}

proptest! {
    #[test]
    fn a_plan_says_nothing_twice_and_reaches_all(from_ipam in scenario()) {
        let items = plan_of(&config(), from_ipam.clone());
        for (at, item) in items.iter().enumerate() {
            prop_assert!(!items[..at].contains(item), "{item} stands twice");
        }
        for ip in &from_ipam.ips {
            let address = ip.address.ip();
            let reached = |item: &Item| matches!(item, Item::HostRoute(r) if r.address == address);
            prop_assert!(items.iter().any(reached));
            let held = IpNetwork::from(address);
            prop_assert!(items.contains(&Item::Address("eth0".to_owned(), held, false)));
        }
        // Every route of the pod is by a gateway that its host has, and IPv4's is onlink.
        for item in &items {
            let Item::Route(route) = item else { continue };
            let [hop] = route.route.hops[..] else { panic!("{route:?}") };
            if let Some(gateway) = hop.gateway {
                prop_assert_eq!(hop.onlink, gateway.is_ipv4());
                let on_host = |item: &Item| matches!(item, Item::PodGateway(_, net) if net.ip() == gateway);
                prop_assert!(items.iter().any(on_host), "{}", gateway);
            }
        }
    }

    #[test]
    fn completing_twice_changes_nothing(from_ipam in scenario()) {
        let once = config().complete(from_ipam).unwrap();
        prop_assert_eq!(config().complete(once.clone()).unwrap(), once);
    }
}
