//! Routes as who keeps a set of them in step needs them.

use crate::common::{in_netns, ip, new_bridge, open};
use net::Socket;
use net::route::{self, Hop, Kind, PROTOCOL_BOOT, Route};

const OURS: u8 = 118;

/// `one` in 10.1.0.0/24 and fd00:1::/64, `two` in 10.2.0.0/24 and fd00:2::/64.
fn with_links(test: impl FnOnce(&mut Socket, u32, u32) + Send + 'static) {
    in_netns(|| {
        let mut socket = open();
        let one = new_bridge(&mut socket, "one");
        let two = new_bridge(&mut socket, "two");
        for (name, number) in [("one", 1), ("two", 2)] {
            ip(&format!("addr add 10.{number}.0.2/24 dev {name}"));
            ip(&format!("addr add fd00:{number}::2/64 dev {name} nodad"));
        }
        test(&mut socket, one, two);
    });
}

fn ours(dst: &str, hops: &[Hop]) -> Route {
    let dst: ipnetwork::IpNetwork = dst.parse().unwrap();
    let priority = if dst.is_ipv6() { 1024 } else { 0 };
    let scope = Some(0);
    let plain = Route::new(dst, None, 0);
    Route { hops: hops.to_vec(), protocol: OURS, priority, scope, ..plain }
}

fn blackhole(dst: &str) -> Route {
    Route { kind: Kind::Blackhole, priority: 1_000_000, ..ours(dst, &[]) }
}

fn via(gateway: &str, link: u32) -> Hop {
    Hop { gateway: Some(gateway.parse().unwrap()), link, onlink: false }
}

fn onlink(gateway: &str, link: u32) -> Hop {
    Hop { onlink: true, ..via(gateway, link) }
}

fn listed(socket: &mut Socket, v6: bool) -> Vec<Route> {
    socket.list(&route::list_of(v6, OURS)).unwrap()
}

fn shown(route: &Route) -> String {
    let family = if route.dst.is_ipv6() { "-6" } else { "-4" };
    let text = ip(&format!("{family} route show table all proto {OURS}"));
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace(" pref medium", "")
        .replace(" linkdown", "")
}

