//! The kernel's routes to next hops.

use super::table::better;
use crate::desired::LEARNED;
use net::route::Route;
use std::net::IpAddr;
use tracing::debug;

/// The route that leads to a next hop. One that was heard does not count: it may follow from this
/// very next hop, and would come and go with each look.
pub fn toward(socket: &mut net::Socket, address: IpAddr) -> Option<Route> {
    let found = socket.get(&net::route::toward(address)).and_then(|found| match found {
        Some(heard) if heard.protocol == LEARNED => {
            let all = net::route::list(address.is_ipv6());
            socket.fold(&all, |best: &mut Option<Route>, route| better(address, best, route))
        }
        found => Ok(found),
    });
    found.unwrap_or_else(|error| {
        // An unreachable network is an error of the lookup, not an empty answer.
        debug!("{error}");
        None
    })
}
