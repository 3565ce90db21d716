//! Every way in which each item can stop being as it was applied, one thing at a time.

use crate::common::{Pod, sh};
use attach::{
    Family, Forwarded, Gateway, HostRoute, Item, Kernel, Macspoof, Masquerade, Neighbour, NetRoute,
    Place, Port, RateLimit, Redirect, Route, Rpfilter, Rule, Setting, Sysctl, Veth, Vlans,
};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// A shell script that alters one thing, and where.
pub type Alteration = (Place, String);

/// The alterations of an item. A new kind of item does not compile until it has some.
#[expect(clippy::too_many_lines, reason = "a table: an arm for each kind of item")]
pub fn alterations(item: &Item) -> Vec<Alteration> {
    let on_host = |scripts: Vec<String>| scripts.into_iter().map(|s| (Place::Host, s)).collect();
    match item {
        Item::Bridge(bridge) => {
            let name = &bridge.name;
            // The kernel would take the IPv6 gateway addresses along.
            let keep = format!("echo 1 > /proc/sys/net/ipv6/conf/{name}/keep_addr_on_down");
            let mut scripts = vec![format!("{keep}; ip link set {name} down")];
            if bridge.promiscuous {
                scripts.push(format!("ip link set {name} promisc off"));
            }
            if bridge.vlan_filtering {
                scripts.push(format!("ip link set {name} type bridge vlan_filtering 0"));
            }
            if bridge.no_linklocal_learn {
                scripts.push(format!("ip link set {name} type bridge no_linklocal_learn 0"));
            }
            on_host(scripts)
        }
        Item::VlanDevice(name, bridge, id) => {
            let other = if *id == 2 { 3 } else { 2 };
            let again = format!("ip link add link {bridge} name {name} up type vlan id {other}");
            on_host(vec![
                format!("ip link set {name} down"),
                format!("ip link del {name}; {again}"),
            ])
        }
        Item::Hooks(name) => {
            let of = |call: &str| format!("ip link set {name} type bridge nf_call_{call} 0");
            on_host(vec![of("iptables"), of("ip6tables")])
        }
        Item::Veth(veth) => of_veth(veth),
        Item::Port(port) => on_host(of_port(port)),
        Item::Vlans(vlans) => on_host(of_vlans(vlans)),
        Item::Sysctl(sysctl) => {
            let other = if sysctl.value == "0" { "1" } else { "0" };
            vec![(sysctl.place, format!("echo {other} > /proc/sys/{}", sysctl.key))]
        }
        Item::Up(place, name) => vec![(*place, format!("ip link set {name} down"))],
        Item::UpAs(name, _) => vec![(Place::Pod, format!("ip link set {name} down"))],
        Item::Address(name, address, _) => {
            // The last IPv4 address of a link would take its routes along.
            let other = "192.0.2.1/32";
            let script =
                format!("ip addr add {other} dev {name}; ip addr del {address} dev {name}");
            vec![(Place::Pod, script)]
        }
        Item::Route(route) => of_route(route),
        Item::Gateway(Gateway { link, address, .. }) => {
            on_host(vec![format!("ip addr del {address} dev {link}")])
        }
        Item::Forwarding(Family::V4) => {
            on_host(vec!["echo 0 > /proc/sys/net/ipv4/ip_forward".to_owned()])
        }
        Item::Forwarding(Family::V6) => {
            on_host(vec!["echo 0 > /proc/sys/net/ipv6/conf/all/forwarding".to_owned()])
        }
        Item::Rule(Rule::Masquerade(masquerade)) => on_host(of_masquerade(masquerade)),
        Item::Rule(Rule::Macspoof(macspoof)) => on_host(of_macspoof(macspoof)),
        Item::Rule(Rule::Rpfilter(rpfilter)) => on_host(of_rpfilter(rpfilter)),
        Item::Rule(Rule::Forwarded(forwarded)) => on_host(of_forwarded(forwarded)),
        // What becomes of it is policy-sync's.
        Item::Rule(Rule::Policed(_)) => Vec::new(),
        // Those of its elements: suite portmap.
        Item::Rule(Rule::HostPorts(_)) => {
            on_host(vec!["nft flush chain inet ferrule hostports-in".to_owned()])
        }
        Item::PodGateway(link, address) => {
            // As above.
            let keep = format!("ip addr add 192.0.2.1/32 dev {link}");
            on_host(vec![format!("{keep}; ip addr del {address} dev {link}")])
        }
        Item::SubnetRoute(route) => {
            let (subnet, link) = (route.subnet(), &route.link);
            let gone = format!("ip route del {subnet} dev {link}");
            let elsewhere = "ip link add elsewhere up type bridge";
            on_host(vec![
                gone.clone(),
                format!("{gone}; {elsewhere}; ip route add {subnet} dev elsewhere"),
            ])
        }
        Item::HostRoute(HostRoute { link, address, .. }) => {
            let gone = format!("ip route del {address}");
            on_host(vec![
                gone.clone(),
                format!("{gone}; ip route add {address} dev {link} proto static"),
                format!(
                    "ip link add elsewhere up type bridge
                         ip route replace {address} dev elsewhere proto 117 metric 1
                         {gone} dev {link}"
                ),
            ])
        }
        Item::Neighbour(Neighbour { place, link, address, permanent: true, .. }) => {
            let other = format!("{address} lladdr 02:00:00:00:00:99");
            vec![(*place, format!("ip neigh replace {other} dev {link} nud permanent"))]
        }
        // It is whatever it became.
        Item::Neighbour(_) => vec![],
        Item::Setting(change) => vec![(Place::Pod, of_setting(&change.to))],
        Item::Ifb(ifb) => on_host(vec![
            format!("ip link set {} mtu 1000", ifb.name),
            format!("ip link set {} alias other", ifb.name),
        ]),
        Item::RateLimit(limit) => on_host(of_rate_limit(limit)),
        Item::Redirect(redirect) => on_host(of_redirect(redirect)),
        Item::VrfPort(port) => vec![(Place::Pod, format!("ip link set {} nomaster", port.link))],
        Item::SourceRouting(routing) => {
            let of = |(source, table): &(IpAddr, u32)| {
                format!("ip rule del from {source} lookup {table}")
            };
            routing.rules.iter().map(|rule| (Place::Pod, of(rule))).collect()
        }
    }
}

