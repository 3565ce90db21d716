//! What the bridge plugin wants to exist: pure functions of the configuration, the attachment and
//! what IPAM said.

use crate::config::{Config, vlan_device};
use attach::settings::{accept_ra, own_routes_only, sysctl};
use attach::{
    Bridge, Family, Gateway, Item, Mac, Macspoof, Masquerade, Names, Place, Port, Rule,
    SubnetRoute, Veth, Vlan, Vlans, forwarding, keys, routes,
};
use cni::{CniResult, Error, Result, code};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What must exist before IPAM is asked: the bridge.
pub fn bridge(config: &Config) -> Vec<Item> {
    let bridge = Item::Bridge(Bridge {
        name: config.bridge.clone(),
        mtu: config.mtu,
        promiscuous: config.promiscuous,
        vlan_filtering: config.vlan.is_some() || !config.trunk.is_empty(),
        no_linklocal_learn: config.macspoof,
    });
    vec![bridge, accept_ra(&config.bridge)]
}

/// The link, as far as it needs no address: the veth pair and what belongs to it.
pub fn link(config: &Config, names: &Names) -> Vec<Item> {
    let pod = &names.pod;
    let in_pod = |key: &str, value, optional| sysctl(Place::Pod, key, pod, value, optional);
    let mut items = vec![
        Item::Veth(Veth {
            host: names.host.clone(),
            host_mac: names.host_mac,
            alias: names.alias.clone(),
            bridge: Some(config.bridge.clone()),
            pod: names.pod.clone(),
            pod_mac: names.pod_mac,
            mtu: config.mtu,
            pod_mtu: names.pod_mtu,
        }),
        in_pod("ipv4/conf/*/arp_notify", "1", true),
    ];
    if !config.accept_ra {
        items.extend(own_routes_only(pod));
    }
    if config.dad {
        items.push(in_pod("ipv6/conf/*/accept_dad", "1", true));
        items.push(in_pod("ipv6/conf/*/enhanced_dad", "1", true));
    }
    items.push(accept_ra(&names.host));
    items.push(Item::Port(Port {
        link: names.host.clone(),
        hairpin: config.hairpin,
        isolated: config.isolated,
    }));
    items.extend(vlans(config, names));
    items
}

fn vlans(config: &Config, names: &Names) -> Option<Item> {
    let access = config.vlan.map(|id| Vlan { id, pvid: true, untagged: true });
    let tagged = config.trunk.iter().map(|id| Vlan { id: *id, pvid: false, untagged: false });
    let tagged = tagged.filter(|vlan| Some(vlan.id) != config.vlan);
    let vlans: Vec<_> = access.into_iter().chain(tagged).collect();
    (!vlans.is_empty()).then(|| {
        Item::Vlans(Vlans {
            link: names.host.clone(),
            vlans,
            keep_default: config.keep_default_vlan,
        })
    })
}

/// What an IPAM plugin's result becomes: gateways and default routes filled in as the
/// configuration wants, every address on the pod's interface.
///
/// # Errors
/// Code 7 where there is no address, or no gateway can be derived, or the MTU is too small.
pub fn complete(config: &Config, from_ipam: CniResult, interface: usize) -> Result<CniResult> {
    let mut result = from_ipam;
    if result.ips.is_empty() {
        return Err(Error::new(code::DELEGATE, "IPAM plugin returned missing IP config")
            .details("its result holds no ips; see the ipam section of the configuration"));
    }
    for ip in &mut result.ips {
        ip.interface = Some(interface);
        if config.gateway && ip.gateway.is_none() {
            ip.gateway = Some(first_address(ip.address)?);
        }
    }
    keys::mtu_fits(config.mtu, &result)?;
    if config.default_gateway {
        routes::add_defaults(&mut result)?;
    }
    routes::complete(&mut result, config.metric)?;
    Ok(result)
}

/// The network's first address, which is its gateway where IPAM names none.
fn first_address(net: IpNetwork) -> Result<IpAddr> {
    let next = match net.network() {
        IpAddr::V4(network) => {
            u32::from(network).checked_add(1).map(|n| IpAddr::from(Ipv4Addr::from(n)))
        }
        IpAddr::V6(network) => {
            u128::from(network).checked_add(1).map(|n| IpAddr::from(Ipv6Addr::from(n)))
        }
    };
    next.filter(|address| net.contains(*address)).ok_or_else(|| {
        Error::config(format!("{net} has no address for a gateway"))
            .details("set the gateway in the ipam section, or unset isGateway")
    })
}

/// The MAC address of a pod's interface where none is configured: of its first IPv4 address (0a:58 and
/// its bytes, as the reference's were until 0.7), so that an address that comes back has the MAC
/// address that its neighbours remember.
pub fn mac_of(result: &CniResult) -> Option<Mac> {
    result.ips.iter().find_map(|ip| match ip.address.ip() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Some(Mac([0x0a, 0x58, a, b, c, d]))
        }
        IpAddr::V6(_) => None,
    })
}

pub(crate) fn has_v6_address(result: &CniResult) -> bool {
    result.ips.iter().any(|ip| ip.address.is_ipv6())
}

fn uses_v6(result: &CniResult) -> bool {
    has_v6_address(result) || result.routes.iter().any(|route| route.dst.is_ipv6())
}

