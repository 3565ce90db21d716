//! The node's part: the host's end, the bridge, the route, filters, and the source's translation.

use super::step::{Step, Trace};
use crate::facts::Facts;
use net::route::{self, Kind, Route};
use net::{Link, Mac, Socket, fdb, neighbour};
use std::net::IpAddr;

/// The host's end of a pod's link, and the bridge that it is a port of. False: the packet ends.
pub(super) fn host_end(trace: &mut Trace, host: &Link, bridge: Option<&Link>) -> bool {
    trace.limit(host.mtu);
    let step = Step::at(&host.name).with(format!("host's end of the pod's link, MTU {}", host.mtu));
    let step = step
        .fails_if(!host.up, format!("it is down: ip link set {} up", host.name))
        .fails_if(!host.carrier, "it has no carrier: the pod's end is down");
    let Some(bridge) = bridge else { return trace.push(step) };
    let step =
        step.fails_if(!host.forwards, format!("{} does not let this port forward", bridge.name));
    if !trace.push(step.with(format!("port of {}", bridge.name))) {
        return false;
    }
    trace.limit(bridge.mtu);
    let step = Step::at(&bridge.name).with(format!("bridge, MTU {}", bridge.mtu));
    let step = step.fails_if(!bridge.up, format!("it is down: ip link set {} up", bridge.name));
    trace.push(step.fails_if(
        bridge.mtu < host.mtu,
        format!(
            "it drops what is larger than {} bytes, and the pod sends {}",
            bridge.mtu, host.mtu
        ),
    ))
}

/// What the node does with a packet that came in by a link, or is its own. `None`: it ends.
pub(super) fn routed(
    trace: &mut Trace,
    socket: &mut Socket,
    facts: &Facts,
    from: Option<(IpAddr, &Link)>,
    to: IpAddr,
) -> Option<Route> {
    let answer = match from {
        Some((source, link)) => socket.get(&route::forwarded(source, link.index, to)),
        None => socket.get(&route::taken_to(to)),
    };
    let step = Step::at("node");
    let route = match answer {
        Ok(Some(route)) => route,
        Ok(None) => {
            trace.push(step.fails(format!("the kernel knows no route to {to}")));
            return None;
        }
        Err(error) => {
            trace.push(step.fails(refusal(socket, facts, &error, from, to)));
            return None;
        }
    };
    if route.kind == Kind::LOCAL {
        trace.push(step.with(format!("{to} is an address of this node: delivered here")));
        return None;
    }
    let step = step.with(in_words(facts, &route, to));
    let step = if from.is_some() { filtered(facts, step, to) } else { step };
    let step = match from {
        Some((source, _)) => translated(socket, facts, step, source, to),
        None => step,
    };
    trace.push(step).then_some(route)
}

/// What the kernel answers where the reverse path filter drops a packet (net/ipv4/fib_frontend.c,
/// __fib_validate_source): EXDEV, and on 6.18 EINVAL.
const EXDEV: i32 = 18;
const EINVAL: i32 = 22;

fn refusal(
    socket: &mut Socket,
    facts: &Facts,
    error: &net::Error,
    from: Option<(IpAddr, &Link)>,
    to: IpAddr,
) -> String {
    let other = || format!("the kernel has no route to {to}: {}", error.cause());
    let Some((source, link)) = from.filter(|_| [EXDEV, EINVAL].contains(&error.errno)) else {
        return other();
    };
    let back = socket.get(&route::toward(source)).ok().flatten();
    let leads = back.as_ref().and_then(|route| facts.net().link(route.hops.first()?.link));
    let mode = facts.sysctls.rp_filter(&link.name);
    match (back.as_ref(), leads) {
        (Some(route), Some(leads)) if mode == 1 && leads.index != link.index => format!(
            "rp_filter of {} drops it, since the route back to {source}, {}, leads to {}",
            link.name, route.dst, leads.name
        ),
        _ => other(),
    }
}

