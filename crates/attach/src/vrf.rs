//! A pod's interface as a port of a VRF device (drivers/net/vrf.c): its routes are in the device's table.

use crate::compare::{Differences, missing};
use crate::item::VrfPort;
use crate::kernel::{Error, Kernel, Result};
use crate::place::Place;
use crate::sourced::LinkRoute;
use ipnetwork::IpNetwork;
use net::{Link, link, route};

/// The first number of a routing table that no device has; `None` where all are taken.
fn free_table(links: &[Link]) -> Option<u32> {
    (1..u32::MAX).find(|table| links.iter().all(|link| link.vrf_table != Some(*table)))
}

fn needs(error: net::Error, name: &str) -> Error {
    if !error.is_unsupported() {
        return error.into();
    }
    Error::Unsupported(format!(
        "the kernel has no VRF devices, and {name} cannot be made: load the module vrf \
         (CONFIG_NET_VRF), or install the package that has it (linux-modules-extra, \
         kernel-modules-extra); {error}"
    ))
}

fn not_a_vrf(link: &Link) -> Error {
    Error::Conflict(format!(
        "{} is not a VRF but a {:?}; set vrfname to another name",
        link.name,
        link.kind_in_words()
    ))
}

impl Kernel {
    /// Makes the VRF device unless it is there, and the interface its port. IPv6 addresses that the
    /// kernel drops with the move, and the routes by next hops, are put back, the routes into the
    /// device's table.
    pub(crate) fn join_vrf(&mut self, port: &VrfPort) -> Result<()> {
        let name = &port.link;
        let link = self.known_link(Place::Pod, name)?;
        let vrf = self.ensure_vrf(port)?;
        if link.master == vrf.index {
            return Ok(());
        }
        if link.master != 0 {
            let master = self.pod()?.socket.get(&link::by_index(link.master))?;
            let master = master.map_or_else(|| link.master.to_string(), |master| master.name);
            return Err(Error::Conflict(format!(
                "interface {name} has already a master set: {master}"
            )));
        }
        let table = vrf.vrf_table.unwrap_or_default();
        let addresses = self.addresses(Place::Pod, name)?;
        let routes = self.routing(name)?.routes;
        let socket = &mut self.pod()?.socket;
        socket.set(&link::set_master(link.index, vrf.index, name))?;
        for address in addresses.into_iter().filter(is_global_v6) {
            match socket.set(&net::address::add(link.index, address, false)) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
        }
        // Routes to what is on the link are the kernel's, and in the device's table by now.
        for route in routes.into_iter().filter(|route| route.gateway.is_some()) {
            let moved = LinkRoute { table, ..route }.route(link.index);
            socket.set(&route::replace(&moved))?;
        }
        Ok(())
    }

    fn ensure_vrf(&mut self, port: &VrfPort) -> Result<Link> {
        let name = &port.vrf;
        if let Some(found) = self.link(Place::Pod, name)? {
            if found.kind != "vrf" {
                return Err(not_a_vrf(&found));
            }
            return match (port.table, found.vrf_table) {
                (Some(wanted), Some(table)) if wanted != table => Err(Error::Conflict(format!(
                    "VRF {name} already exist with different routing table {table}; table is {wanted}"
                ))),
                _ => Ok(found),
            };
        }
        let socket = &mut self.pod()?.socket;
        let table = match port.table {
            Some(table) => table,
            None => free_table(&socket.list(&link::list())?).unwrap_or(u32::MAX),
        };
        match socket.set(&link::add_vrf(name, table)) {
            // Another network's call made it.
            Err(error) if error.is_exists() => {}
            made => made.map_err(|error| needs(error, name))?,
        }
        self.known_link(Place::Pod, name)
    }

    pub(crate) fn check_vrf(&mut self, port: &VrfPort) -> Result<Differences> {
        let Some(vrf) = self.link(Place::Pod, &port.vrf)? else { return Ok(missing()) };
        let link = self.known_link(Place::Pod, &port.link)?;
        let mut all = Vec::new();
        if vrf.kind != "vrf" {
            all.push(format!("it is not a VRF but {:?}", vrf.kind));
        }
        if let (Some(wanted), Some(table)) = (port.table, vrf.vrf_table)
            && wanted != table
        {
            all.push(format!("its table is {table}, not {wanted}"));
        }
        if !vrf.up {
            all.push("it is down".to_owned());
        }
        if link.master != vrf.index {
            // The first words are the reference's.
            all.push(format!("failed to find {} associated to vrf {}", port.link, port.vrf));
        }
        Ok(all)
    }

    /// Takes an interface out of a VRF device, and removes the device after its last port. What is gone
    /// is no error, nor a pod that is.
    ///
    /// # Errors
    /// The kernel's.
    pub fn leave_vrf(&mut self, name: &str, vrf: &str) -> Result<()> {
        if !self.has_pod() {
            return Ok(());
        }
        let found = match self.link(Place::Pod, vrf) {
            Err(Error::Net(error)) if error.is_gone() => return Ok(()),
            found => found?,
        };
        let Some(found) = found.filter(|found| found.kind == "vrf") else { return Ok(()) };
        if let Some(link) = self.link(Place::Pod, name)?.filter(|link| link.master == found.index) {
            self.leave(&link)?;
        }
        let socket = &mut self.pod()?.socket;
        if socket.list(&link::ports(found.index))?.is_empty() {
            match socket.set(&link::del(found.index, vrf)) {
                Err(error) if !error.is_gone() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// As [`Kernel::join_vrf`], the other way: routes go back into the main table.
    fn leave(&mut self, link: &Link) -> Result<()> {
        let addresses = self.addresses(Place::Pod, &link.name)?;
        let socket = &mut self.pod()?.socket;
        let mut routes = Vec::new();
        for v6 in [false, true] {
            let all = socket.list(&route::list(v6))?;
            let own = all.iter().filter_map(|route| LinkRoute::of(route, link.index));
            routes.extend(own.filter(|route| route.gateway.is_some()));
        }
        socket.set(&link::set_master(link.index, 0, &link.name))?;
        for address in addresses.into_iter().filter(is_global_v6) {
            match socket.set(&net::address::add(link.index, address, false)) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
        }
        for route in routes {
            let back = LinkRoute { table: route::MAIN, ..route }.route(link.index);
            match socket.set(&route::create(&back)) {
                Err(error) if !error.is_exists() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The kernel keeps IPv4 addresses over the move; those of IPv6 only with keep_addr_on_down
/// (net/ipv6/addrconf.c, addrconf_notify), and link-local ones are its own.
fn is_global_v6(address: &IpNetwork) -> bool {
    match address {
        IpNetwork::V4(_) => false,
        IpNetwork::V6(address) => !address.ip().is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vrf(table: u32) -> Link {
        Link { kind: "vrf".to_owned(), vrf_table: Some(table), ..Link::default() }
    }

    #[test]
    fn the_first_table_that_no_device_has_is_taken() {
        assert_eq!(free_table(&[]), Some(1));
        assert_eq!(free_table(&[vrf(1), vrf(2), Link::default(), vrf(5)]), Some(3));
        let many: Vec<_> = (1..1000).map(vrf).collect();
        assert_eq!(free_table(&many), Some(1000));
    }
}
