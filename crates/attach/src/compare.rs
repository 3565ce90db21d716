//! Comparing items with the kernel, field by field.

use crate::apply::holds;
use crate::item::{Bridge, Item, Place, Port, Route, Sysctl, Veth, Vlans};
use crate::kernel::{Error, Kernel, Result};
use crate::route::is_metric_of;
use ipnetwork::IpNetwork;
use net::{Family, Link, link, sysctl};

/// What differs, in words; empty when nothing does.
pub(crate) type Differences = Vec<String>;

impl Kernel {
    /// Compares every item with the kernel. Each difference begins with the item's name; what is
    /// there beyond the items is not compared.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn check(&mut self, items: &[Item]) -> Result<Differences> {
        let mut all = Vec::new();
        // Sysctls in a row are read in one visit to the pod's namespace.
        for group in items.chunk_by(|a, b| in_pod(a).is_some() && in_pod(b).is_some()) {
            let sysctls: Vec<_> = group.iter().filter_map(in_pod).collect();
            let found: Vec<_> = if sysctls.is_empty() {
                group.iter().map(|item| self.check_one(item)).collect()
            } else {
                let check = || Ok(sysctls.into_iter().map(check_sysctl).collect::<Vec<_>>());
                let found = self.pod()?.netns.enter(check)?.into_iter();
                found.map(|differences| differences.map_err(Error::from)).collect()
            };
            for (item, differences) in group.iter().zip(found) {
                let differences = match differences {
                    Err(Error::Net(error)) if error.is_gone() => vec![error.to_string()],
                    found => found?,
                };
                all.extend(differences.iter().map(|difference| format!("{item}: {difference}")));
            }
        }
        Ok(all)
    }

    fn check_one(&mut self, item: &Item) -> Result<Differences> {
        match item {
            Item::Bridge(bridge) => self.check_bridge(bridge),
            Item::VlanDevice(name, bridge, id) => self.check_vlan_device(name, bridge, *id),
            Item::Hooks(bridge) => self.check_hooks(bridge),
            Item::Veth(veth) => self.check_veth(veth),
            Item::Port(port) => self.check_port(port),
            Item::Vlans(vlans) => self.check_vlans(vlans),
            // Those of the pod are read where they are, by `check`.
            Item::Sysctl(sysctl) => Ok(check_sysctl(sysctl)?),
            Item::Up(place, name) => self.check_up(*place, name),
            // Its MAC address is that of the veth pair's item.
            Item::UpAs(name, _) => self.check_up(Place::Pod, name),
            Item::Address(name, address, _) => {
                let index = self.index(Place::Pod, name)?;
                let present = self.pod()?.socket.list(&net::address::of_link(index))?;
                Ok(unless(present.iter().any(|a| a.address == *address), || "missing".to_owned()))
            }
            Item::Route(route) => self.check_route(route),
            Item::Gateway(gateway) => self.check_host_address(&gateway.link, gateway.address),
            Item::Forwarding(family) => {
                let key = match family {
                    Family::V4 => "net/ipv4/ip_forward",
                    Family::V6 => "net/ipv6/conf/all/forwarding",
                };
                let place = Place::Host;
                let key = key.to_owned();
                Ok(check_sysctl(&Sysctl { place, key, value: "1".into(), optional: false })?)
            }
            Item::Rule(rule) => self.check_rule(rule),
            Item::PodGateway(link, address) => self.check_host_address(link, *address),
            Item::HostRoute(route) => self.check_host_route(route),
            Item::SubnetRoute(route) => self.check_subnet_route(route),
            Item::Neighbour(neighbour) => self.check_neighbour(neighbour),
            Item::Setting(change) => self.check_setting(&change.to),
            Item::Ifb(ifb) => self.check_ifb(ifb),
            Item::RateLimit(limit) => self.check_rate_limit(limit),
            Item::Redirect(redirect) => self.check_redirect(redirect),
            Item::VrfPort(port) => self.check_vrf(port),
            Item::SourceRouting(routing) => self.check_source_routing(routing),
        }
    }

    fn check_up(&mut self, place: Place, name: &str) -> Result<Differences> {
        Ok(match self.link(place, name)? {
            None => missing(),
            Some(link) => unless(link.up, || "it is down".to_owned()),
        })
    }

    fn check_bridge(&mut self, bridge: &Bridge) -> Result<Differences> {
        let Some(link) = self.link(Place::Host, &bridge.name)? else { return Ok(missing()) };
        let mut differences = kind(&link, "bridge");
        differences.extend(unless(link.up, || "it is down".to_owned()));
        differences.extend(unless(!bridge.promiscuous || link.promiscuous, || {
            "it is not promiscuous".to_owned()
        }));
        differences
            .extend(unless(!bridge.vlan_filtering || link.vlan_filtering == Some(true), || {
                "it does not filter by VLAN".to_owned()
            }));
        let learns = bridge.no_linklocal_learn && link.no_linklocal_learn != Some(true);
        differences.extend(unless(!learns, || {
            "it learns from frames that macspoofchk does not see: no_linklocal_learn is not 1"
                .to_owned()
        }));
        Ok(differences)
    }

    fn check_vlan_device(&mut self, name: &str, bridge: &str, id: u16) -> Result<Differences> {
        let over = self.index(Place::Host, bridge)?;
        let Some(link) = self.link(Place::Host, name)? else { return Ok(missing()) };
        let mut differences = unless(link.up, || "it is down".to_owned());
        // The reference puts a veth in the device's place.
        if link.kind == "vlan" {
            differences.extend(differs("VLAN", link.vlan_id.unwrap_or_default(), id));
            differences.extend(differs("link index below", link.peer, over));
            let all = self.host.list(&link::vlans())?;
            let own = all.iter().filter(|(link, _)| *link == over).flat_map(|(_, vlans)| vlans);
            let is_in = own.into_iter().any(|vlan| vlan.id == id);
            differences.extend(unless(is_in, || format!("{bridge} itself is not in VLAN {id}")));
        }
        Ok(differences)
    }

    fn check_veth(&mut self, veth: &Veth) -> Result<Differences> {
        let bridge = veth.bridge.as_deref();
        let master = bridge.map(|bridge| self.index(Place::Host, bridge)).transpose()?;
        let Some(host) = self.link(Place::Host, &veth.host)? else {
            return Ok(vec![format!("{} is missing", veth.host)]);
        };
        let Some(pod) = self.link(Place::Pod, &veth.pod)? else {
            return Ok(vec![format!("{} is missing in the pod", veth.pod)]);
        };
        let mut differences = Vec::new();
        let ends = [(&host, veth.host_mac, veth.mtu), (&pod, veth.pod_mac, veth.pod_mtu)];
        for (end, mac, mtu) in ends {
            let mut found = kind(end, "veth");
            found.extend(mac.map_or_else(Vec::new, |mac| differs("MAC address", end.mac, mac)));
            found.extend(mtu.map_or_else(Vec::new, |mtu| differs("MTU", end.mtu, mtu)));
            differences.extend(found.into_iter().map(|text| format!("{}: {text}", end.name)));
        }
        // Whether they are up are items of their own.
        differences.extend(unless(host.master == master.unwrap_or(0), || match bridge {
            Some(bridge) => format!("{} is not a port of {bridge}", host.name),
            None => format!("{} is a port of another link", host.name),
        }));
        differences.extend(unless(veth.alias.is_empty() || host.alias == veth.alias, || {
            format!("the alias of {} is {:?}, not {:?}", host.name, host.alias, veth.alias)
        }));
        differences.extend(unless(pod.peer == host.index && host.peer == pod.index, || {
            format!("{} and {} are not one pair", host.name, pod.name)
        }));
        Ok(differences)
    }

    fn check_port(&mut self, port: &Port) -> Result<Differences> {
        let Some(link) = self.link(Place::Host, &port.link)? else { return Ok(missing()) };
        let mut differences = differs("hairpin mode", link.hairpin, port.hairpin);
        differences.extend(differs("isolation", link.isolated, port.isolated));
        Ok(differences)
    }

    fn check_vlans(&mut self, vlans: &Vlans) -> Result<Differences> {
        let index = self.index(Place::Host, &vlans.link)?;
        let ports = self.host.list(&link::vlans())?;
        let present: Vec<_> =
            ports.iter().filter(|(port, _)| *port == index).flat_map(|(_, vlans)| vlans).collect();
        let mut differences = Vec::new();
        for vlan in &vlans.vlans {
            differences.extend(unless(present.contains(&vlan), || {
                format!("VLAN {} is missing or has other flags", vlan.id)
            }));
        }
        let wanted = vlans.keep_default || vlans.vlans.iter().any(|vlan| vlan.id == 1);
        differences.extend(unless(wanted || present.iter().all(|vlan| vlan.id != 1), || {
            "it is still in VLAN 1".to_owned()
        }));
        Ok(differences)
    }

    fn check_route(&mut self, wanted: &Route) -> Result<Differences> {
        let link = self.index(Place::Pod, &wanted.link)?;
        let v6 = wanted.route.dst.is_ipv6();
        let present = self.pod()?.socket.list(&net::route::list(v6))?;
        let wanted = wanted.route.clone().through(link);
        let Some(found) = present.iter().find(|route| {
            route.dst == wanted.dst
                && route.table == wanted.table
                && is_metric_of(route.priority, &wanted)
                && leads(route, &wanted)
        }) else {
            return Ok(missing());
        };
        let mut differences = Vec::new();
        // IPv6 has no scopes of routes and reports 0.
        if wanted.scope.is_some() && !v6 {
            differences.extend(differs("scope", found.scope, wanted.scope));
        }
        if wanted.mtu.is_some() {
            differences.extend(differs("MTU", found.mtu, wanted.mtu));
        }
        if wanted.advmss.is_some() {
            differences.extend(differs("advmss", found.advmss, wanted.advmss));
        }
        Ok(differences)
    }

    fn check_host_address(&mut self, link: &str, address: IpNetwork) -> Result<Differences> {
        let index = self.index(Place::Host, link)?;
        let present = self.host.list(&net::address::of_link(index))?;
        let held = present.iter().any(|present| holds(present.address, address));
        Ok(unless(held, || "missing".to_owned()))
    }
}

