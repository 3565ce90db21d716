//! The way through the tunnel.

use super::node::neighbour_of;
use super::step::{Step, Trace};
use crate::facts::Facts;
use net::fdb::FdbEntry;
use net::route;
use net::{Link, Socket, fdb};
use node::vtep;
use std::net::IpAddr;

/// Through a VXLAN device to another node. False: the packet ends.
pub(super) fn through(
    trace: &mut Trace,
    socket: &mut Socket,
    facts: &Facts,
    tunnel: &Link,
    hop: IpAddr,
) -> bool {
    trace.limit(tunnel.mtu);
    let step = Step::at(&tunnel.name).with(format!("tunnel, MTU {}", tunnel.mtu));
    let step = step.fails_if(!tunnel.up, format!("it is down: ip link set {} up", tunnel.name));
    let (step, mac) = neighbour_of(socket, tunnel, hop, step);
    let Some(mac) = mac else {
        let why = format!("no neighbour entry for {hop}: route-sync sets it");
        trace.push(step.fails(why));
        return false;
    };
    let entries = socket.list(&fdb::of_link(tunnel.index)).unwrap_or_default();
    let end = entries.iter().find(|entry: &&FdbEntry| entry.mac == mac).and_then(|entry| entry.dst);
    let Some(end) = end else {
        trace.push(step.fails(format!("no FDB entry for {mac}: route-sync sets it")));
        return false;
    };
    let node = facts.daemon.entries().iter().find(|entry| entry.via == Some(end));
    let node = node.map(|entry| format!(", node {}", entry.node)).unwrap_or_default();
    if !trace.push(step.with(format!("to {end}{node}"))) {
        return false;
    }
    outer(trace, socket, facts, tunnel, end)
}

fn outer(
    trace: &mut Trace,
    socket: &mut Socket,
    facts: &Facts,
    tunnel: &Link,
    end: IpAddr,
) -> bool {
    let route = match socket.get(&route::taken_to(end)) {
        Ok(Some(route)) => route,
        Ok(None) => {
            return trace.push(Step::at("underlay").fails(format!("no route leads to {end}")));
        }
        Err(error) => {
            let why = format!("no route leads to {end}: {}", error.cause());
            return trace.push(Step::at("underlay").fails(why));
        }
    };
    let hop = route.hops.first();
    let Some(link) = hop.and_then(|hop| facts.net().link(hop.link)) else {
        return trace.push(Step::at("underlay").unknown("its link is not known"));
    };
    let needed = tunnel.mtu + vtep::overhead(end);
    let step = Step::at(&link.name).with(format!("underlay, MTU {}, {needed} needed", link.mtu));
    let step =
        step.fails_if(!link.up, format!("it is down: ip link set {} up", link.name)).fails_if(
            needed > link.mtu,
            format!(
                "full packets do not fit: ip link set {} mtu {}",
                tunnel.name,
                link.mtu.saturating_sub(vtep::overhead(end))
            ),
        );
    let gateway = hop.and_then(|hop| hop.gateway).unwrap_or(end);
    trace.push(neighbour_of(socket, link, gateway, step).0)
}