fn of_rate_limit(limit: &RateLimit) -> Vec<String> {
    let RateLimit { link, rate, burst, .. } = limit;
    let other = |rate: u64, burst: u32| {
        format!(
            "tc qdisc replace dev {link} root handle 1: tbf rate {rate}bps burst {burst} latency 25ms"
        )
    };
    vec![format!("tc qdisc del dev {link} root"), other(rate * 2, *burst), other(*rate, burst / 2)]
}

fn of_redirect(redirect: &Redirect) -> Vec<String> {
    let from = &redirect.from;
    vec![
        format!("tc qdisc del dev {from} ingress"),
        format!("tc filter del dev {from} ingress prio 1"),
    ]
}

fn of_setting(setting: &Setting) -> String {
    match setting {
        Setting::Sysctl { key, .. } => format!("echo 7 > /proc/sys/{key}"),
        Setting::Mac { link, .. } => format!("ip link set {link} address 02:00:00:00:00:99"),
        Setting::Mtu { link, .. } => format!("ip link set {link} mtu 1333"),
        Setting::Promiscuous { link, on } => format!("ip link set {link} promisc {}", other(*on)),
        Setting::AllMulticast { link, on } => {
            format!("ip link set {link} allmulticast {}", other(*on))
        }
        Setting::TxQueueLength { link, .. } => format!("ip link set {link} txqueuelen 77"),
    }
}

fn other(on: bool) -> &'static str {
    if on { "off" } else { "on" }
}