/// The item if it is a sysctl of the pod's.
fn in_pod(item: &Item) -> Option<&Sysctl> {
    match item {
        Item::Sysctl(sysctl) if sysctl.place == Place::Pod => Some(sysctl),
        _ => None,
    }
}

/// Whether a route goes where it should. The kernel makes one route of two networks' IPv6 default
/// routes, with the hops of both.
fn leads(found: &net::route::Route, wanted: &net::route::Route) -> bool {
    if wanted.dst.is_ipv6() {
        wanted.hops.iter().all(|hop| found.hops.contains(hop))
    } else {
        found.hops == wanted.hops
    }
}

fn check_sysctl(wanted: &Sysctl) -> net::Result<Differences> {
    Ok(match sysctl::get(&wanted.key)? {
        Some(value) if value == wanted.value => Vec::new(),
        // ADD could not set it either, and does without.
        Some(_) if wanted.optional && !sysctl::is_writable(&wanted.key) => Vec::new(),
        Some(value) => differs("value", value.as_str(), &wanted.value),
        None if wanted.optional => Vec::new(),
        None => missing(),
    })
}

pub(crate) fn missing() -> Differences {
    vec!["missing".to_owned()]
}

fn unless(fine: bool, difference: impl FnOnce() -> String) -> Differences {
    if fine { Vec::new() } else { vec![difference()] }
}

fn kind(link: &Link, wanted: &str) -> Differences {
    unless(link.kind == wanted, || format!("it is not a {wanted} but {:?}", link.kind))
}

pub(crate) fn differs<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    wanted: T,
) -> Differences {
    unless(found == wanted, || format!("{what} is {found:?}, not {wanted:?}"))
}
