//! What was applied is as CHECK expects, and each thing that is not is named.

use crate::alter::{alterations, names_it};
use crate::common::{Pod, assert_same, in_netns, sh, state};
use attach::{
    Bridge, Family, Forwarded, Gateway, Ifb, Item, Kernel, Mac, Macspoof, Masquerade, NetRoute,
    Place, Port, RateLimit, Redirect, Route, Rule, SubnetRoute, Sysctl, Veth, Vlan, Vlans,
};
use std::time::{Duration, Instant};

pub const BRIDGE: &str = "br0";
pub const HOST: &str = "veth0123456789a";
pub const IFB: &str = "bwp0123456789ab";
pub const COMMENT: &str = "ferrule c1 pods eth0";

pub fn bridge() -> Item {
    Item::Bridge(Bridge {
        name: BRIDGE.to_owned(),
        mtu: Some(1450),
        promiscuous: true,
        vlan_filtering: false,
        no_linklocal_learn: true,
    })
}

pub fn veth(host: &str, alias: &str) -> Veth {
    Veth {
        host: host.to_owned(),
        host_mac: Some(Mac([0xfe, 0, 0, 0, 0, 1])),
        alias: alias.to_owned(),
        bridge: Some(BRIDGE.to_owned()),
        pod: "eth0".to_owned(),
        pod_mac: Some(Mac([0x0a, 0, 0, 0, 0, 1])),
        mtu: Some(1450),
        pod_mtu: Some(1450),
    }
}

pub fn sysctl(place: Place, key: &str, value: &'static str) -> Item {
    Item::Sysctl(Sysctl { place, key: key.to_owned(), value: value.into(), optional: false })
}

pub fn gateway(address: &str, force: bool) -> Item {
    let address = address.parse().unwrap();
    Item::Gateway(Gateway { link: BRIDGE.to_owned(), address, force, protocol: 0 })
}

pub fn route(dst: &str, gateway: Option<&str>) -> NetRoute {
    NetRoute::new(dst.parse().unwrap(), gateway.map(|text| text.parse().unwrap()), 0)
}

pub fn masquerade(address: &str, comment: &str) -> Masquerade {
    let subnet: ipnetwork::IpNetwork = address.parse().unwrap();
    let (network, comment) = ("pods".to_owned(), comment.to_owned());
    Masquerade { network, address: subnet.ip(), subnet, exclude: Vec::new(), comment }
}

pub fn macspoof(comment: &str) -> Macspoof {
    let comment = comment.to_owned();
    Macspoof { port: HOST.to_owned(), mac: Mac([0x0a, 0, 0, 0, 0, 1]), comment }
}

fn rate_limit(link: &str, owned: bool) -> Item {
    let (link, rate, burst) = (link.to_owned(), 1_000_000, 100_000);
    Item::RateLimit(RateLimit { link, rate, burst, owned })
}

/// One of each kind that needs nothing uncommon of the kernel, and of some more.
pub fn everything() -> Vec<Item> {
    let eth0 = || "eth0".to_owned();
    let address = |text: &str| Item::Address(eth0(), text.parse().unwrap(), false);
    let on_eth0 = |route| Item::Route(Route { link: eth0(), route });
    vec![
        bridge(),
        sysctl(Place::Host, "net/ipv6/conf/br0/accept_ra", "0"),
        Item::Veth(veth(HOST, "ferrule c1")),
        sysctl(Place::Pod, "net/ipv4/conf/eth0/arp_notify", "1"),
        sysctl(Place::Pod, "net/ipv6/conf/eth0/accept_dad", "0"),
        Item::Up(Place::Pod, eth0()),
        Item::Up(Place::Host, HOST.to_owned()),
        Item::Port(Port { link: HOST.to_owned(), hairpin: true, isolated: true }),
        Item::Rule(Rule::Macspoof(macspoof(COMMENT))),
        sysctl(Place::Pod, "net/ipv6/conf/eth0/disable_ipv6", "0"),
        sysctl(Place::Pod, "net/ipv6/conf/eth0/keep_addr_on_down", "1"),
        gateway("10.1.0.1/24", false),
        gateway("fd00:1::1/64", false),
        gateway("fd00:2::1/64", false),
        Item::Forwarding(Family::V4),
        Item::Forwarding(Family::V6),
        address("10.1.0.2/24"),
        address("fd00:1::2/64"),
        on_eth0(route("0.0.0.0/0", Some("10.1.0.1"))),
        on_eth0(route("::/0", Some("fd00:1::1"))),
        on_eth0(NetRoute {
            priority: 50,
            mtu: Some(1400),
            advmss: Some(1300),
            ..route("10.9.0.0/16", Some("10.1.0.1"))
        }),
        on_eth0(NetRoute { table: 1000, ..route("10.8.0.0/16", None) }),
        on_eth0(NetRoute { table: 1000, mtu: Some(1400), ..route("fd09::/32", Some("fd00:1::1")) }),
        Item::Rule(Rule::Masquerade(masquerade("10.1.0.2/24", COMMENT))),
        Item::Rule(Rule::Masquerade(masquerade("fd00:1::2/64", COMMENT))),
        Item::Ifb(Ifb {
            name: IFB.to_owned(),
            mac: Some(Mac([6, 0, 0, 0, 0, 1])),
            alias: "ferrule c1".to_owned(),
            mtu: 1450,
        }),
        rate_limit(IFB, false),
        Item::Up(Place::Host, IFB.to_owned()),
        Item::Redirect(Redirect { from: HOST.to_owned(), to: IFB.to_owned() }),
        rate_limit(HOST, true),
    ]
}

