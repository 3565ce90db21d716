//! Many changes at once.

use crate::common::{in_netns, ip, new_bridge, open};
use ipnetwork::IpNetwork;
use net::Socket;
use net::route::{self, Route};
use std::net::Ipv4Addr;

/// `br` in 10.1.0.0/16, and its index.
fn link(socket: &mut Socket) -> u32 {
    let index = new_bridge(socket, "br");
    ip("addr add 10.1.0.2/16 dev br");
    index
}

/// That many routes of protocol 118 to addresses one after the other.
pub fn routes(link: u32, gateway: Option<&str>, count: u32) -> Vec<Route> {
    let gateway = gateway.map(|text| text.parse().unwrap());
    let dst = |number| Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number);
    let route = |number| Route {
        protocol: 118,
        ..Route::new(IpNetwork::from(std::net::IpAddr::V4(dst(number))), gateway, link)
    };
    (0..count).map(route).collect()
}

#[test]
fn outcomes_come_in_the_order_of_the_changes() {
    in_netns(|| {
        let mut socket = open();
        let link = link(&mut socket);
        assert_eq!(socket.set_each(&[]).unwrap(), []);
        let routes = routes(link, Some("10.1.0.1"), 1000);
        let there: Vec<_> =
            routes.iter().filter(|r| r.dst.ip().to_string().ends_with('7')).collect();
        let create: Vec<_> = there.iter().map(|route| route::create(route)).collect();
        assert!(socket.set_each(&create).unwrap().iter().all(Result::is_ok));
        let all: Vec<_> = routes.iter().map(route::create).collect();
        let outcomes = socket.set_each(&all).unwrap();
        assert_eq!(outcomes.len(), 1000);
        for (route, outcome) in routes.iter().zip(outcomes) {
            match outcome {
                Ok(()) => assert!(!there.contains(&route), "{route}"),
                Err(error) => {
                    assert!(there.contains(&route) && error.is_exists(), "{error}");
                    assert_eq!(error.what, format!("create route {route}"));
                }
            }
        }
        assert_eq!(socket.list(&route::list_of(false, 118)).unwrap().len(), 1000);
        socket.set(&route::del(&routes[0])).unwrap();
    });
}

#[test]
fn of_20000_refusals_none_is_lost() {
    in_netns(|| {
        let mut socket = open();
        let link = link(&mut socket);
        let lost: Vec<_> =
            routes(link, Some("192.0.2.1"), 20_000).iter().map(route::create).collect();
        let outcomes = socket.set_each(&lost).unwrap();
        assert_eq!(outcomes.len(), 20_000);
        for (verb, outcome) in routes(link, Some("192.0.2.1"), 20_000).iter().zip(outcomes) {
            let error = outcome.unwrap_err();
            assert_eq!(error.reason, "Nexthop has invalid gateway");
            assert_eq!(error.what, format!("create route {verb}"));
        }
    });
}

#[test]
fn messages_larger_than_a_chunk_are_sent() {
    in_netns(|| {
        let mut socket = open();
        let link = link(&mut socket);
        // 600 hops of 16 bytes each: seven routes are more than 64 KiB.
        let many: Vec<_> = routes(link, Some("10.1.0.1"), 20)
            .into_iter()
            .map(|route| Route {
                hops: (0..600_u32)
                    .map(|n| route::Hop {
                        gateway: Some(Ipv4Addr::from(0x0a01_0100 + n).into()),
                        link,
                        onlink: false,
                    })
                    .collect(),
                ..route
            })
            .collect();
        let verbs: Vec<_> = many.iter().map(route::create).collect();
        assert!(socket.set_each(&verbs).unwrap().iter().all(Result::is_ok));
        let found = socket.list(&route::list_of(false, 118)).unwrap();
        assert_eq!(found.len(), 20);
        assert!(found.iter().zip(&many).all(|(found, wanted)| found.hops == wanted.hops));
    });
}
