//! What a pod without a bridge needs: applied, checked, and gone with its veth pair.

use crate::alter::{alterations, names_it};
use crate::check::{COMMENT, HOST, veth};
use crate::common::{Pod, assert_same, in_netns, sh, state};
use attach::{HostRoute, Item, Kernel, Mac, Neighbour, Place, Rpfilter, Rule, Veth};

const ADDRESSES: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const GATEWAYS: [&str; 2] = ["169.254.1.1/32", "fe80::1/64"];

fn route(address: &str) -> HostRoute {
    HostRoute {
        link: HOST.to_owned(),
        address: address.parse().unwrap(),
        last_source: None,
        protocol: 117,
    }
}

fn neighbour(place: Place, link: &str, address: &str, last: u8) -> Item {
    let (link, address) = (link.to_owned(), address.parse().unwrap());
    let (mac, permanent) = (Mac([2, 0, 0, 0, 0, last]), place == Place::Pod);
    Item::Neighbour(Neighbour { place, link, address, mac, permanent })
}

fn routed() -> Vec<Item> {
    let comment = COMMENT.to_owned();
    let mut items = vec![
        Item::Veth(Veth { bridge: None, ..veth(HOST, COMMENT) }),
        Item::Rule(Rule::Rpfilter(Rpfilter { link: HOST.to_owned(), comment })),
        Item::Up(Place::Host, HOST.to_owned()),
        Item::Up(Place::Pod, "eth0".to_owned()),
    ];
    for (address, gateway) in ADDRESSES.iter().zip(GATEWAYS) {
        items.push(Item::PodGateway(HOST.to_owned(), gateway.parse().unwrap()));
        items.push(Item::HostRoute(route(address)));
        items.push(neighbour(Place::Host, HOST, address, 1));
        let gateway = gateway.split('/').next().unwrap();
        items.push(neighbour(Place::Pod, "eth0", gateway, 2));
    }
    items
}

#[test]
fn each_alteration_is_named() {
    let routed = routed();
    for (index, item) in routed.iter().enumerate().skip(1) {
        for alteration in alterations(item) {
            let items = routed.clone();
            in_netns(move || names_it(&items, index, &alteration));
        }
    }
    // The host end, alone: the kernel takes along what hangs on it.
    for (place, script) in alterations(&routed[0]) {
        let veth = routed[..1].to_vec();
        in_netns(move || names_it(&veth, 0, &(place, script)));
    }
}

#[test]
fn nothing_of_it_is_there_before_and_nothing_after() {
    in_netns(|| {
        sh("ip link set lo up");
        let before = state();
        let pod = Pod::new();
        let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
        for item in routed() {
            let learned = matches!(&item, Item::Neighbour(n) if !n.permanent);
            let differences = kernel.check(std::slice::from_ref(&item)).unwrap();
            assert_eq!(differences.is_empty(), learned, "{item}: {differences:?}");
        }
        let mut done = Vec::new();
        kernel.apply(&routed(), &mut done).unwrap();
        assert_eq!(done, routed());
        assert_eq!(kernel.check(&routed()).unwrap(), Vec::<String>::new());
        let known = sh(&format!("ip neigh show dev {HOST}"));
        for address in ADDRESSES {
            let entry = format!("{address} lladdr 02:00:00:00:00:01 extern_learn STALE");
            assert!(known.contains(&entry), "{known}");
        }
        assert!(kernel.remove(&done, COMMENT).is_empty());
        assert_same(&before, &state(), "removed");
    });
}

#[test]
fn a_route_that_is_there_already_is_left_alone_and_its_link_named() {
    in_netns(|| {
        for address in ADDRESSES {
            sh(&format!("ip link add other up type bridge; ip route add {address} dev other"));
            let pod = Pod::new();
            let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
            let veth = Item::Veth(Veth { bridge: None, ..veth(HOST, COMMENT) });
            let items = [veth, Item::Up(Place::Host, HOST.to_owned())];
            let mut done = Vec::new();
            kernel.apply(&items, &mut done).unwrap();
            let error = kernel.apply(&[Item::HostRoute(route(address))], &mut done).unwrap_err();
            let wanted = format!("the host has a route to {address} already by other");
            assert_eq!(error.summary(), wanted);
            assert_eq!(done, items);
            assert!(sh(&format!("ip route get {address}")).contains("dev other"));
            kernel.remove(&done, COMMENT);
            sh("ip link del other");
        }
    });
}

#[test]
fn a_node_without_an_address_has_a_source_for_its_pods() {
    in_netns(|| {
        for (own, wanted) in [(None, "169.254.1.1"), (Some("192.0.2.9"), "192.0.2.9")] {
            if let Some(own) = own {
                sh(&format!("ip link set lo up; ip addr add {own}/32 dev lo"));
            }
            let pod = Pod::new();
            let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
            let last_source = "169.254.1.1".parse().ok();
            let items = [
                Item::Veth(Veth { bridge: None, ..veth(HOST, COMMENT) }),
                Item::Up(Place::Host, HOST.to_owned()),
                Item::PodGateway(HOST.to_owned(), GATEWAYS[0].parse().unwrap()),
                Item::HostRoute(HostRoute { last_source, ..route(ADDRESSES[0]) }),
            ];
            let mut done = Vec::new();
            kernel.apply(&items, &mut done).unwrap();
            assert_eq!(kernel.check(&items).unwrap(), Vec::<String>::new());
            let taken = sh(&format!("ip route get {}", ADDRESSES[0]));
            assert!(taken.contains(&format!("src {wanted} ")), "{taken}");
            kernel.remove(&done, COMMENT);
        }
    });
}

#[test]
fn the_uplink_is_the_link_of_the_default_route() {
    in_netns(|| {
        let mut kernel = Kernel::open(None).unwrap();
        let mut uplink = || kernel.uplink().unwrap().map(|link| (link.name, link.mtu));
        assert_eq!(uplink(), None);
        sh("ip link add six mtu 9000 up type bridge; ip link add four mtu 1400 up type bridge
            ip -6 route add default via fe80::9 dev six");
        assert_eq!(uplink(), Some(("six".to_owned(), 9000)));
        sh("ip route add default dev four");
        assert_eq!(uplink(), Some(("four".to_owned(), 1400)));
        sh("ip route replace blackhole default metric 0; ip route flush dev four");
        assert_eq!(uplink(), Some(("six".to_owned(), 9000)));
    });
}