fn in_words(facts: &Facts, route: &Route, to: IpAddr) -> String {
    let hop = route.hops.first();
    let link =
        hop.and_then(|hop| facts.net().link(hop.link)).map_or("?", |link| link.name.as_str());
    match hop.and_then(|hop| hop.gateway) {
        Some(gateway) => format!("routes {to} via {gateway} dev {link}"),
        None => format!("routes {to} on {link}"),
    }
}

/// Whether the node forwards at all, and whether a chain of another program denies.
fn filtered(facts: &Facts, step: Step, to: IpAddr) -> Step {
    let key = if to.is_ipv4() { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
    let dotted = key.replace('/', ".");
    let step = step
        .fails_if(facts.sysctls.is_off(key), format!("{dotted} is 0: the node forwards nothing"));
    let found = (crate::checks::FORWARD_DROPS.run)(facts);
    found.iter().fold(step, |step, finding| match finding.certainty {
        crate::finding::Certainty::Certain => step.fails(finding.what.clone()),
        crate::finding::Certainty::Likely => {
            step.with(format!("perhaps dropped: {}", finding.what))
        }
    })
}

/// Whether the packet leaves with another source.
fn translated(socket: &mut Socket, facts: &Facts, step: Step, source: IpAddr, to: IpAddr) -> Step {
    let Ok(filter) = &facts.filter else { return step };
    let node = facts.daemon.node();
    let inside = node.is_some_and(|node| node.cluster_cidrs.iter().any(|cidr| cidr.contains(to)));
    let main = facts.first().and_then(|file| file.main());
    let own = main.is_some_and(|main| main.ranges.iter().any(|range| range.contains(to)));
    let of_pod = filter
        .marked
        .iter()
        .any(|(_, owned)| owned.is_masquerade() && owned.address() == Some(source));
    if inside || own {
        return step.with("inside of the cluster: the pod's address stays");
    }
    if !of_pod && !filter.has("cluster-masq") {
        return step.with(format!(
            "leaves with the pod's address {source}: {to} needs a route back to it"
        ));
    }
    let address = socket.get(&route::taken_to(to)).ok().flatten().and_then(|route| route.source);
    match address {
        Some(address) => step.with(format!("masquerade: the source becomes {address}")),
        None => step.with("masquerade: the source becomes the node's address"),
    }
}

/// The link that the packet leaves by. False: it ends.
pub(super) fn out(trace: &mut Trace, socket: &mut Socket, link: &Link, hop: IpAddr) -> bool {
    trace.limit(link.mtu);
    let step = Step::at(&link.name).with(format!("{}, MTU {}", link.kind_in_words(), link.mtu));
    let step = step
        .fails_if(!link.up, format!("it is down: ip link set {} up", link.name))
        .fails_if(!link.carrier, "it has no carrier");
    trace.push(if link.point_to_point { step } else { neighbour_of(socket, link, hop, step).0 })
}

/// Whether the next hop's MAC address is known.
pub(super) fn neighbour_of(
    socket: &mut Socket,
    link: &Link,
    hop: IpAddr,
    step: Step,
) -> (Step, Option<Mac>) {
    match socket.get(&neighbour::of_address(link.index, hop)) {
        Ok(Some(found)) if found.mac == Mac::default() => {
            let why =
                format!("{hop} does not answer on {}: its MAC address is not known", link.name);
            (step.fails(why), None)
        }
        Ok(Some(found)) => (step.with(format!("{hop} is at {}", found.mac)), Some(found.mac)),
        Ok(None) => (step.with(format!("{hop} was not asked for its MAC address yet")), None),
        Err(error) => (step.unknown(error.to_string()), None),
    }
}

/// The port of a bridge behind which a MAC address is.
pub(super) fn port(socket: &mut Socket, bridge: &Link, mac: Mac) -> Option<u32> {
    socket.get(&fdb::of_bridge(bridge.index, mac)).ok().flatten()
}