fn of_forwarded(forwarded: &Forwarded) -> Vec<String> {
    let address = forwarded.address;
    let map = if address.is_ipv4() { "firewall4" } else { "firewall6" };
    let gone = format!("nft 'delete element inet ferrule {map} {{ {address} }}'");
    let add = format!(
        "nft 'add element inet ferrule {map} {{ {address} comment \"someone else\" : jump firewall-open }}'"
    );
    let tool = if address.is_ipv4() { "iptables-nft" } else { "ip6tables-nft" };
    vec![
        gone.clone(),
        format!("{gone}; {add}"),
        "nft flush chain inet ferrule firewall".to_owned(),
        "nft flush chain inet ferrule firewall-end".to_owned(),
        format!("{tool} -F FORWARD"),
        format!("{tool} -F CNI-FORWARD"),
        format!("{tool} -I FORWARD -j DROP"),
    ]
}

fn of_rpfilter(rpfilter: &Rpfilter) -> Vec<String> {
    let link = &rpfilter.link;
    let gone = format!("nft 'delete element inet ferrule rpfilter-links {{ \"{link}\" }}'");
    let add = format!(
        "nft 'add element inet ferrule rpfilter-links {{ \"{link}\" comment \"someone else\" }}'"
    );
    vec![gone.clone(), format!("{gone}; {add}"), "nft flush chain inet ferrule rpfilter".to_owned()]
}

