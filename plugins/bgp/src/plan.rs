//! What the bgp plugin wants to exist: pure functions of the configuration, the attachment and what
//! IPAM said.

use crate::config::Config;
use attach::forwarding::{self, Forwarder};
use attach::settings::{accept_ra, own_routes_only, sysctl};
use attach::{
    Family, Hold, HostRoute, Item, Kernel, Link, Masquerade, Names, Neighbour, Network, Place,
    PodName, Rpfilter, Rule, Veth, keys, routes,
};
use cni::{Attachment, CniResult, Error, Request, Result, Route};
use ipnetwork::IpNetwork;
use node::Policy;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

/// Every pod's IPv4 gateway: the host end of its own veth pair.
const GATEWAY4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// Every pod's IPv6 gateway.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The protocol of a pod's host route, `ferrule-pod` in rt_protos: the daemon leaves it alone.
const PROTOCOL: u8 = 117;

/// The gateway of an address's family.
fn gateway(address: IpAddr) -> IpAddr {
    if address.is_ipv4() { GATEWAY4.into() } else { GATEWAY6.into() }
}

/// The gateway's address with its prefix length. That of fe80::/64 is what the pod's link-local
/// address is routed by, also where the kernel makes none for the host end.
fn gateway_net(family: Family) -> Option<IpNetwork> {
    match family {
        Family::V4 => IpNetwork::new(GATEWAY4.into(), 32).ok(),
        Family::V6 => IpNetwork::new(GATEWAY6.into(), 64).ok(),
    }
}

fn default_route(family: Family) -> Option<Route> {
    let (any, gateway): (IpAddr, IpAddr) = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), GATEWAY4.into()),
        Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), GATEWAY6.into()),
    };
    Some(Route::new(IpNetwork::new(any, 0).ok()?, Some(gateway)))
}

fn families(result: &CniResult) -> impl Iterator<Item = Family> {
    let has = |family| result.ips.iter().any(|ip| Family::of(ip.address.ip()) == family);
    [Family::V4, Family::V6].into_iter().filter(move |family| has(*family))
}

impl Network for Config {
    /// Host end, pod end.
    const POD_INTERFACE: usize = 1;

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn names(&self, attachment: &Attachment) -> Names {
        Names::of(attachment, self.mac, self.mtu)
    }

    fn shared(&self) -> Vec<Item> {
        Vec::new()
    }

    fn link(&self, names: &Names) -> Vec<Item> {
        let (host, pod) = (&names.host, &names.pod);
        let mut items = vec![
            Item::Veth(Veth {
                host: host.clone(),
                host_mac: names.host_mac,
                alias: names.alias.clone(),
                bridge: None,
                pod: pod.clone(),
                pod_mac: names.pod_mac,
                mtu: self.mtu,
                pod_mtu: names.pod_mtu,
            }),
            Item::Rule(Rule::Rpfilter(Rpfilter {
                link: host.clone(),
                comment: names.comment.clone(),
            })),
            accept_ra(host),
            // Holds where another program's reload flushed nf_tables.
            sysctl(Place::Host, "ipv4/conf/*/rp_filter", host, "1", true),
            // The host follows where a plugin behind this one changes the pod's MAC address.
            sysctl(Place::Pod, "ipv4/conf/*/arp_notify", pod, "1", true),
            sysctl(Place::Pod, "ipv6/conf/*/ndisc_notify", pod, "1", true),
            // No other host is on the link.
            sysctl(Place::Pod, "ipv6/conf/*/accept_dad", pod, "0", true),
        ];
        if !self.accept_ra {
            items.extend(own_routes_only(pod));
        }
        items.extend([Item::Up(Place::Host, host.clone()), Item::Up(Place::Pod, pod.clone())]);
        items
    }

    /// They are up beside IPAM, the filter before them.
    fn up(&self, _names: &Names, _result: &CniResult) -> Vec<Item> {
        Vec::new()
    }

    /// Addresses stand alone on their link, and everything goes through the gateway.
    fn complete(&self, from_ipam: CniResult) -> Result<CniResult> {
        let mut result = CniResult { interfaces: Vec::new(), ..from_ipam };
        if result.ips.is_empty() {
            return Err(Error::config("the IPAM plugin gave no address")
                .details("a pod of this plugin is reached by its address"));
        }
        for ip in &mut result.ips {
            let address = ip.address.ip();
            ip.address = IpNetwork::from(address);
            ip.gateway = Some(gateway(address));
            ip.interface = Some(Self::POD_INTERFACE);
        }
        for route in &result.routes {
            if let Some(gw) = route.gw.filter(|gw| *gw != gateway(*gw)) {
                let msg = format!("the route to {} is by the gateway {gw}", route.dst);
                return Err(Error::config(msg).details(format!(
                    "a pod of this plugin has no neighbour but {}: leave gw out in ipam.routes",
                    gateway(gw)
                )));
            }
        }
        keys::mtu_fits(self.mtu, &result)?;
        // Routes that the network names are all that it wants: a pod's second network is not to take
        // what it sends from the first one's addresses.
        for family in families(&result).collect::<Vec<_>>() {
            let default = default_route(family);
            let of_family = |route: &Route| route.dst.is_ipv6() == (family == Family::V6);
            if !result.routes.iter().any(of_family) {
                result.routes.extend(default);
            }
        }
        routes::complete(&mut result, self.metric)?;
        Ok(result)
    }