/// The node's state once the kernel has made the routes of the IPv6 gateways, which it does in its
/// own time (net/ipv6/addrconf.c, addrconf_dad_work).
pub fn settled() -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = state();
        let made = |address: &str| {
            let route = format!("local {address} dev {BRIDGE} ");
            found.iter().any(|line| line.starts_with(&route))
        };
        if made("fd00:1::1") && made("fd00:2::1") {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:#?}");
    }
}

#[test]
fn each_alteration_of_each_item_is_named() {
    let items = everything();
    let mut count = 0;
    for (index, item) in items.iter().enumerate() {
        let all = alterations(item);
        assert!(!all.is_empty(), "{item}");
        for alteration in all {
            let items = items.clone();
            count += 1;
            in_netns(move || names_it(&items, index, &alteration));
        }
    }
    assert!(count > items.len());
}

/// Those of a network whose gateways lie outside of the pods' subnets.
#[test]
fn each_alteration_of_routes_to_a_subnet_and_on_the_link_is_named() {
    let subnet = |pod: &str| {
        Item::SubnetRoute(SubnetRoute { link: BRIDGE.to_owned(), pod: pod.parse().unwrap() })
    };
    let on_link = NetRoute { scope: Some(253), ..route("169.254.169.254/32", None) };
    let items = vec![
        bridge(),
        Item::Veth(veth(HOST, "ferrule c1")),
        Item::Up(Place::Pod, "eth0".to_owned()),
        Item::Up(Place::Host, HOST.to_owned()),
        gateway("10.8.0.1/32", false),
        gateway("fe80::1/64", false),
        Item::Address("eth0".to_owned(), "10.1.0.2/24".parse().unwrap(), false),
        subnet("10.1.0.2/24"),
        subnet("fd00:1::2/64"),
        Item::Route(Route { link: "eth0".to_owned(), route: on_link }),
    ];
    for (index, item) in items.iter().enumerate().skip(7) {
        let all = alterations(item);
        assert!(!all.is_empty(), "{item}");
        for alteration in all {
            let items = items.clone();
            in_netns(move || names_it(&items, index, &alteration));
        }
    }
}

#[test]
fn a_bridge_whose_frames_policies_do_not_see_is_named() {
    let items = vec![bridge(), Item::Hooks(BRIDGE.to_owned())];
    for alteration in alterations(&items[1]) {
        let items = items.clone();
        in_netns(move || {
            let mut kernel = Kernel::open(None).unwrap();
            kernel.apply(&items, &mut Vec::new()).unwrap();
            assert_eq!(kernel.check(&items[1..]).unwrap(), Vec::<String>::new());
            sh(&alteration.1);
            let wanted = format!("{}: they do not see the frames between its ports", items[1]);
            assert_eq!(kernel.check(&items[1..]).unwrap(), [wanted]);
        });
    }
}

/// Apart from the others, since the administrator's chain stays.
#[test]
fn each_alteration_of_what_lets_a_pod_forward_is_named() {
    for address in ["10.1.0.2", "fd00:1::2"] {
        let forwarded = Item::Rule(Rule::Forwarded(Forwarded {
            address: address.parse().unwrap(),
            isolation: None,
            admin: "CNI-ADMIN".to_owned(),
            comment: COMMENT.to_owned(),
        }));
        let items = vec![bridge(), Item::Veth(veth(HOST, "ferrule c1")), forwarded];
        for alteration in alterations(&items[2]) {
            let items = items.clone();
            in_netns(move || names_it(&items, 2, &alteration));
        }
    }
}

#[test]
fn applying_again_what_is_shared_changes_nothing() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        kernel.apply(&everything(), &mut Vec::new()).unwrap();
        kernel.wait_running(HOST, "eth0").unwrap();
        kernel.wait_running(BRIDGE, "eth0").unwrap();
        let before = settled();
        let shared = |item: &Item| {
            // What is of an IFB device goes with it.
            let ifb = Item::Up(Place::Host, IFB.to_owned());
            let limit = matches!(item, Item::RateLimit(_)) || *item == ifb;
            item.place() == Place::Host && item.owned().is_none() && !limit
        };
        let again: Vec<_> = everything().into_iter().filter(shared).collect();
        assert_eq!(again.len(), 9);
        let mut done = Vec::new();
        kernel.apply(&again, &mut done).unwrap();
        assert_eq!(done, again);
        assert_same(&before, &state(), "applied again");
    });
}

