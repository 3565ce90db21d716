use super::*;
use crate::message::{Kind, option};

fn ack() -> Message {
    let message = Message {
        is_reply: true,
        yiaddr: Ipv4Addr::new(10, 0, 0, 9),
        ..Message::new(Kind::Ack, 7, [2, 0, 0, 0, 0, 1])
    };
    message
        .with(option::SUBNET_MASK, [255, 255, 255, 0])
        .with(option::SERVER, [10, 0, 0, 1])
        .with(option::ROUTER, [10, 0, 0, 1, 10, 0, 0, 2])
}

fn lease(message: &Message) -> Lease {
    leased(message, &[]).unwrap()
}

fn refused(message: &Message) -> String {
    leased(message, &[]).unwrap_err()
}

#[test]
fn addresses_that_no_pod_can_have_are_refused() {
    let cases = [
        ([0, 0, 0, 0], "which is no host's address"),
        ([0, 1, 2, 3], "which is no host's address"),
        ([127, 0, 0, 5], "a loopback address"),
        ([224, 0, 0, 1], "a multicast address"),
        ([255, 255, 255, 255], "the broadcast address"),
        ([10, 0, 0, 0], "the address of its subnet"),
        ([10, 0, 0, 255], "the broadcast address of its subnet"),
    ];
    for (address, why) in cases {
        let leased = Message { yiaddr: address.into(), ..ack() };
        assert!(refused(&leased).contains(why), "{}", refused(&leased));
        assert!(suits(&leased).is_err());
    }
    // RFC 3021, and a pod that has a subnet of its own.
    for (address, mask) in [([10, 0, 0, 8], 254), ([10, 0, 0, 9], 254), ([10, 0, 0, 255], 255)] {
        let leased = Message { yiaddr: address.into(), ..ack() };
        let leased = leased.with(option::SUBNET_MASK, [255, 255, 255, mask]);
        assert_eq!(lease(&leased).address, Ipv4Addr::from(address));
    }
}

#[test]
fn subnets_larger_than_any_link_are_refused() {
    let masked = |mask: [u8; 4]| ack().with(option::SUBNET_MASK, mask);
    assert!(
        refused(&masked([0, 0, 0, 0])).contains("in a subnet /0; no network of a link is larger")
    );
    assert!(refused(&masked([128, 0, 0, 0])).contains("in a subnet /1"));
    assert!(refused(&masked([254, 0, 0, 0])).contains("10.0.0.9 in a subnet /7"));
    assert_eq!(lease(&masked([255, 0, 0, 0])).prefix, 8);
}

/// An offer may leave to the ACK what it does not say.
#[test]
fn an_offer_is_refused_for_what_it_says_alone() {
    let mut offer = ack();
    offer.options.remove(&option::SUBNET_MASK);
    assert_eq!(suits(&offer), Ok(()));
    assert!(suits(&offer.with(option::SUBNET_MASK, [0, 0, 0, 0])).is_err());
}

#[test]
fn servers_and_times_that_cannot_be_are_refused() {
    for server in [[0, 0, 0, 0], [127, 0, 0, 1], [239, 1, 2, 3], [255, 255, 255, 255]] {
        let error = refused(&ack().with(option::SERVER, server));
        assert!(error.contains("the server says that it is "), "{error}");
    }
    let never = ack().with(option::LEASE_TIME, [0; 4]);
    assert!(refused(&never).contains("leases 10.0.0.9 for 0 s"));
}

#[test]
fn routers_that_no_packet_can_go_by_are_refused() {
    for (router, why) in [
        ([10, 0, 0, 9], "the router 10.0.0.9, the leased address itself"),
        ([10, 0, 0, 255], "the broadcast address of its subnet"),
        ([224, 0, 0, 2], "a multicast address"),
        ([127, 0, 0, 1], "a loopback address"),
    ] {
        let option3 = ack().with(option::ROUTER, [[10, 0, 0, 1], router].concat());
        assert!(refused(&option3).contains(why), "{}", refused(&option3));
        let option33 = ack().with(option::STATIC_ROUTE, [[20, 0, 0, 0], router].concat());
        assert!(refused(&option33).contains("option 33 of the server has the router"));
        let option121 = [&[8, 20], router.as_slice()].concat();
        let option121 = ack().with(option::CLASSLESS_ROUTE, option121);
        assert!(refused(&option121).contains("option 121 of the server has the router"));
    }
    // Some servers say so that there is none.
    let without = ack().with(option::ROUTER, [0, 0, 0, 0]);
    assert_eq!(lease(&without).result(None).routes, []);
}

#[test]
fn routes_that_lead_to_no_host_are_refused() {
    let classless = |route: &[u8]| ack().with(option::CLASSLESS_ROUTE, route);
    let loopback = refused(&classless(&[8, 127, 10, 0, 0, 1]));
    assert!(loopback.contains("a route to 127.0.0.0/8, a loopback address"), "{loopback}");
    let nobody = ack().with(option::STATIC_ROUTE, [0, 0, 0, 0, 10, 0, 0, 1]);
    assert!(refused(&nobody).contains("option 33 of the server has a route to 0.0.0.0/8"));
    // Both halves of all addresses, and multicast.
    for route in [&[1, 0, 10, 0, 0, 1][..], &[1, 128, 10, 0, 0, 1], &[4, 224, 0, 0, 0, 0]] {
        assert_eq!(lease(&classless(route)).classless.len(), 1);
    }
}