    fn layer3(&self, names: &Names, result: &CniResult) -> Vec<Item> {
        let mut items = Vec::new();
        for family in families(result) {
            if family == Family::V6 {
                // Some distributions make devices with IPv6 switched off.
                let disable = "ipv6/conf/*/disable_ipv6";
                items.push(sysctl(Place::Host, disable, &names.host, "0", false));
                items.push(sysctl(Place::Pod, disable, &names.pod, "0", false));
                let keep = "ipv6/conf/*/keep_addr_on_down";
                items.push(sysctl(Place::Pod, keep, &names.pod, "1", true));
            }
            let address = gateway_net(family);
            items.extend(address.map(|net| Item::PodGateway(names.host.clone(), net)));
            items.extend(self.gateway_as_neighbour(names, family));
        }
        for address in result.ips.iter().map(|ip| ip.address) {
            items.push(Item::Address(names.pod.clone(), address, false));
            items.extend(self.pod_on_host(names, address.ip()));
        }
        items.extend(routes::items(&names.pod, result, self.metric));
        items.extend(forwarding::items(&names.host, families(result)));
        if self.masquerade {
            items.extend(result.ips.iter().map(|ip| {
                Item::Rule(Rule::Masquerade(Masquerade {
                    network: names.network.clone(),
                    address: ip.address.ip(),
                    subnet: self.subnet(ip.address.ip()),
                    exclude: self.exclude.clone(),
                    comment: names.comment.clone(),
                }))
            }));
        }
        items
    }

    fn settle(
        &self,
        kernel: &mut Kernel,
        names: &Names,
        result: &CniResult,
    ) -> attach::Result<Vec<Link>> {
        // Both sides know each other: nothing is announced.
        let (host, pod) = kernel.wait_running(&names.host, &names.pod)?;
        // Only then does the pod take packets to its IPv6 addresses (net/ipv6/addrconf.c,
        // addrconf_dad_completed).
        let addresses = result.ips.iter().map(|ip| ip.address.ip());
        kernel.wait_reachable(Place::Pod, &names.pod, addresses)?;
        Ok(vec![host, pod])
    }

    fn hold(&self, request: &Request) -> Result<Option<Hold>> {
        let policy =
            Policy::read(&self.run_dir).map_err(|error| Error::config(error.to_string()))?;
        let namespace = PodName::of(request).map(|pod| pod.namespace).unwrap_or_default();
        Ok(policy.map(|policy| Hold {
            selectable: policy.may_select(&namespace),
            wait: Duration::from_millis(policy.wait_ms),
            bridge: None,
        }))
    }

    fn forwarder(&self) -> Forwarder {
        Forwarder::EachPods
    }

    fn needs_nft(&self) -> bool {
        true
    }
}

impl Config {
    /// The pod knows its gateway's MAC address for good; the host end has it for good. Where another
    /// plugin changes that of the pod's end, the kernel forgets its neighbours (neigh_changeaddr),
    /// and the host end answers.
    fn gateway_as_neighbour(&self, names: &Names, family: Family) -> Option<Item> {
        let address = gateway_net(family)?.ip();
        let (place, link, permanent) = (Place::Pod, names.pod.clone(), true);
        let mac = names.host_mac?;
        Some(Item::Neighbour(Neighbour { place, link, address, mac, permanent }))
    }

    /// What leads the host to an address. Its MAC address is not set for good: a plugin behind this
    /// one may change it.
    fn pod_on_host(&self, names: &Names, address: IpAddr) -> Vec<Item> {
        let link = names.host.clone();
        let last_source = address.is_ipv4().then_some(GATEWAY4.into());
        let route = HostRoute { link: link.clone(), address, last_source, protocol: PROTOCOL };
        let (place, permanent) = (Place::Host, false);
        let neighbour = |mac| Neighbour { place, link, address, mac, permanent };
        let neighbour = names.pod_mac.map(neighbour).map(Item::Neighbour);
        [Item::HostRoute(route)].into_iter().chain(neighbour).collect()
    }

    /// The pod CIDR that an address is of, so that many pods share what masquerading needs of it; of
    /// an address that IPAM has from elsewhere, the address alone.
    fn subnet(&self, address: IpAddr) -> IpNetwork {
        let cidr = self.pod_cidrs.iter().copied().find(|cidr| cidr.contains(address));
        cidr.unwrap_or_else(|| IpNetwork::from(address))
    }
}

#[cfg(test)]
mod tests;