fn of_veth(veth: &Veth) -> Vec<Alteration> {
    let (host, pod) = (&veth.host, &veth.pod);
    // A port elsewhere, with the same flags.
    let elsewhere = format!(
        "flags=$(bridge -d link show dev {host} | grep -o 'hairpin [onf]*\\|isolated [onf]*' || :)
         ip link add elsewhere type bridge; ip link set {host} master elsewhere
         [ -z \"$flags\" ] || bridge link set dev {host} $flags"
    );
    let mut all = vec![
        (Place::Host, elsewhere),
        (Place::Pod, format!("ip link set {pod} address 02:00:00:00:00:99")),
        (Place::Host, format!("ip link set {host} address 02:00:00:00:00:99")),
        (Place::Host, format!("ip link set {host} alias other")),
        (Place::Host, format!("ip link set {host} alias ''")),
    ];
    if let Some(mtu) = veth.mtu {
        // Larger: a smaller one the kernel would cut the MTU of IPv6 routes to.
        all.push((Place::Host, format!("ip link set {host} mtu {}", mtu + 1)));
    }
    if let Some(mtu) = veth.pod_mtu {
        all.push((Place::Pod, format!("ip link set {pod} mtu {}", mtu + 1)));
    }
    all
}

fn of_port(port: &Port) -> Vec<String> {
    let flag = |name: &str, was: bool| {
        let now = if was { "off" } else { "on" };
        format!("bridge link set dev {} {name} {now}", port.link)
    };
    vec![flag("hairpin", port.hairpin), flag("isolated", port.isolated)]
}

fn of_vlans(vlans: &Vlans) -> Vec<String> {
    let name = &vlans.link;
    let mut all = Vec::new();
    for vlan in &vlans.vlans {
        let pvid = if vlan.pvid { "" } else { "pvid" };
        let untagged = if vlan.untagged { "" } else { "untagged" };
        all.push(format!("bridge vlan del dev {name} vid {}", vlan.id));
        all.push(format!("bridge vlan add dev {name} vid {} {pvid} {untagged}", vlan.id));
    }
    if !vlans.keep_default {
        all.push(format!("bridge vlan add dev {name} vid 1"));
    }
    all
}

fn of_route(item: &Route) -> Vec<Alteration> {
    let NetRoute { dst, hops, table, mtu, advmss, .. } = &item.route;
    let gateway = &hops[0].gateway;
    let family = if dst.is_ipv6() { "-6" } else { "-4" };
    let key = |metric: u32| {
        let metric = if metric > 0 { format!("metric {metric}") } else { String::new() };
        format!("{dst} dev {} table {table} {metric}", item.link)
    };
    let onlink = if hops[0].onlink { " onlink" } else { "" };
    let via = gateway.map(|gateway| format!("via {gateway}{onlink}")).unwrap_or_default();
    let other = match gateway {
        Some(IpAddr::V4(gateway)) => {
            format!("via {}{onlink}", std::net::Ipv4Addr::from(u32::from(*gateway) + 50))
        }
        Some(IpAddr::V6(gateway)) => {
            format!("via {}{onlink}", std::net::Ipv6Addr::from(u128::from(*gateway) + 50))
        }
        None => String::new(),
    };
    let same = key(item.route.priority);
    let sized = |mtu: Option<u32>, advmss: Option<u32>| {
        let mtu = mtu.map(|mtu| format!("mtu {mtu}")).unwrap_or_default();
        let advmss = advmss.map(|advmss| format!("advmss {advmss}")).unwrap_or_default();
        format!("{mtu} {advmss}")
    };
    let gone = format!("ip {family} route del {same} {via}");
    let add = |rest: String| format!("{gone}; ip {family} route add {rest}");
    let mut scripts = vec![
        gone.clone(),
        add(format!("{} {via} {}", key(item.route.priority + 77), sized(*mtu, *advmss))),
    ];
    if gateway.is_some() {
        scripts.push(add(format!("{same} {other} {}", sized(*mtu, *advmss))));
    }
    if mtu.is_some() {
        scripts.push(add(format!("{same} {via} {}", sized(Some(1299), *advmss))));
        scripts.push(add(format!("{same} {via} {}", sized(None, *advmss))));
    }
    if advmss.is_some() {
        scripts.push(add(format!("{same} {via} {}", sized(*mtu, Some(1199)))));
    }
    scripts.into_iter().map(|script| (Place::Pod, script)).collect()
}

fn of_masquerade(masquerade: &Masquerade) -> Vec<String> {
    let address = masquerade.address;
    let map = if address.is_ipv4() { "masq4" } else { "masq6" };
    let element = format!("nft delete element inet ferrule {map} {{ {address} }}");
    let chain = format!(
        "chain=$(nft list map inet ferrule {map} | tr , '\\n' | grep -F ' {address} ' |
             grep -o 'masq-[0-9a-f]*')"
    );
    let add = |comment: &str, to: &str| {
        let comment = format!("\\\"{comment}\\\"");
        format!(
            "{chain}; {element}; nft add chain inet ferrule other
             nft \"add element inet ferrule {map} {{ {address} comment {comment} : jump {to} }}\""
        )
    };
    let invalid = map.replace("masq", "invalid");
    vec![
        element.clone(),
        format!("nft delete element inet ferrule {invalid} {{ {address} }}"),
        format!("{chain}; nft flush chain inet ferrule invalid-${{chain#masq-}}"),
        add("someone else", "$chain"),
        add(&masquerade.comment, "other"),
        format!("{chain}; nft flush chain inet ferrule $chain"),
        format!("{chain}; nft add rule inet ferrule $chain accept"),
    ]
}

fn of_macspoof(macspoof: &Macspoof) -> Vec<String> {
    let port = &macspoof.port;
    let mac = macspoof.mac;
    let ports = format!("nft 'delete element bridge ferrule spoof-ports {{ \"{port}\" }}'");
    let add = format!(
        "nft 'add element bridge ferrule spoof-ports {{ \"{port}\" comment \"someone else\" }}'"
    );
    vec![
        ports.clone(),
        format!("{ports}; {add}"),
        format!("nft 'delete element bridge ferrule spoof-macs {{ \"{port}\" . {mac} }}'"),
        "nft flush chain bridge ferrule macspoof".to_owned(),
    ]
}

