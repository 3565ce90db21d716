//! Applying items.

use crate::item::{Bridge, Gateway, Item, Place, Port, Sysctl, Veth, Vlans};
use crate::kernel::{Error, Kernel, Result};
use ipnetwork::IpNetwork;
use net::{Family, Link, Mac, link, sysctl};

impl Kernel {
    /// Applies items in order. What is applied is added to `done`, also when a later one fails;
    /// and with an owned item that fails that one too, unless nothing was made for sure: where
    /// the answer to a request is lost, the kernel may have carried it out.
    ///
    /// # Errors
    /// The first item's that cannot be applied.
    pub fn apply(&mut self, items: &[Item], done: &mut Vec<Item>) -> Result<()> {
        let in_pod = |item: &Item| matches!(item, Item::Sysctl(s) if s.place == Place::Pod);
        // Sysctls in a row are set in one visit to the pod's namespace.
        for group in items.chunk_by(|a, b| in_pod(a) && in_pod(b)) {
            if let [Item::Sysctl(first), ..] = group {
                let set = || group.iter().try_for_each(set_sysctl);
                match first.place {
                    Place::Host => set()?,
                    Place::Pod => self.pod()?.netns.enter(set)?,
                }
                done.extend(group.iter().cloned());
            } else {
                for item in group {
                    let applied = self.apply_one(item);
                    let made = |error: &Error| item.owned().is_some() && !error.is_refusal();
                    if applied.as_ref().err().is_none_or(made) {
                        done.push(item.clone());
                    }
                    applied?;
                }
            }
        }
        Ok(())
    }

    fn apply_one(&mut self, item: &Item) -> Result<()> {
        match item {
            Item::Bridge(bridge) => self.ensure_bridge(bridge),
            Item::VlanDevice(name, bridge, id) => self.ensure_vlan_device(name, bridge, *id),
            Item::Hooks(bridge) => self.ensure_hooks(bridge),
            Item::Veth(veth) => self.add_veth(veth),
            // What the kernel gives a new port.
            Item::Port(Port { hairpin: false, isolated: false, .. }) => Ok(()),
            Item::Port(port) => {
                let index = self.index(Place::Host, &port.link)?;
                let verb = link::set_port(index, port.hairpin, port.isolated, &port.link);
                Ok(self.host.set(&verb)?)
            }
            Item::Vlans(vlans) => self.set_vlans(vlans),
            Item::Sysctl(_) => Ok(set_sysctl(item)?),
            Item::Up(place, name) => {
                let index = self.index(*place, name)?;
                Ok(self.socket(*place)?.set(&link::set_up(index, name))?)
            }
            Item::UpAs(name, mac) => {
                let index = self.index(Place::Pod, name)?;
                Ok(self.pod()?.socket.set(&link::set_up_as(index, *mac, name))?)
            }
            Item::Address(name, address, dad) => {
                let index = self.index(Place::Pod, name)?;
                let verb = net::address::add(index, *address, *dad);
                Ok(self.pod()?.socket.set(&verb)?)
            }
            Item::Route(route) => self.add_route(route),
            Item::Gateway(gateway) => self.ensure_gateway(gateway),
            Item::Forwarding(family) => self.ensure_forwarding(*family),
            Item::Rule(rule) => self.add_rule(rule),
            Item::PodGateway(link, address) => {
                let index = self.index(Place::Host, link)?;
                Ok(self.host.set(&net::address::add_gateway(index, *address))?)
            }
            Item::HostRoute(route) => self.add_host_route(route),
            Item::SubnetRoute(route) => self.add_subnet_route(route),
            Item::Neighbour(neighbour) => self.set_neighbour(neighbour),
            Item::Setting(change) => self.set(&change.to),
            Item::Ifb(ifb) => self.add_ifb(ifb),
            Item::RateLimit(limit) => self.add_rate_limit(limit),
            Item::Redirect(redirect) => self.add_redirect(redirect),
            Item::VrfPort(port) => self.join_vrf(port),
            Item::SourceRouting(routing) => self.add_source_routing(routing),
        }
    }