#[test]
fn what_is_made_is_what_is_reported() {
    with_links(|socket, one, two| {
        let source = Some("10.1.0.2".parse().unwrap());
        let source6 = Some("fd00:1::2".parse().unwrap());
        let routes = [
            (
                Route { source, ..ours("10.9.0.0/16", &[via("10.1.0.1", one)]) },
                "10.9.0.0/16 via 10.1.0.1 dev one src 10.1.0.2",
            ),
            (
                Route { source, ..ours("10.9.0.0/16", &[onlink("10.9.0.0", two)]) },
                "10.9.0.0/16 via 10.9.0.0 dev two src 10.1.0.2 onlink",
            ),
            (
                ours("10.9.0.0/16", &[via("10.1.0.1", one), via("10.2.0.1", two)]),
                "10.9.0.0/16 nexthop via 10.1.0.1 dev one weight 1 \
                 nexthop via 10.2.0.1 dev two weight 1",
            ),
            (ours("10.9.0.0/16", &[via("fe80::1", one)]), "10.9.0.0/16 via inet6 fe80::1 dev one"),
            (
                ours("10.9.0.0/16", &[onlink("fe80::1", one), via("10.2.0.1", two)]),
                "10.9.0.0/16 nexthop via inet6 fe80::1 dev one weight 1 onlink \
                 nexthop via 10.2.0.1 dev two weight 1",
            ),
            (blackhole("10.9.0.0/16"), "blackhole 10.9.0.0/16 metric 1000000"),
            (Route { kind: Kind::Other(7), ..ours("10.9.0.0/16", &[]) }, "unreachable 10.9.0.0/16"),
            (
                Route { source: source6, ..ours("fd09::/48", &[onlink("fe80::1", one)]) },
                "fd09::/48 via fe80::1 dev one src fd00:1::2 metric 1024 onlink",
            ),
            (
                Route {
                    mtu: Some(1400),
                    ..ours("fd09::/48", &[via("fd00:1::1", one), via("fd00:2::1", two)])
                },
                "fd09::/48 metric 1024 mtu 1400 nexthop via fd00:1::1 dev one weight 1 \
                 nexthop via fd00:2::1 dev two weight 1",
            ),
            (blackhole("fd09::/48"), "blackhole fd09::/48 dev lo metric 1000000"),
            (
                Route { kind: Kind::Other(7), ..ours("fd09::/48", &[]) },
                "unreachable fd09::/48 dev lo metric 1024",
            ),
        ];
        for (wanted, line) in routes {
            socket.set(&route::create(&wanted)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(shown(&wanted).replace(" error 4294967183", ""), line);
            let v6 = wanted.dst.is_ipv6();
            assert_eq!(listed(socket, v6), std::slice::from_ref(&wanted));
            socket.set(&route::del(&wanted)).unwrap();
            assert_eq!(listed(socket, v6), []);
        }
    });
}

#[test]
fn create_takes_no_place_that_is_taken_and_replace_takes_it() {
    with_links(|socket, one, two| {
        for (dst, first, second) in
            [("10.9.0.0/16", "10.1.0.1", "10.2.0.1"), ("fd09::/48", "fd00:1::1", "fd00:2::1")]
        {
            let direct = ours(dst, &[via(first, one)]);
            let foreign = Route { protocol: PROTOCOL_BOOT, ..direct.clone() };
            socket.set(&route::create(&foreign)).unwrap();
            let other = ours(dst, &[via(second, two)]);
            let refused = socket.set(&route::create(&other)).unwrap_err();
            assert!(refused.is_exists(), "{refused}");
            assert_eq!(refused.what, format!("create route {dst} via {second}"));
            // Beside it, with another metric, there is place.
            let v6 = other.dst.is_ipv6();
            socket.set(&route::create(&blackhole(dst))).unwrap();
            assert_eq!(listed(socket, v6), [blackhole(dst)]);
            // The foreign one is overwritten: the kernel compares no protocols.
            let both = ours(dst, &[via(first, one), via(second, two)]);
            let on_link = ours(dst, &[Hop { gateway: None, link: one, onlink: false }]);
            let on_link = Route { scope: Some(if v6 { 0 } else { 253 }), ..on_link };
            let sourced = Route {
                source: Some(if v6 { "fd00:2::2" } else { "10.2.0.2" }.parse().unwrap()),
                ..other.clone()
            };
            for wanted in [other, both, direct.clone(), on_link, sourced] {
                socket.set(&route::replace(&wanted)).unwrap();
                assert_eq!(listed(socket, v6), [wanted.clone(), blackhole(dst)]);
            }
            assert!(socket.set(&route::del(&foreign)).unwrap_err().is_gone());
            socket.set(&route::del(&direct)).unwrap();
            assert_eq!(listed(socket, v6), [blackhole(dst)]);
            socket.set(&route::del(&blackhole(dst))).unwrap();
            assert_eq!(listed(socket, v6), []);
        }
    });
}

#[test]
fn another_protocols_route_is_not_removed() {
    with_links(|socket, one, two| {
        for (dst, gateway) in [("10.9.0.0/16", "10.1.0.1"), ("fd09::/48", "fd00:1::1")] {
            let wanted = ours(dst, &[via(gateway, one)]);
            socket.set(&route::create(&wanted)).unwrap();
            for wrong in [
                Route { protocol: 119, ..wanted.clone() },
                Route { table: 1000, ..wanted.clone() },
                Route { priority: 7, ..wanted.clone() },
            ] {
                assert!(socket.set(&route::del(&wrong)).unwrap_err().is_gone(), "{wrong:?}");
            }
            assert_eq!(listed(socket, wanted.dst.is_ipv6()), std::slice::from_ref(&wanted));
            // Wherever it leads.
            socket.set(&route::del(&wanted.clone().through(two))).unwrap();
            assert_eq!(listed(socket, wanted.dst.is_ipv6()), []);
        }
    });
}

#[test]
fn of_ipv4_with_priority_0_the_type_chooses() {
    with_links(|socket, one, _| {
        socket.set(&route::create(&blackhole("10.9.0.0/16"))).unwrap();
        let gone = ours("10.9.0.0/16", &[via("10.1.0.1", one)]);
        assert!(socket.set(&route::del(&gone)).unwrap_err().is_gone());
        assert_eq!(listed(socket, false), [blackhole("10.9.0.0/16")]);
    });
}

#[test]
fn one_protocols_list_is_of_the_main_table_and_of_nobody_else() {
    in_netns(|| {
        let mut socket = open();
        // Of a namespace that has had no route yet.
        assert_eq!(listed(&mut socket, false), []);
        assert_eq!(listed(&mut socket, true), []);
        let link = new_bridge(&mut socket, "one");
        ip("addr add 10.1.0.2/24 dev one");
        ip("addr add fd00:1::2/64 dev one nodad");
        for (dst, gateway) in [("10.9.0.0/16", "10.1.0.1"), ("fd09::/48", "fd00:1::1")] {
            let wanted = ours(dst, &[via(gateway, link)]);
            let elsewhere = Route { table: 1000, ..wanted.clone() };
            let foreign = Route { protocol: 17, priority: 5, ..wanted.clone() };
            for route in [&wanted, &elsewhere, &foreign] {
                socket.set(&route::create(route)).unwrap();
            }
            let v6 = wanted.dst.is_ipv6();
            assert_eq!(listed(&mut socket, v6), [wanted]);
            let theirs = socket.list(&route::list_of(v6, 17)).unwrap();
            assert_eq!(theirs, [foreign]);
            let all = socket.list(&route::list(v6)).unwrap();
            assert_eq!(all.iter().filter(|found| found.protocol == OURS).count(), 2);
            assert!(all.iter().all(|found| found.kind == Kind::Unicast), "{all:?}");
        }
    });
}
