//! The monitor.

use crate::batch::routes;
use crate::common::{FAR, bridge, in_netns, ip, new_bridge, new_vxlan, open};
use crate::socket::PATIENCE;
use net::fdb::{self, FdbEntry};
use net::neighbour::{self, Neighbour};
use net::route::{self, Kind, Route};
use net::{Event, Monitor, address, link};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

/// Every event there is now.
fn drain(monitor: &mut Monitor) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let some = monitor.read().unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Events until one is wanted; those that come later than the change that causes them.
fn until(monitor: &mut Monitor, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap();
    loop {
        if let Some(found) = monitor.read().unwrap().into_iter().find(&wanted) {
            return found;
        }
        let mut fds = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        assert_ne!(poll(&mut fds, timeout).unwrap(), 0, "no {what}");
    }
}

#[test]
fn links_are_told() {
    in_netns(|| {
        let mut socket = open();
        let mut monitor = Monitor::open().unwrap();
        assert_eq!(monitor.read().unwrap(), []);
        let index = new_bridge(&mut socket, "br");
        let name = |event: &Event| matches!(event, Event::Link(l) if l.name == "br" && l.up);
        until(&mut monitor, "br", name);
        let vxlan = new_vxlan(&mut socket, "vx", index, "192.0.2.1");
        let is = |event: &Event| {
            matches!(event, Event::Link(l) if l.index == vxlan
                && l.vxlan.as_ref().is_some_and(|info| info.vni == 100 && info.port == 4789))
        };
        until(&mut monitor, "vx", is);
        // A port that leaves its bridge is no link that is gone.
        let over = new_bridge(&mut socket, "over");
        ip("link set vx master over");
        ip("link set vx nomaster");
        let master = |event: &Event| matches!(event, Event::Link(l) if l.master == over);
        let events = drain(&mut monitor);
        assert!(events.iter().any(master), "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::LinkGone(..))), "{events:?}");
        socket.set(&link::del(vxlan, "vx")).unwrap();
        until(&mut monitor, "end of vx", |e| *e == Event::LinkGone(vxlan, "vx".to_owned()));
    });
}

#[test]
fn addresses_are_told() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let mut monitor = Monitor::open().unwrap();
        for text in ["10.9.0.1/24", "fd00::1/64"] {
            let wanted = text.parse().unwrap();
            socket.set(&address::add(index, wanted, false)).unwrap();
            let is = |event: &Event| matches!(event, Event::Address(a) if a.address == wanted && a.link == index);
            until(&mut monitor, text, is);
            socket.set(&address::del(index, wanted)).unwrap();
            let gone = |event: &Event| matches!(event, Event::AddressGone(a) if a.address == wanted && a.link == index);
            until(&mut monitor, text, gone);
        }
    });
}

#[test]
fn routes_are_told() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        ip("addr add 10.1.0.2/24 dev br");
        ip("addr add fd00:1::2/64 dev br nodad");
        let mut monitor = Monitor::open().unwrap();
        for (dst, gateway) in [("10.9.0.0/16", "10.1.0.1"), ("fd09::/48", "fd00:1::1")] {
            let plain = Route::new(dst.parse().unwrap(), gateway.parse().ok(), index);
            let wanted = Route { protocol: 118, priority: 7, scope: Some(0), ..plain };
            let hole = Route { kind: Kind::Blackhole, hops: vec![], priority: 8, ..wanted.clone() };
            for wanted in [wanted, hole] {
                socket.set(&route::create(&wanted)).unwrap();
                until(&mut monitor, dst, |event| *event == Event::Route(wanted.clone()));
                socket.set(&route::del(&wanted)).unwrap();
                until(&mut monitor, dst, |event| *event == Event::RouteGone(wanted.clone()));
            }
        }
    });
}

/// What [`Event::RouteGone`] says.
#[test]
fn a_link_that_goes_down_takes_ipv4_routes_along_in_silence() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        ip("addr add 10.1.0.2/24 dev br");
        let wanted = Route::new("10.9.0.0/16".parse().unwrap(), "10.1.0.1".parse().ok(), index);
        socket.set(&route::create(&wanted)).unwrap();
        let mut monitor = Monitor::open().unwrap();
        socket.set(&link::set_down(index, "br")).unwrap();
        assert_eq!(socket.list(&route::list_of(false, wanted.protocol)).unwrap(), []);
        let events = drain(&mut monitor);
        assert!(events.iter().any(|e| matches!(e, Event::Link(l) if !l.up)), "{events:?}");
        let silent = |e: &Event| !matches!(e, Event::RouteGone(r) if r.dst == wanted.dst);
        assert!(events.iter().all(silent), "{events:?}");
    });
}