/// Whether the kernel removes `other` along with what the alteration of `item` concerns.
fn takes_along(item: &Item, other: &Item) -> bool {
    match item {
        // A link that is down has no routes.
        Item::Up(Place::Pod, name) | Item::UpAs(name, _) => {
            matches!(other, Item::Route(r) if r.link == *name)
        }
        Item::Up(Place::Host, name) => match other {
            Item::HostRoute(route) => route.link == *name,
            Item::PodGateway(link, address) => link == name && address.is_ipv6(),
            _ => false,
        },
        // The node's switch is that of all its links.
        Item::Forwarding(family) => match other {
            Item::Sysctl(Sysctl { place: Place::Host, key, .. }) => {
                let of = if *family == Family::V4 { "net/ipv4/" } else { "net/ipv6/" };
                key.starts_with(of) && key.ends_with("/forwarding")
            }
            _ => false,
        },
        // Nor has a bridge, nor link-local addresses (net/ipv6/addrconf.c, addrconf_ifdown).
        Item::Bridge(bridge) => match other {
            Item::SubnetRoute(route) => route.link == bridge.name,
            Item::Gateway(Gateway { link, address: IpNetwork::V6(net), .. }) => {
                *link == bridge.name && net.ip().is_unicast_link_local()
            }
            _ => false,
        },
        // Nor has one without IPv4 addresses any of IPv4.
        Item::Gateway(Gateway { link, address: IpNetwork::V4(_), .. }) => match other {
            Item::SubnetRoute(route) => route.link == *link && route.pod.is_ipv4(),
            _ => false,
        },
        // Nor has one without IPv6 anything of it.
        Item::Sysctl(Sysctl { place, key, .. }) => match other {
            Item::Address(link, address, _) => {
                *place == Place::Pod && address.is_ipv6() && *key == disable_ipv6(link)
            }
            Item::Route(route) => {
                let v6 = route.route.dst.is_ipv6();
                *place == Place::Pod && v6 && *key == disable_ipv6(&route.link)
            }
            Item::SubnetRoute(route) => {
                let v6 = route.subnet().is_ipv6();
                *place == Place::Host && v6 && *key == disable_ipv6(&route.link)
            }
            Item::Gateway(Gateway { link, address, .. }) => {
                *place == Place::Host && address.is_ipv6() && *key == disable_ipv6(link)
            }
            _ => false,
        },
        _ => false,
    }
}

fn disable_ipv6(link: &str) -> String {
    format!("net/ipv6/conf/{link}/disable_ipv6")
}

/// Applies the items, which CHECK then finds as they are; alters one thing of the item at
/// `index`; CHECK names that item, and no other but those that the kernel removes along with it.
pub fn names_it(items: &[Item], index: usize, alteration: &Alteration) {
    let pod = Pod::new();
    let mut kernel = Kernel::open(Some(&pod.path())).unwrap();
    kernel.apply(items, &mut Vec::new()).unwrap();
    assert_eq!(kernel.check(items).unwrap(), Vec::<String>::new());
    let (place, script) = alteration;
    match place {
        Place::Host => sh(script),
        Place::Pod => pod.sh(script),
    };
    let altered = &items[index];
    let differences = kernel.check(items).unwrap();
    let of = |item: &Item| {
        let name = format!("{item}: ");
        differences.iter().filter(|difference| difference.starts_with(&name)).count()
    };
    assert!(of(altered) > 0, "`{altered}` is not named after `{script}`: {differences:#?}");
    for other in items.iter().filter(|item| *item != altered) {
        // A bridge loses nothing by what does not set it down.
        let kept = matches!(altered, Item::Bridge(_)) && !script.ends_with(" down");
        let expected = takes_along(altered, other) && !kept;
        assert_eq!(of(other) > 0, expected, "`{other}` after `{script}`: {differences:#?}");
    }
    let named: usize = items.iter().map(of).sum();
    assert_eq!(named, differences.len(), "each names one item: {differences:#?}");
}