    fn ensure_bridge(&mut self, bridge: &Bridge) -> Result<()> {
        let name = &bridge.name;
        let link = match self.link(Place::Host, name)? {
            Some(link) => link,
            None => {
                self.make_bridge(bridge)?;
                self.known_link(Place::Host, name)?
            }
        };
        if link.kind != "bridge" {
            return Err(Error::Conflict(format!(
                "{name:?} already exists but is not a bridge: it is a {:?}; set bridge to another name",
                link.kind_in_words()
            )));
        }
        if !link.up {
            self.bring_up_bridge(&link)?;
        }
        self.remember(Place::Host, &link);
        self.pin_mac(&link)?;
        if bridge.promiscuous && !link.promiscuous {
            self.host.set(&link::set_promiscuous(link.index, true, name))?;
        }
        if bridge.vlan_filtering {
            self.ensure_vlan_filtering(&link)?;
        }
        if bridge.no_linklocal_learn {
            self.ensure_no_linklocal_learn(&link)?;
        }
        Ok(())
    }

    fn make_bridge(&mut self, bridge: &Bridge) -> Result<()> {
        let name = &bridge.name;
        let verb = link::add_bridge(name, Mac::random(), bridge.mtu, bridge.vlan_filtering);
        match self.host.set(&verb) {
            // A call beside ours made it.
            Err(error) if error.is_exists() => Ok(()),
            Err(error) if bridge.vlan_filtering && error.is_unsupported() => {
                Err(no_vlan_filtering(name))
            }
            done => Ok(done?),
        }
    }

    /// Brings up a bridge, new ones among them, without duplicate address detection: for the
    /// second that it takes, the link-local address could not be the source of neighbour
    /// solicitations, and what is forwarded to pods would be lost.
    fn bring_up_bridge(&mut self, bridge: &Link) -> Result<()> {
        match sysctl::set(&format!("net/ipv6/conf/{}/accept_dad", bridge.name), "0") {
            Err(error) if !error.is_gone() && !error.is_read_only() => return Err(error.into()),
            _ => {}
        }
        Ok(self.host.set(&link::set_up(bridge.index, &bridge.name))?)
    }

    /// A bridge whose MAC address is not set takes the lowest of its ports' (net/bridge/br_stp_if.c,
    /// br_stp_recalculate_bridge_id), and zero after the last: its neighbours would lose it as pods
    /// come and go. Whether it was set (addr_assign_type) only sysfs tells, and /sys may be that of
    /// another network namespace. So it is set where it is a port's, or where there may be no port
    /// yet; then no neighbour is known that the kernel would forget (neigh_changeaddr).
    fn pin_mac(&mut self, bridge: &Link) -> Result<()> {
        let holder = match self.host.get(&net::fdb::of_bridge(bridge.index, bridge.mac)) {
            // An older kernel does not say. The bridge itself, where no port has the address.
            Err(error) if error.is_unsupported() => Some(bridge.index),
            holder => holder?,
        };
        // A bridge that is up has ports; the kernel says so up to a second late
        // (net/core/link_watch.c). Here none of them gave it its MAC address.
        let of_a_port = holder.is_some_and(|holder| holder != bridge.index);
        let is_set = (bridge.running && !of_a_port) || is_set_by_sysfs(bridge);
        if is_set && holder.is_some() {
            return Ok(());
        }
        let mac = if bridge.mac == Mac::default() { Mac::random() } else { bridge.mac };
        // Without an entry of its own for it a bridge takes no frame to its MAC address for its own.
        // So it is where Linux 5.10 chose the address; setting the same one adds none
        // (net/bridge/br_device.c, br_set_mac_address).
        if holder.is_none() {
            self.host.set(&link::set_mac(bridge.index, Mac::random(), &bridge.name))?;
        }
        Ok(self.host.set(&link::set_mac(bridge.index, mac, &bridge.name))?)
    }

    fn ensure_vlan_filtering(&mut self, bridge: &Link) -> Result<()> {
        match bridge.vlan_filtering {
            Some(true) => Ok(()),
            Some(false) => {
                let verb = link::set_vlan_filtering(bridge.index, true, &bridge.name);
                match self.host.set(&verb) {
                    Err(error) if error.is_unsupported() => Err(no_vlan_filtering(&bridge.name)),
                    done => Ok(done?),
                }
            }
            None => Err(no_vlan_filtering(&bridge.name)),
        }
    }

    fn ensure_no_linklocal_learn(&mut self, bridge: &Link) -> Result<()> {
        match bridge.no_linklocal_learn {
            Some(true) => Ok(()),
            Some(false) => {
                Ok(self.host.set(&link::set_no_linklocal_learn(bridge.index, &bridge.name))?)
            }
            None => Err(Error::Unsupported(format!(
                "bridge {} cannot leave out link-local frames when it learns (no_linklocal_learn, \
                 Linux 5.0); they would pass macspoofchk; unset macspoofchk",
                bridge.name
            ))),
        }
    }

