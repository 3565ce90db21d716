use super::*;

fn ip(address: &str, gateway: &str) -> Ip {
    let (address, gateway) = (address.parse().unwrap(), gateway.parse().ok());
    Ip { interface: None, address, gateway }
}

fn connected(dst: &str, source: &str) -> LinkRoute {
    let dst: IpNetwork = dst.parse().unwrap();
    let source = source.parse().ok();
    let priority = if dst.is_ipv6() { 256 } else { 0 };
    LinkRoute { source, priority, scope: Some(SCOPE_LINK), protocol: 2, ..plain(dst, MAIN) }
}

fn config() -> Config {
    Config { table: None, gateways: Vec::new(), source_hints: false, run_dir: "/run".into() }
}

/// A pod with a network of both families.
fn found() -> Routing {
    let via = |dst: &str, gateway: &str| LinkRoute {
        gateway: gateway.parse().ok(),
        ..plain(dst.parse().unwrap(), MAIN)
    };
    let routes = vec![
        connected("10.1.0.0/24", "10.1.0.2"),
        via("10.9.0.0/16", "10.1.0.1"),
        connected("fd00:1::/64", ""),
        connected("fe80::/64", ""),
    ];
    Routing { tables: vec![254, 255, 100], routes, ..Routing::default() }
}

fn said(routes: &[LinkRoute]) -> Vec<String> {
    let text = |route: &LinkRoute| {
        let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        let src = route.source.map(|source| format!(" src {source}")).unwrap_or_default();
        format!("{}{via}{src} table {}", route.dst, route.table)
    };
    routes.iter().map(text).collect()
}

#[test]
fn each_address_has_a_free_table_with_its_routes() {
    let ips = [ip("10.1.0.2/24", "10.1.0.1"), ip("fd00:1::2/64", "fd00:1::1")];
    let routing = routing(&config(), "net1", &ips.iter().collect::<Vec<_>>(), &found());
    assert_eq!(routing.rules, [(ips[0].address.ip(), 101), (ips[1].address.ip(), 102)]);
    assert_eq!(
        said(&routing.added),
        [
            "0.0.0.0/0 via 10.1.0.1 table 101",
            "10.1.0.0/24 src 10.1.0.2 table 101",
            "10.9.0.0/16 via 10.1.0.1 table 101",
            "::/0 via fd00:1::1 table 102",
            "fd00:1::/64 table 102",
        ]
    );
    // Link-local destinations stay where neighbours look for them.
    assert_eq!(routing.removed, found().routes[..3]);
    assert_eq!(routing.replaced, []);
}

#[test]
fn gateways_of_the_configuration_come_first() {
    let ips = [ip("10.1.0.2/24", "10.1.0.1"), ip("fd00:1::2/64", "fd00:1::1")];
    let gateways = vec!["10.1.0.254".parse().unwrap()];
    let config = Config { gateways, ..config() };
    let routing = routing(&config, "net1", &ips.iter().collect::<Vec<_>>(), &found());
    let added = said(&routing.added);
    assert!(added.contains(&"0.0.0.0/0 via 10.1.0.254 table 101".to_owned()), "{added:?}");
    assert!(added.contains(&"::/0 via fd00:1::1 table 102".to_owned()), "{added:?}");
}

#[test]
fn with_a_table_there_are_rules_alone() {
    let ips = [ip("10.1.0.2/24", "10.1.0.1")];
    let config = Config { table: Some(77), ..config() };
    let routing = routing(&config, "net1", &ips.iter().collect::<Vec<_>>(), &found());
    assert_eq!(routing.rules, [(ips[0].address.ip(), 77)]);
    assert!(routing.added.is_empty() && routing.removed.is_empty());
}

#[test]
fn source_hints_keep_subnets_in_the_main_table() {
    let ips = [ip("10.1.0.2/24", "10.1.0.1"), ip("fd00:1::2/64", "")];
    let config = Config { source_hints: true, ..config() };
    let routing = routing(&config, "net1", &ips.iter().collect::<Vec<_>>(), &found());
    let main: Vec<_> = routing.added.iter().filter(|r| r.table == MAIN).cloned().collect();
    assert_eq!(
        said(&main),
        ["10.1.0.0/24 src 10.1.0.2 table 254", "fd00:1::/64 src fd00:1::2 table 254"]
    );
    assert_eq!(
        said(&routing.removed),
        ["10.9.0.0/16 via 10.1.0.1 table 254", "fd00:1::/64 table 254"]
    );
    assert_eq!(said(&routing.replaced), ["10.1.0.0/24 src 10.1.0.2 table 254"]);
}

#[test]
fn addresses_of_other_interfaces_are_left_out() {
    let interface = |name: &str| cni::Interface { name: name.to_owned(), ..Default::default() };
    let mut result = CniResult {
        interfaces: vec![interface("eth0"), interface("net1")],
        ips: vec![ip("10.1.0.2/24", ""), ip("10.2.0.2/24", ""), ip("10.3.0.2/24", "")],
        ..CniResult::default()
    };
    result.ips[0].interface = Some(0);
    result.ips[1].interface = Some(1);
    let kept = addresses("net1", &result).unwrap();
    assert_eq!(
        kept.iter().map(|ip| ip.address.to_string()).collect::<Vec<_>>(),
        ["10.2.0.2/24", "10.3.0.2/24"]
    );
    let error = addresses("net1", &CniResult::default()).unwrap_err();
    assert_eq!(error.msg, "No IP addresses supplied on interface: net1");
}
