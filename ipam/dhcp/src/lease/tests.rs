use super::*;
use crate::message::Kind;
use proptest::prelude::*;

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

fn seconds(message: Message, code: u8, seconds: u32) -> Message {
    message.with(code, seconds.to_be_bytes())
}

fn lease(message: &Message) -> Lease {
    Lease::of(message, &[]).unwrap()
}

/// Each route as `destination gateway scope`.
fn routes(lease: &Lease) -> Vec<String> {
    let text = |route: &Route| {
        let gw = route.gw.map_or("-".to_owned(), |gw| gw.to_string());
        format!("{} {gw} {}", route.dst, route.scope.map_or(0, u32::from))
    };
    lease.result(None).routes.iter().map(text).collect()
}

#[test]
fn the_router_is_gateway_and_default_route() {
    let result = lease(&ack()).result(Some(70));
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.9/24");
    assert_eq!(result.ips[0].gateway.unwrap().to_string(), "10.0.0.1");
    assert_eq!(result.routes.len(), 1);
    assert_eq!(result.routes[0].priority, Some(70));
    assert_eq!(routes(&lease(&ack())), ["0.0.0.0/0 10.0.0.1 0"]);
    assert!(result.dns.is_empty());
}

#[test]
fn routes_by_class_stand_before_the_default_route() {
    let both =
        ack().with(option::STATIC_ROUTE, [192, 168, 1, 9, 10, 0, 0, 3, 20, 0, 0, 0, 10, 0, 0, 4]);
    assert_eq!(
        routes(&lease(&both)),
        ["192.168.1.0/24 10.0.0.3 0", "20.0.0.0/8 10.0.0.4 0", "0.0.0.0/0 10.0.0.1 0"]
    );
}

/// RFC 3442.
#[test]
fn classless_routes_replace_all_others() {
    let bytes = [
        [24, 192, 168, 1, 10, 0, 0, 3].as_slice(),
        &[0, 10, 0, 0, 5],
        &[32, 10, 1, 2, 3, 0, 0, 0, 0],
        &[12, 172, 31, 10, 0, 0, 6],
    ]
    .concat();
    let all = ack()
        .with(option::STATIC_ROUTE, [192, 168, 9, 0, 10, 0, 0, 3])
        .with(option::CLASSLESS_ROUTE, bytes);
    assert_eq!(
        routes(&lease(&all)),
        [
            "192.168.1.0/24 10.0.0.3 0",
            "0.0.0.0/0 10.0.0.5 0",
            "10.1.2.3/32 - 253",
            "172.16.0.0/12 10.0.0.6 0"
        ]
    );
}

#[test]
fn times_have_defaults_and_an_order() {
    let of = |message: Message| {
        let lease = lease(&message);
        (lease.seconds, lease.renewal, lease.rebinding)
    };
    assert_eq!(of(ack()), (3600, 1800, 3150));
    assert_eq!(of(seconds(ack(), option::LEASE_TIME, 80)), (80, 40, 70));
    let named = seconds(seconds(ack(), option::RENEWAL_TIME, 600), option::REBINDING_TIME, 900);
    assert_eq!(of(named.clone()), (3600, 600, 900));
    let torn = seconds(named, option::REBINDING_TIME, 4000);
    assert_eq!(of(torn), (3600, 600, 3150));
    assert_eq!(of(seconds(ack(), option::REBINDING_TIME, 1000)), (3600, 1000, 1000));
    assert_eq!(lease(&seconds(ack(), option::LEASE_TIME, u32::MAX)).validity(), None);
}

#[test]
fn what_cannot_be_used_is_named() {
    let mut bare = ack();
    bare.options.remove(&option::SUBNET_MASK);
    let cases = [
        (bare, "DHCP option Subnet Mask not found in DHCPACK"),
        (ack().with(option::SUBNET_MASK, [255, 0, 255, 0]), "subnet mask 255.0.255.0"),
        (ack().with(option::SERVER, [1]), "does not identify itself"),
    ];
    for (message, why) in cases {
        let error = Lease::of(&message, &[]).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn options_of_routes_that_are_cut_short_are_refused() {
    for (code, value) in [
        (option::ROUTER, &[10, 0, 0][..]),
        (option::STATIC_ROUTE, &[20, 0, 0, 0, 10, 0, 0, 1, 30, 0, 0, 0]),
        (option::CLASSLESS_ROUTE, &[33, 10, 0, 0, 0, 0, 10, 0, 0, 1]),
        (option::CLASSLESS_ROUTE, &[0, 10, 0, 0, 1, 24, 10, 0]),
    ] {
        let error = Lease::of(&ack().with(code, value), &[]).unwrap_err();
        assert_eq!(error, format!("option {code} of the server is not well formed"));
    }
}

#[test]
fn name_service_is_taken_where_it_is_requested() {
    let search = [b"\x03eng\x05apple\x03com\x00".as_slice(), b"\x09marketing\xc0\x04"].concat();
    let all = ack()
        .with(option::DOMAIN_NAME_SERVER, [10, 0, 0, 53])
        .with(option::DOMAIN_NAME, b"example.com".to_vec())
        .with(option::DOMAIN_SEARCH, search);
    assert!(lease(&all).result(None).dns.is_empty());
    let dns = Lease::of(&all, &[6, 15, 119]).unwrap().result(None).dns;
    assert_eq!(dns.nameservers, ["10.0.0.53"]);
    assert_eq!(dns.domain, "example.com");
    assert_eq!(dns.search, ["eng.apple.com", "marketing.apple.com"]);
}

#[test]
fn a_lease_is_kept_as_json() {
    let all = ack().with(option::CLASSLESS_ROUTE, [0, 10, 0, 0, 5]);
    let lease = lease(&all);
    let text = serde_json::to_string(&lease).unwrap();
    assert_eq!(serde_json::from_str::<Lease>(&text).unwrap(), lease);
}

proptest! {
    #[test]
    fn no_options_panic(values in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
        let message = values.into_iter().fold(ack(), |all, (code, value)| all.with(code, value));
        if let Ok(lease) = Lease::of(&message, &[6, 15, 119]) {
            prop_assert!(lease.renewal <= lease.rebinding && lease.rebinding <= lease.seconds);
            let _ = lease.result(None);
        }
    }
}