/// Both ends of the link, up, and what must hold before.
///
/// The pod's goes first: each change of a port's state takes the kernel time for every other port
/// (net/bridge/br_stp.c, br_port_state_selection), and a host end that is up alone has no
/// carrier.
pub fn up(config: &Config, names: &Names, result: &CniResult) -> Vec<Item> {
    let pod = &names.pod;
    let in_pod = |key: &str, value, optional| sysctl(Place::Pod, key, pod, value, optional);
    let mut items = Vec::new();
    if uses_v6(result) {
        // Some distributions make devices with IPv6 switched off.
        items.push(in_pod("ipv6/conf/*/disable_ipv6", "0", false));
        if !config.dad {
            items.push(no_dad(pod));
        }
    }
    if has_v6_address(result) {
        items.push(in_pod("ipv6/conf/*/keep_addr_on_down", "1", true));
        items.push(in_pod("ipv6/conf/*/ndisc_notify", "1", true));
    }
    if let (true, Some(mac)) = (config.macspoof, names.pod_mac) {
        items.push(Item::Rule(Rule::Macspoof(Macspoof {
            port: names.host.clone(),
            mac,
            comment: names.comment.clone(),
        })));
    }
    if config.pod_up {
        items.push(match names.pod_mac {
            Some(mac) => Item::UpAs(names.pod.clone(), mac),
            None => Item::Up(Place::Pod, names.pod.clone()),
        });
    }
    items.push(Item::Up(Place::Host, names.host.clone()));
    items
}

fn no_dad(pod: &str) -> Item {
    sysctl(Place::Pod, "ipv6/conf/*/accept_dad", pod, "0", true)
}

/// What waits until packets pass.
///
/// Of a pod without IPv6 the link-local address begins as the kernel has it, with a random delay of
/// up to one second (RFC 4862 section 5.4.2), and only later addresses go without duplicate address
/// detection, as with the reference. At once, it would send a router solicitation and one multicast
/// listener report more to every port of the bridge while ADD runs: 3.5 ms each with 500 pods.
/// (Where the kernel's worker is late, it does: net/ipv6/addrconf.c, addrconf_dad_begin.)
pub fn last(config: &Config, names: &Names, result: &CniResult) -> Vec<Item> {
    if config.dad || uses_v6(result) { Vec::new() } else { vec![no_dad(&names.pod)] }
}

/// What exists because of addresses and routes: a completed result's.
pub fn layer3(config: &Config, names: &Names, result: &CniResult) -> Vec<Item> {
    let pod = &names.pod;
    let mut items = Vec::new();
    let addresses = result.ips.iter();
    items.extend(addresses.map(|ip| Item::Address(pod.clone(), ip.address, config.dad)));
    items.extend(routes::items(pod, result, config.metric));
    // What is shared stays even when this ADD fails, and so comes after what can be refused.
    items.extend(gateways(config, result));
    if config.masquerade {
        items.extend(result.ips.iter().map(|ip| {
            Item::Rule(Rule::Masquerade(Masquerade {
                network: names.network.clone(),
                address: ip.address.ip(),
                subnet: ip.address,
                exclude: config.exclude.clone(),
                comment: names.comment.clone(),
            }))
        }));
    }
    items
}

/// The link that holds the gateways' addresses.
pub fn gateway_link(config: &Config) -> String {
    match config.vlan {
        None => config.bridge.clone(),
        Some(id) => vlan_device(&config.bridge, id),
    }
}

fn gateways(config: &Config, result: &CniResult) -> Vec<Item> {
    if !config.gateway {
        return Vec::new();
    }
    let mut items = Vec::new();
    let link = gateway_link(config);
    if let Some(id) = config.vlan {
        items.push(Item::VlanDevice(link.clone(), config.bridge.clone(), id));
        items.push(accept_ra(&link));
    }
    if has_v6_address(result) {
        items.push(sysctl(Place::Host, "ipv6/conf/*/disable_ipv6", &link, "0", false));
    }
    for ip in &result.ips {
        let Some(address) = ip.gateway.and_then(|gw| gateway_net(gw, ip.address)) else { continue };
        let (force, protocol) = (config.force_address, config.address_protocol);
        let gateway = Gateway { link: link.clone(), address, force, protocol };
        add_once(&mut items, Item::Gateway(gateway));
    }
    for ip in &result.ips {
        if ip.gateway.is_some_and(|gateway| !ip.address.contains(gateway)) {
            let route = SubnetRoute { link: link.clone(), pod: ip.address };
            let known = |item: &Item| matches!(item, Item::SubnetRoute(other) if other.subnet() == route.subnet());
            if !items.iter().any(known) {
                items.push(Item::SubnetRoute(route));
            }
        }
    }
    let has = |family: &Family| result.ips.iter().any(|ip| Family::of(ip.address.ip()) == *family);
    items.extend(forwarding::items(&link, [Family::V4, Family::V6].into_iter().filter(has)));
    items
}

/// A gateway's address with its length on the bridge. One that lies outside of the pods' subnet
/// stands for none: alone, or of a link-local address the link's.
fn gateway_net(gateway: IpAddr, pod: IpNetwork) -> Option<IpNetwork> {
    let length = match gateway {
        _ if pod.contains(gateway) => pod.prefix(),
        IpAddr::V6(gateway) if gateway.is_unicast_link_local() => 64,
        IpAddr::V6(_) => 128,
        IpAddr::V4(_) => 32,
    };
    IpNetwork::new(gateway, length).ok()
}

fn add_once(items: &mut Vec<Item>, item: Item) {
    if !items.contains(&item) {
        items.push(item);
    }
}

#[cfg(test)]
mod tests;