    fn ensure_vlan_device(&mut self, name: &str, bridge: &str, id: u16) -> Result<()> {
        let over = self.known_link(Place::Host, bridge)?;
        // Tagged frames reach a device over the bridge only if the bridge itself is in the VLAN.
        let vlan = link::Vlan { id, pvid: false, untagged: false };
        self.host.set(&link::add_vlan(over.index, vlan, true, bridge))?;
        match self.link(Place::Host, name)? {
            Some(link) if link.up => Ok(()),
            Some(link) => Ok(self.host.set(&link::set_up(link.index, name))?),
            None => match self.host.set(&link::add_vlan_device(name, over.index, id, over.mac)) {
                Err(error) if error.is_exists() => Ok(()),
                done => Ok(done?),
            },
        }
    }

    fn add_veth(&mut self, veth: &Veth) -> Result<()> {
        let bridge = veth.bridge.as_deref();
        let master = bridge.map(|bridge| self.index(Place::Host, bridge)).transpose()?;
        let new = link::Veth {
            name: &veth.host,
            mac: veth.host_mac.unwrap_or_else(Mac::random),
            master,
            mtu: veth.mtu,
            peer: &veth.pod,
            peer_mac: veth.pod_mac.unwrap_or_else(Mac::random),
        };
        let verb = link::add_veth(&new, &self.pod()?.netns);
        if let Err(error) = self.host.set(&verb) {
            if let (true, Some(bridge)) = (error.is_full(), bridge) {
                let reason = format!(
                    "bridge {bridge} has 1023 ports, and the kernel gives a bridge no more; remove \
                     pods, or put new ones on another bridge"
                );
                return Err(net::Error { reason, ..error }.into());
            }
            if !error.is_exists() {
                return Err(error.into());
            }
            return Err(Error::Conflict(match self.link(Place::Host, &veth.host)? {
                Some(_) => format!("host veth {:?} already exists", veth.host),
                None => format!(
                    "container veth name ({:?}) peer provided ({:?}) already exists",
                    veth.pod, veth.host
                ),
            }));
        }
        let index = self.index(Place::Host, &veth.host)?;
        self.host.set(&link::set_alias(index, &veth.alias, &veth.host))?;
        if bridge.is_some() {
            take_port_ipv6(&veth.host)?;
        }
        Ok(())
    }

