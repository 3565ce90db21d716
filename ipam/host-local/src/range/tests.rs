use super::*;
use proptest::prelude::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn spec(subnet: &str, start: &str, end: &str, gateway: &str) -> RangeSpec {
    let optional = |text: &str| (!text.is_empty()).then(|| address(text));
    RangeSpec {
        subnet: (!subnet.is_empty()).then(|| cni::result::parse_cidr(subnet).unwrap()),
        start: optional(start),
        end: optional(end),
        gateway: optional(gateway),
    }
}

fn range(subnet: &str, start: &str, end: &str) -> Range {
    Range::new(spec(subnet, start, end, "")).unwrap()
}

#[test]
fn defaults() {
    for (subnet, text, gateway) in [
        ("192.0.2.0/24", "192.0.2.1-192.0.2.254", "192.0.2.1"),
        ("192.0.2.0/25", "192.0.2.1-192.0.2.126", "192.0.2.1"),
        ("192.0.2.0/30", "192.0.2.1-192.0.2.2", "192.0.2.1"),
        ("0.0.0.0/0", "0.0.0.1-255.255.255.254", "0.0.0.1"),
        ("2001:db8:1::/64", "2001:db8:1::1-2001:db8:1:0:ffff:ffff:ffff:ffff", "2001:db8:1::1"),
        ("2001:db8::/126", "2001:db8::1-2001:db8::3", "2001:db8::1"),
        ("::/0", "::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"),
    ] {
        let range = range(subnet, "", "");
        assert_eq!((range.to_string(), range.gateway), (text.to_owned(), address(gateway)));
    }
}

#[test]
fn errors_have_the_reference_s_texts() {
    let too_small = "too small to allocate from";
    for ((subnet, start, end), text) in [
        (("", "", ""), "IP <nil> not v4 nor v6"),
        (("192.0.2.0/31", "", ""), "Network 192.0.2.0/31 too small to allocate from"),
        (("192.0.2.7/32", "", ""), "Network 192.0.2.7/32 too small to allocate from"),
        (("fd00::/127", "", ""), too_small),
        (("fd00::1/128", "", ""), too_small),
        (("::ffff:10.0.0.0/120", "", ""), "IPNet IP and Mask version mismatch"),
        (
            ("192.0.2.12/24", "", ""),
            "Network has host bits set. For a subnet mask of length 24 the network address is \
             192.0.2.0",
        ),
        (
            ("2001:db8:24:19ff::/63", "", ""),
            "Network has host bits set. For a subnet mask of length 63 the network address is \
             2001:db8:24:19fe::",
        ),
        (("192.0.2.0/24", "192.0.3.0", ""), "RangeStart 192.0.3.0 not in network 192.0.2.0/24"),
        (("192.0.2.0/24", "fd00::1", ""), "RangeStart fd00::1 not in network 192.0.2.0/24"),
        (("192.0.2.0/24", "", "192.0.4.0"), "RangeEnd 192.0.4.0 not in network 192.0.2.0/24"),
        (("fd00::/64", "", "10.0.0.1"), "RangeEnd 10.0.0.1 not in network fd00::/64"),
        (("192.0.2.0/24", "", "192.0.2.0"), "RangeEnd 192.0.2.0 not in network 192.0.2.0/24"),
        (
            ("192.0.2.0/24", "192.0.2.50", "192.0.2.40"),
            "RangeStart 192.0.2.50 not in network 192.0.2.0/24",
        ),
        (
            ("192.0.2.0/24", "192.0.2.50", "192.0.1.40"),
            "RangeStart 192.0.2.50 not in network 192.0.2.0/24",
        ),
        // The reference accepts this one, and gives out the broadcast address.
        (("192.0.2.0/24", "192.0.2.255", ""), "RangeStart 192.0.2.255 not in network 192.0.2.0/24"),
    ] {
        let error = Range::new(spec(subnet, start, end, "")).unwrap_err();
        assert!(error.to_string().contains(text), "{error} is not {text}");
        assert!(!error.remedy().is_empty());
    }
}

