//! Routes.

use crate::common::{in_netns, ip_in, open, pod};
use net::route::{self, Hop, PROTOCOL_BOOT, Route};
use net::{Link, NetNs, Socket, address, link};

/// A pod with `far`, up, in 10.1.0.0/24 and fd00:1::/64.
fn with_pod(test: impl FnOnce(&NetNs, &mut Socket, u32) + Send + 'static) {
    in_netns(|| {
        let mut socket = open();
        let (netns, mut inside, far) = pod(&mut socket);
        for text in ["10.1.0.2/24", "fd00:1::2/64"] {
            inside.set(&address::add(far, text.parse().unwrap(), false)).unwrap();
        }
        test(&netns, &mut inside, far);
    });
}

fn route(dst: &str, gateway: Option<&str>, link: u32) -> Route {
    Route::new(dst.parse().unwrap(), gateway.map(|text| text.parse().unwrap()), link)
}

/// What the kernel has of a destination.
fn found(socket: &mut Socket, wanted: &Route) -> Vec<Route> {
    let all = socket.list(&route::list(wanted.dst.is_ipv6())).unwrap();
    all.into_iter().filter(|r| r.dst == wanted.dst && r.table == wanted.table).collect()
}

#[test]
fn every_field_arrives() {
    with_pod(|netns, inside, far| {
        let default4 = route("0.0.0.0/0", Some("10.1.0.1"), far);
        let default6 = route("::/0", Some("fd00:1::1"), far);
        let routes = [
            (default4.clone(), "default via 10.1.0.1 dev far"),
            (
                Route { table: 200, priority: 7, ..default4 },
                "default via 10.1.0.1 dev far metric 7",
            ),
            (
                Route {
                    mtu: Some(1400),
                    advmss: Some(1300),
                    ..route("10.9.0.0/16", Some("10.1.0.1"), far)
                },
                "10.9.0.0/16 via 10.1.0.1 dev far mtu 1400 advmss 1300",
            ),
            (
                Route { table: 1000, priority: 5, ..route("10.8.0.0/16", Some("10.1.0.1"), far) },
                "10.8.0.0/16 via 10.1.0.1 dev far metric 5",
            ),
            (route("10.7.0.0/16", None, far), "10.7.0.0/16 dev far scope link"),
            (
                Route { scope: Some(200), ..route("10.6.0.0/16", None, far) },
                "10.6.0.0/16 dev far scope site",
            ),
            (default6.clone(), "default via fd00:1::1 dev far metric 1024"),
            (
                Route { table: 70_000, mtu: Some(1300), priority: 9, ..default6 },
                "default via fd00:1::1 dev far metric 9 mtu 1300",
            ),
            (route("fd00:2::/64", None, far), "fd00:2::/64 dev far metric 1024"),
        ];
        for (wanted, shown) in routes {
            inside.set(&route::add(&wanted)).unwrap();
            let family = if wanted.dst.is_ipv6() { "-6" } else { "-4" };
            let line =
                ip_in(netns, &format!("{family} route show table {} {}", wanted.table, wanted.dst));
            let line = line.replace(" proto boot", "").replace(" pref medium", "");
            assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), shown);
            let [found] = &found(inside, &wanted)[..] else { panic!("{wanted}") };
            let scope = wanted.scope.map_or(found.scope, Some);
            let unset = if wanted.dst.is_ipv6() { 1024 } else { 0 };
            let priority = if wanted.priority == 0 { unset } else { wanted.priority };
            assert_eq!(*found, Route { scope, priority, ..wanted });
            assert_eq!(found.protocol, PROTOCOL_BOOT);
        }
    });
}

#[test]
fn an_equal_route_is_refused_and_another_default_is_not() {
    with_pod(|netns, inside, far| {
        for (any, gateway, second) in
            [("0.0.0.0/0", "10.1.0.1", "10.2.0.1"), ("::/0", "fd00:1::1", "fd00:2::1")]
        {
            let wanted = route(any, Some(gateway), far);
            inside.set(&route::add(&wanted)).unwrap();
            let again = inside.set(&route::add(&wanted)).unwrap_err();
            assert!(again.is_exists(), "{again}");
            assert_eq!(again.what, format!("add route {any} via {gateway}"));
            // A second network's: another link.
            let other = second_link(netns, inside);
            inside.set(&route::add(&route(any, Some(second), other.index))).unwrap();
            // Of IPv6 the kernel makes one route with two next hops.
            let family = if wanted.dst.is_ipv6() { "-6" } else { "-4" };
            let shown = ip_in(netns, &format!("{family} route show default"));
            assert!(shown.contains(&format!("via {gateway} dev far")), "{shown}");
            assert!(shown.contains(&format!("via {second} dev second")), "{shown}");
            inside.set(&link::del(other.index, "second")).unwrap();
        }
    });
}

