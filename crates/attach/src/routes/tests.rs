//! What becomes of IPAM's routes.

use super::*;
use cni::{Ip, code};

fn ip(text: &str, gateway: &str) -> Ip {
    Ip { interface: None, address: text.parse().unwrap(), gateway: gateway.parse().ok() }
}

fn route(dst: &str, gw: Option<&str>) -> Route {
    Route::new(dst.parse().unwrap(), gw.map(|gw| gw.parse().unwrap()))
}

/// Next hop, onlink, and metric of each route.
fn made(result: &CniResult, metric: Option<u32>) -> Vec<(Option<String>, bool, u32)> {
    let shown = |item: Item| match item {
        Item::Route(route) => {
            let hop = route.route.hops[0];
            (hop.gateway.map(|gateway| gateway.to_string()), hop.onlink, route.route.priority)
        }
        other => panic!("{other}"),
    };
    items("eth0", result, metric).map(shown).collect()
}

fn result(ips: Vec<Ip>, routes: Vec<Route>) -> CniResult {
    CniResult { ips, routes, ..CniResult::default() }
}

#[test]
fn a_gateway_that_no_address_covers_is_on_the_link() {
    let ips = vec![ip("10.9.0.2/24", "10.8.0.1"), ip("2001:db8:5:333::2/64", "2001:db8:5::1")];
    let routes = vec![
        route("0.0.0.0/0", None),
        route("::/0", None),
        route("10.7.0.0/16", Some("10.9.0.3")),
        route("10.6.0.0/16", Some("10.5.0.3")),
        route("fd00::/8", Some("fe80::1")),
    ];
    let hops = made(&result(ips, routes), None);
    let hop = |gateway: &str, onlink| (Some(gateway.to_owned()), onlink, 0);
    let wanted = [
        hop("10.8.0.1", true),
        hop("2001:db8:5::1", true),
        hop("10.9.0.3", false),
        hop("10.5.0.3", true),
        hop("fe80::1", false),
    ];
    assert_eq!(hops, wanted);
    // A single address covers no other, and a route of IPAM's may say where the gateway is.
    let on_link = Route { scope: Some(253), ..route("10.8.0.1/32", None) };
    let routes = vec![on_link, route("0.0.0.0/0", None)];
    let hops = made(&result(vec![ip("203.0.113.5/32", "10.8.0.1")], routes), None);
    assert_eq!(hops, [(None, false, 0), hop("10.8.0.1", false)]);
}

#[test]
fn a_destination_on_the_link_has_no_next_hop() {
    let ips = || vec![ip("10.9.0.2/24", "10.9.0.1"), ip("fd00::2/64", "fd00::1")];
    for (scope, gateway) in [(None, true), (Some(0), true), (Some(200), true), (Some(253), false)] {
        let of = |dst| Route { scope, ..route(dst, None) };
        let hops = made(&result(ips(), vec![of("192.0.2.1/32"), of("2001:db8::1/128")]), None);
        assert!(hops.iter().all(|hop| hop.0.is_some() == gateway), "{scope:?}: {hops:?}");
    }
}

#[test]
fn a_route_on_the_link_by_a_gateway_is_refused() {
    let wrong = Route { scope: Some(253), ..route("192.0.2.1/32", Some("10.9.0.1")) };
    let mut of_four = result(vec![ip("10.9.0.2/24", "10.9.0.1")], vec![wrong]);
    let error = complete(&mut of_four, None).unwrap_err();
    assert_eq!(error.code, code::INVALID_CONFIG);
    assert_eq!(error.msg, "the route to 192.0.2.1/32 has the scope 253 and the gateway 10.9.0.1");
    let six = Route { scope: Some(253), ..route("2001:db8::1/128", Some("fd00::1")) };
    assert!(complete(&mut result(vec![ip("fd00::2/64", "fd00::1")], vec![six]), None).is_ok());
}

#[test]
fn the_networks_metric_is_that_of_routes_without_a_priority() {
    let own = Route { priority: Some(50), ..route("10.0.0.0/8", None) };
    let ips = vec![ip("10.9.0.2/24", "10.9.0.1")];
    let mut completed = result(ips, vec![own, route("0.0.0.0/0", None)]);
    let metrics = |hops: Vec<(Option<String>, bool, u32)>| -> Vec<u32> {
        hops.into_iter().map(|hop| hop.2).collect()
    };
    // As a result that lost its priorities has them.
    assert_eq!(metrics(made(&completed, Some(500))), [50, 500]);
    complete(&mut completed, Some(500)).unwrap();
    let priorities: Vec<_> = completed.routes.iter().map(|route| route.priority).collect();
    assert_eq!(priorities, [Some(50), Some(500)]);
    assert_eq!(metrics(made(&completed, None)), [50, 500]);
}