    fn set_vlans(&mut self, vlans: &Vlans) -> Result<()> {
        let index = self.index(Place::Host, &vlans.link)?;
        if !vlans.keep_default {
            match self.host.set(&link::del_vlan(index, 1, &vlans.link)) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        for vlan in &vlans.vlans {
            self.host.set(&link::add_vlan(index, *vlan, false, &vlans.link))?;
        }
        Ok(())
    }

    fn ensure_gateway(&mut self, gateway: &Gateway) -> Result<()> {
        let (name, wanted) = (&gateway.link, gateway.address);
        let index = self.index(Place::Host, name)?;
        for present in self.host.list(&net::address::of_link(index))? {
            if holds(present.address, wanted) {
                return Ok(());
            }
            if !conflict(present.address, wanted) {
                continue;
            }
            if !gateway.force {
                return Err(Error::Conflict(format!(
                    "{name:?} already has an IP address different from {wanted}: {}; \
                     it may be another network's (flannel's is cni0 too): set bridge to another \
                     name, remove the address, or set forceAddress",
                    present.address
                )));
            }
            match self.host.set(&net::address::del(index, present.address)) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        match self.host.set(&net::address::add_of(index, wanted, false, gateway.protocol)) {
            Err(error) if !error.is_exists() => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    fn ensure_forwarding(&mut self, family: Family) -> Result<()> {
        if family == Family::V4 {
            return Ok(sysctl::set("net/ipv4/ip_forward", "1")?);
        }
        let key = "net/ipv6/conf/all/forwarding";
        if sysctl::get(key)?.as_deref() == Some("1") {
            return Ok(());
        }
        // A node that forwards forgets default routes learned from router advertisements, unless
        // accept_ra is 2 (net/ipv6/ndisc.c, rt6_purge_dflt_routers): it would cut itself off.
        for route in self.host.list(&net::route::list(true))? {
            if route.dst.prefix() > 0 || route.protocol != net::route::PROTOCOL_RA {
                continue;
            }
            for hop in &route.hops {
                if let Some(uplink) = self.host.get(&link::by_index(hop.link))? {
                    sysctl::set(&format!("net/ipv6/conf/{}/accept_ra", uplink.name), "2")?;
                }
            }
        }
        Ok(sysctl::set(key, "1")?)
    }
}

/// A port needs no IPv6 of its own: its bridge has it. Each link-local address is a few routes
/// more that the kernel walks through whenever any link goes up or down (net/ipv6/route.c,
/// rt6_sync_up and rt6_sync_down_dev): 0.5 ms of an ADD with 500 pods.
fn take_port_ipv6(port: &str) -> Result<()> {
    match sysctl::write(&format!("net/ipv6/conf/{port}/disable_ipv6"), "1") {
        Err(error) if !error.is_gone() && !error.is_read_only() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether sysfs shows this very bridge, and that its MAC address was set (NET_ADDR_SET of
/// include/linux/netdevice.h).
fn is_set_by_sysfs(bridge: &Link) -> bool {
    let shows = |file: &str, wanted: &str| {
        let text = std::fs::read_to_string(format!("/sys/class/net/{}/{file}", bridge.name));
        text.is_ok_and(|text| text.trim_end() == wanted)
    };
    shows("addr_assign_type", "3")
        && shows("ifindex", &bridge.index.to_string())
        && shows("address", &bridge.mac.to_string())
}

fn no_vlan_filtering(bridge: &str) -> Error {
    Error::Unsupported(format!(
        "bridge {bridge} cannot filter by VLAN: the kernel has no VLAN filtering \
         (CONFIG_BRIDGE_VLAN_FILTERING); unset vlan and vlanTrunk"
    ))
}

/// Whether a link's address serves as a gateway's. One that stands for no subnet (a single address,
/// or a link-local one) serves with any length: other suites give it that of the pods' subnet, and
/// of IPv6 the kernel has an address once on a link.
pub(crate) fn holds(present: IpNetwork, wanted: IpNetwork) -> bool {
    let alone = match wanted {
        IpNetwork::V4(net) => net.prefix() == 32,
        IpNetwork::V6(net) => net.prefix() == 128 || net.ip().is_unicast_link_local(),
    };
    present == wanted || (alone && present.ip() == wanted.ip())
}

/// Whether two addresses cannot both be a bridge's: of IPv4 it has one, of IPv6 one for each of
/// disjoint subnets. Link-local addresses are the kernel's.
fn conflict(present: IpNetwork, wanted: IpNetwork) -> bool {
    match (present, wanted) {
        (IpNetwork::V4(_), IpNetwork::V4(_)) => true,
        (IpNetwork::V6(present), IpNetwork::V6(wanted)) => {
            !present.ip().is_unicast_link_local()
                && (present.contains(wanted.ip()) || wanted.contains(present.ip()))
        }
        _ => false,
    }
}

/// What the pod has is new and its values are the kernel's defaults: it is written at once.
fn set_sysctl(item: &Item) -> net::Result<()> {
    let Item::Sysctl(Sysctl { place, key, value, optional }) = item else { return Ok(()) };
    let set = match place {
        Place::Host => sysctl::set(key, value),
        // A write waits for RTNL in a busy loop, also of the value that is there (net/ipv6/addrconf.c,
        // addrconf_disable_ipv6).
        Place::Pod if key.ends_with("/disable_ipv6") => sysctl::set(key, value),
        Place::Pod => sysctl::write(key, value).or_else(|_| sysctl::set(key, value)),
    };
    match set {
        Err(error) if *optional && (error.is_gone() || error.is_read_only()) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_conflict_as_in_the_reference() {
        let conflict = |a: &str, b: &str| conflict(a.parse().unwrap(), b.parse().unwrap());
        assert!(conflict("10.0.0.1/8", "192.168.0.1/16"));
        assert!(!conflict("10.0.0.1/8", "fd00::1/64"));
        assert!(conflict("fd00::2/64", "fd00::1/64"));
        assert!(conflict("fd00::2/32", "fd00:0:1::1/64"));
        assert!(!conflict("fd00:1::2/64", "fd00::1/64"));
        assert!(!conflict("fe80::2/64", "fe80::1/64"));
    }
}