#[test]
fn sets_are_of_one_family_and_disjoint() {
    let set = |ranges: &[Range]| RangeSet::new(ranges.to_vec()).unwrap_err().to_string();
    assert_eq!(set(&[]), "empty range set");
    let (v4, v6) = (range("192.168.0.0/20", "", ""), range("fd00::/64", "", ""));
    assert_eq!(set(&[v4.clone(), v6]), "mixed address families");
    assert_eq!(
        set(&[v4, range("192.168.2.0/24", "", "")]),
        "subnets 192.168.0.1-192.168.15.254 and 192.168.2.1-192.168.2.254 overlap"
    );
}

#[test]
fn overlaps() {
    let none = ("", "");
    for (one, two, expected) in [
        (("10.0.0.0/24", none), ("10.0.1.0/24", none), false),
        (("0.0.0.0/24", none), ("::/24", none), false),
        (("10.0.0.0/24", none), ("10.0.0.0/24", none), true),
        (("10.0.0.0/20", none), ("10.0.1.0/24", none), true),
        (("10.0.0.0/24", ("", "10.0.0.127")), ("10.0.0.0/24", ("10.0.0.128", "")), false),
        (("10.0.0.0/24", ("", "10.0.0.127")), ("10.0.0.0/24", ("10.0.0.127", "")), true),
    ] {
        let make = |(subnet, (start, end))| RangeSet::new(vec![range(subnet, start, end)]).unwrap();
        assert_eq!(make(one).overlaps(&make(two)), expected);
        assert_eq!(make(two).overlaps(&make(one)), expected);
    }
}

#[test]
fn network_broadcast_and_gateways_are_reserved() {
    let ranges = vec![
        range("10.0.0.0/24", "10.0.0.0", "10.0.0.100"),
        Range::new(spec("10.0.0.0/24", "10.0.0.101", "10.0.0.255", "10.0.0.50")).unwrap(),
    ];
    let set = RangeSet::new(ranges).unwrap();
    let reserved = |text: &str| {
        let address = address(text);
        set.reserved(set.range_of(address).unwrap(), number(address))
    };
    assert_eq!(reserved("10.0.0.0"), Some(Reserved::Network));
    assert_eq!(reserved("10.0.0.255"), Some(Reserved::Broadcast));
    assert_eq!(reserved("10.0.0.1"), Some(Reserved::Gateway));
    assert_eq!(reserved("10.0.0.50"), Some(Reserved::Gateway));
    assert_eq!(reserved("10.0.0.2"), None);
    assert_eq!(set.capacity(), 252);
    let v6 = RangeSet::new(vec![range("fd00::/126", "fd00::", "fd00::3")]).unwrap();
    assert_eq!(v6.capacity(), 2, "network and gateway; IPv6 has no broadcast");
    assert_eq!(RangeSet::new(vec![range("::/0", "", "")]).unwrap().capacity(), u128::MAX - 1);
}

#[test]
fn the_gateway_may_be_anywhere() {
    let outside = Range::new(spec("10.0.0.0/24", "", "", "10.9.9.9")).unwrap();
    assert!(!outside.reaches_gateway() && range("10.0.0.0/24", "", "").reaches_gateway());
}

proptest! {
    #[test]
    fn numbers_and_addresses(address in any::<IpAddr>()) {
        prop_assert_eq!(Family::of(address).address(number(address)), address);
    }

    #[test]
    fn a_valid_range_lies_in_its_subnet(
        base in any::<IpAddr>(), prefix in 0u8..=128, start in any::<Option<IpAddr>>(),
        end in any::<Option<IpAddr>>(), gateway in any::<Option<IpAddr>>(),
    ) {
        let Ok(subnet) = IpNetwork::new(base, prefix) else { return Ok(()) };
        let subnet = IpNetwork::new(subnet.network(), prefix).unwrap();
        let spec = RangeSpec { subnet: Some(subnet), start, end, gateway };
        if let Ok(range) = Range::new(spec) {
            let family = range.family();
            prop_assert!(range.start <= range.end);
            prop_assert!(subnet.contains(family.address(range.start)));
            prop_assert!(subnet.contains(family.address(range.end)));
            prop_assert!(range.contains(family.address(range.end)));
        }
    }
}