#[test]
fn nothing_of_a_plan_is_there_before_it() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        sh("echo 1 > /proc/sys/net/ipv6/conf/default/accept_ra");
        for item in everything() {
            let differences = kernel.check(std::slice::from_ref(&item)).unwrap();
            assert!(!differences.is_empty(), "{item}");
            let name = format!("{item}: ");
            assert!(differences.iter().all(|text| text.starts_with(&name)), "{differences:?}");
        }
    });
}

#[test]
fn a_sysctl_that_the_kernel_lacks_may_be_optional() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        let item = |optional| {
            let key = "net/ipv6/conf/nowhere/accept_ra".to_owned();
            vec![Item::Sysctl(Sysctl { place: Place::Host, key, value: "0".into(), optional })]
        };
        kernel.apply(&item(true), &mut Vec::new()).unwrap();
        assert_eq!(kernel.check(&item(true)).unwrap(), Vec::<String>::new());
        let mut done = Vec::new();
        kernel.apply(&item(false), &mut done).unwrap_err();
        assert_eq!(done, []);
        let differences = kernel.check(&item(false)).unwrap();
        assert_eq!(differences, ["sysctl net/ipv6/conf/nowhere/accept_ra: missing"]);
    });
}

/// Of the IPv6 default routes of a pod's two networks the kernel makes one, with two hops.
#[test]
fn a_second_networks_default_route_is_no_difference() {
    in_netns(|| {
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        let on_eth0 = |route| Item::Route(Route { link: "eth0".to_owned(), route });
        let items = vec![
            bridge(),
            Item::Veth(veth(HOST, "ferrule c1")),
            Item::Up(Place::Pod, "eth0".to_owned()),
            Item::Up(Place::Host, HOST.to_owned()),
            Item::Address("eth0".to_owned(), "10.1.0.2/24".parse().unwrap(), false),
            Item::Address("eth0".to_owned(), "fd00:1::2/64".parse().unwrap(), false),
            on_eth0(route("0.0.0.0/0", Some("10.1.0.1"))),
            on_eth0(route("::/0", Some("fd00:1::1"))),
        ];
        kernel.apply(&items, &mut Vec::new()).unwrap();
        pod.sh("ip link add eth1 up type bridge
            ip addr add fd00:2::2/64 dev eth1 nodad; ip addr add 10.2.0.2/24 dev eth1
            ip -6 route append default via fd00:2::1 dev eth1
            ip route append default via 10.2.0.1 dev eth1");
        assert!(pod.sh("ip -6 route show default").contains("nexthop"));
        assert_eq!(kernel.check(&items).unwrap(), Vec::<String>::new());
        pod.sh("ip -6 route del default via fd00:1::1 dev eth0");
        assert_eq!(kernel.check(&items).unwrap(), [format!("{}: missing", items[7])]);
        pod.sh("ip -6 route append default via fd00:1::1 dev eth0");
        // Of IPv4 such a route is not the kernel's doing.
        pod.sh("ip route del default via 10.1.0.1 dev eth0
            ip route prepend default nexthop via 10.1.0.1 dev eth0 \
                nexthop via 10.2.0.1 dev eth1");
        assert_eq!(kernel.check(&items).unwrap(), [format!("{}: missing", items[6])]);
    });
}

/// VLANs, where the kernel has them: the same as for everything else; and where it has not, the
/// words of the refusal.
#[test]
fn vlans_are_checked_or_refused() {
    let filtering = Bridge {
        name: BRIDGE.to_owned(),
        mtu: None,
        promiscuous: false,
        vlan_filtering: true,
        no_linklocal_learn: false,
    };
    let vlans = vec![
        Vlan { id: 100, pvid: true, untagged: true },
        Vlan { id: 7, pvid: false, untagged: false },
    ];
    let items = vec![
        Item::Bridge(filtering),
        Item::Veth(veth(HOST, "ferrule c1")),
        Item::Vlans(Vlans { link: HOST.to_owned(), vlans, keep_default: false }),
    ];
    let bridge = items[..1].to_vec();
    let refused = in_netns(move || {
        let error = Kernel::open(None).unwrap().apply(&bridge, &mut Vec::new()).err();
        error.map(|error| (error.summary(), sh("ip -br link").lines().count()))
    });
    match refused {
        None => {
            for alteration in alterations(&items[2]) {
                let items = items.clone();
                in_netns(move || names_it(&items, 2, &alteration));
            }
        }
        Some((text, links)) => {
            let wanted = "bridge br0 cannot filter by VLAN: the kernel has no VLAN filtering";
            assert!(text.starts_with(wanted), "{text}");
            assert_eq!(links, 1, "loopback");
        }
    }
}