#[test]
fn neighbours_and_fdb_entries_are_told_apart() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        let link = new_vxlan(&mut socket, "vx", underlay, "192.0.2.1");
        let mut monitor = Monitor::open().unwrap();
        for text in ["10.9.0.0", "fe80::1:2"] {
            let address = text.parse().unwrap();
            let wanted = Neighbour { link, address, mac: FAR, permanent: true };
            socket.set(&neighbour::replace(&wanted)).unwrap();
            until(&mut monitor, text, |event| *event == Event::Neighbour(wanted));
            socket.set(&neighbour::del(&wanted)).unwrap();
            let gone = |event: &Event| matches!(event, Event::NeighbourGone(n) if n.address == address && !n.permanent);
            until(&mut monitor, text, gone);
        }
        let wanted = FdbEntry { link, mac: FAR, dst: "192.0.2.2".parse().ok(), permanent: true };
        let moved = FdbEntry { dst: "192.0.2.3".parse().ok(), ..wanted };
        socket.set(&fdb::replace(&wanted)).unwrap();
        socket.set(&fdb::replace(&moved)).unwrap();
        socket.set(&fdb::del(&moved)).unwrap();
        // What a bridge learns is not a VXLAN device's.
        ip("link add over type bridge");
        ip("link set vx master over");
        bridge("fdb add 02:00:00:00:00:09 dev vx master static");
        let entries = drain(&mut monitor);
        let entries: Vec<_> = entries
            .into_iter()
            .filter(|event| matches!(event, Event::Fdb(_) | Event::FdbGone(_)))
            .collect();
        assert_eq!(entries, [Event::Fdb(wanted), Event::Fdb(moved), Event::FdbGone(moved)]);
    });
}

#[test]
fn an_overrun_is_told_once_and_the_monitor_goes_on() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let mut monitor = Monitor::open().unwrap();
        let verbs: Vec<_> = routes(index, None, 50_000).iter().map(route::create).collect();
        assert!(socket.set_each(&verbs).unwrap().iter().all(Result::is_ok));
        assert_eq!(monitor.read().unwrap(), [Event::Overrun], "the rest is thrown away");
        assert_eq!(monitor.read().unwrap(), []);
        socket.set(&link::set_alias(index, "on", "br")).unwrap();
        until(&mut monitor, "alias", |e| matches!(e, Event::Link(l) if l.alias == "on"));
    });
}

#[test]
fn a_flood_that_fits_is_told_whole() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        let mut monitor = Monitor::open().unwrap();
        let routes = routes(index, None, 10_000);
        let verbs: Vec<_> = routes.iter().map(route::create).collect();
        assert!(socket.set_each(&verbs).unwrap().iter().all(Result::is_ok));
        let told: Vec<_> = drain(&mut monitor)
            .into_iter()
            .filter_map(|event| match event {
                Event::Route(route) if route.protocol == 118 => Some(route.dst),
                _ => None,
            })
            .collect();
        assert!(told.iter().eq(routes.iter().map(|route| &route.dst)), "{} events", told.len());
    });
}

#[test]
fn neighbours_of_one_link_alone_are_received() {
    in_netns(|| {
        let mut monitor = Monitor::open().unwrap();
        let filter = monitor.neighbour_filter().unwrap();
        for name in ["pods", "tunnel"] {
            ip(&format!("link add {name} type bridge"));
            ip(&format!("link set {name} up"));
        }
        let index = |name: &str| open().get(&link::by_name(name)).unwrap().unwrap().index;
        let (pods, tunnel) = (index("pods"), index("tunnel"));
        let told = |monitor: &mut Monitor, octet: u8| {
            drain(monitor);
            for name in ["pods", "tunnel"] {
                let at = format!("192.0.2.{octet} lladdr 02:00:00:00:00:01 dev {name}");
                ip(&format!("neighbour replace {at} nud permanent"));
            }
            // Whatever else there is still passes, and comes last.
            ip(&format!("link set pods mtu {}", 1000 + u32::from(octet)));
            let mut links = Vec::new();
            for event in drain(monitor) {
                match event {
                    Event::Neighbour(neighbour) => links.push(neighbour.link),
                    Event::Link(link) if link.mtu == 1000 + u32::from(octet) => links.push(0),
                    _ => {}
                }
            }
            links.dedup();
            links
        };
        assert_eq!(told(&mut monitor, 1), [pods, tunnel, 0]);
        filter.only(Some(tunnel)).unwrap();
        assert_eq!(told(&mut monitor, 2), [tunnel, 0]);
        filter.only(None).unwrap();
        assert_eq!(told(&mut monitor, 3), [0]);
        filter.only(Some(pods)).unwrap();
        assert_eq!(told(&mut monitor, 4), [pods, 0]);
    });
}