/// One more link, with addresses in other subnets.
fn second_link(netns: &NetNs, inside: &mut Socket) -> Link {
    ip_in(netns, "link add second up type bridge");
    ip_in(netns, "addr add 10.2.0.2/24 dev second");
    ip_in(netns, "addr add fd00:2::2/64 dev second nodad");
    crate::common::look(inside, "second")
}

#[test]
fn a_route_is_removed_once() {
    with_pod(|_, inside, far| {
        for wanted in [
            route("0.0.0.0/0", Some("10.1.0.1"), far),
            Route { table: 1000, ..route("10.8.0.0/16", Some("10.1.0.1"), far) },
            route("::/0", Some("fd00:1::1"), far),
        ] {
            inside.set(&route::add(&wanted)).unwrap();
            inside.set(&route::del(&wanted)).unwrap();
            assert_eq!(found(inside, &wanted), []);
            let gone = inside.set(&route::del(&wanted)).unwrap_err();
            assert!(gone.is_gone(), "{gone}");
        }
    });
}

#[test]
fn a_refusal_carries_the_kernels_words() {
    with_pod(|_, inside, far| {
        let lost = inside.set(&route::add(&route("10.9.0.0/16", Some("10.99.0.1"), far)));
        let error = lost.unwrap_err();
        assert_eq!(error.reason, "Nexthop has invalid gateway");
        assert!(error.to_string().starts_with("add route 10.9.0.0/16 via 10.99.0.1: "), "{error}");
        let gone = inside.set(&route::add(&route("10.9.0.0/16", None, 9999))).unwrap_err();
        assert!(gone.is_gone(), "{gone}");
    });
}

#[test]
fn the_lists_are_of_one_family_and_of_unicast() {
    with_pod(|netns, inside, far| {
        ip_in(netns, "route add blackhole 10.66.0.0/16");
        ip_in(netns, "-6 route add blackhole fd66::/64");
        for v6 in [false, true] {
            let all = inside.list(&route::list(v6)).unwrap();
            assert!(all.iter().all(|found| found.dst.is_ipv6() == v6), "{all:?}");
            let own = if v6 { "fd00:1::/64" } else { "10.1.0.0/24" };
            let own = all.iter().find(|found| found.dst.to_string() == own).unwrap();
            assert_eq!(own.hops, [Hop { gateway: None, link: far, onlink: false }]);
            assert!(all.iter().all(|found| !found.dst.to_string().contains("66")), "{all:?}");
        }
    });
}

#[test]
fn a_route_is_told_in_words() {
    let plain = route("10.8.0.0/16", None, 1);
    assert_eq!(plain.to_string(), "10.8.0.0/16");
    let full = Route { table: 1000, ..route("::/0", Some("fe80::1"), 1) };
    assert_eq!(full.to_string(), "::/0 via fe80::1 table 1000");
}

#[test]
fn the_route_to_an_address_is_looked_up() {
    with_pod(|netns, inside, far| {
        let lookup =
            |inside: &mut Socket, text: &str| inside.get(&route::toward(text.parse().unwrap()));
        for (dst, first, second, address) in [
            ("10.9.0.0/16", "10.1.0.8", "10.1.0.9", "10.9.1.2"),
            ("fd09::/32", "fd00:1::8", "fd00:1::9", "fd09::1:2"),
        ] {
            // Unreachable is an error of the kernel.
            assert!(!matches!(lookup(inside, address), Ok(Some(_))));
            let hop =
                |text: &str| Hop { gateway: Some(text.parse().unwrap()), link: far, onlink: false };
            let hops = vec![hop(first), hop(second)];
            let made = Route { hops, protocol: 119, priority: 7, ..route(dst, None, far) };
            inside.set(&route::create(&made)).unwrap();
            let mut found = lookup(inside, address).unwrap().unwrap();
            // IPv6 has an order of its own.
            found.hops.sort_by_key(|hop| hop.gateway);
            // All of the route, not the one hop that this address takes.
            assert_eq!((found.dst, found.priority, found.protocol), (made.dst, 7, 119));
            assert_eq!(found.hops, made.hops);
        }
        let told = ip_in(netns, "route get fibmatch 10.9.1.2");
        assert!(told.contains("10.9.0.0/16") && told.contains("metric 7"), "{told}");
    });
}
