//! The host's routes to pods on a bridge that holds no address of their subnet.

use crate::compare::{Differences, differs, missing};
use crate::kernel::{Error, Kernel, Result};
use crate::place::Place;
use crate::subnet_route::SubnetRoute;
use net::route;

/// The protocol of a plugin's routes, `ferrule-pod` in rt_protos: the daemon leaves them alone.
const PROTOCOL: u8 = 117;

impl Kernel {
    /// Looks before it adds: the first pod of the subnet made the route for all others.
    pub(crate) fn add_subnet_route(&mut self, wanted: &SubnetRoute) -> Result<()> {
        let link = self.index(Place::Host, &wanted.link)?;
        let found = self.subnet_route(wanted)?;
        if found.as_ref().is_some_and(|found| leads_by(found, link)) {
            return Ok(());
        }
        let mut route = route::Route::new(wanted.subnet(), None, link);
        route.protocol = PROTOCOL;
        match self.host.set(&route::create(&route)) {
            Err(error) if error.is_exists() => {
                let holder = found.and_then(|route| route.hops.first().map(|hop| hop.link));
                let holder = holder.map(|index| self.link_of_index(index)).transpose()?.flatten();
                let holder = holder.map_or_else(String::new, |link| format!(" by {}", link.name));
                Err(Error::Conflict(format!(
                    "the host has a route to {} already{holder}",
                    wanted.subnet()
                )))
            }
            done => Ok(done?),
        }
    }

    /// The route to the subnet, whosever it is.
    fn subnet_route(&mut self, wanted: &SubnetRoute) -> Result<Option<route::Route>> {
        let found = match self.host.get(&route::toward(wanted.pod.ip())) {
            Err(error) if error.is_unreachable() => None,
            found => found?,
        };
        Ok(found.filter(|route| route.dst == wanted.subnet()))
    }

    pub(crate) fn check_subnet_route(&mut self, wanted: &SubnetRoute) -> Result<Differences> {
        let link = self.index(Place::Host, &wanted.link)?;
        let Some(found) = self.subnet_route(wanted)? else { return Ok(missing()) };
        let hops: Vec<u32> = found.hops.iter().map(|hop| hop.link).collect();
        Ok(differs("link index", hops, vec![link]))
    }

    /// Removes the route to a single pod's address, if it is a plugin's and by this link.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_pod_route(&mut self, route: &SubnetRoute) -> Result<()> {
        let Some(link) = self.link(Place::Host, &route.link)? else { return Ok(()) };
        let found = self.subnet_route(route)?;
        let ours = |found: &route::Route| found.protocol == PROTOCOL && leads_by(found, link.index);
        let Some(found) = found.filter(ours) else { return Ok(()) };
        match self.host.set(&route::del(&found)) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn leads_by(found: &route::Route, link: u32) -> bool {
    found.hops.iter().any(|hop| hop.link == link)
}
