//! The pod's end: what the kernel answers in the pod's network namespace.

use super::step::{Step, Trace};
use crate::attachments::Attached;
use crate::places::{self, Places};
use net::route::{self, Route};
use net::{Link, Mac, NetNs, Socket, link, neighbour};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the pod's kernel says of the way to an address.
struct Inside {
    link: Link,
    route: Result<Route, String>,
    /// Of the next hop: known, asked for and not answered, or never asked for.
    neighbour: Option<Mac>,
}

/// The pod's own hop. `host`: the host's end of its link.
pub(super) fn leave(
    trace: &mut Trace,
    places: &Places,
    pod: &Attached,
    host: &Link,
    to: IpAddr,
) -> Option<IpAddr> {
    let step = Step::at(format!("pod {}", pod.name()));
    let Some(netns) = namespace(places, pod, host) else {
        let why = "its network namespace was not found in /run/netns and /proc; run this as root of the node";
        trace.push(step.unknown(why));
        return None;
    };
    let inside = match netns.enter(|| ask(host, to)) {
        Ok(Some(inside)) => inside,
        Ok(None) => {
            trace.push(step.unknown("the other end of its link is not in its namespace"));
            return None;
        }
        Err(error) => {
            trace.push(step.unknown(error.to_string()));
            return None;
        }
    };
    trace.limit(inside.link.mtu);
    let hop = inside.route.as_ref().ok().and_then(|route| route.hops.first()?.gateway);
    trace.push(described(step, pod, &inside, to));
    hop.or(Some(to))
}

fn described(step: Step, pod: &Attached, inside: &Inside, to: IpAddr) -> Step {
    let Inside { link, route, neighbour } = inside;
    let addresses: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    let step = step.with(format!("{} {}, MTU {}", link.name, addresses.join(" "), link.mtu));
    let step = step.fails_if(!link.up, format!("{} is down in the pod", link.name));
    let step = match route {
        Ok(route) => {
            let gateway = route.hops.first().and_then(|hop| hop.gateway);
            let source =
                route.source.map(|source| format!(", source {source}")).unwrap_or_default();
            match gateway {
                Some(gateway) => {
                    step.with(format!("to {to} via {gateway} dev {}{source}", link.name))
                }
                None => step.with(format!("{to} is on {}{source}", link.name)),
            }
        }
        Err(why) => step.fails(format!("the pod has no route to {to}: {why}")),
    };
    match neighbour {
        Some(Mac([0, 0, 0, 0, 0, 0])) => {
            step.fails("the pod asked for the next hop's MAC address and got no answer")
        }
        Some(mac) => step.with(format!("next hop at {mac}")),
        None => step.with("next hop not asked for yet"),
    }
}

/// Runs in the pod's namespace.
fn ask(host: &Link, to: IpAddr) -> net::Result<Option<Inside>> {
    let mut socket = Socket::open()?;
    let Some(link) = socket.get(&link::by_index(host.peer))? else { return Ok(None) };
    let route = match socket.get(&route::taken_to(to)) {
        Ok(Some(route)) => Ok(route),
        Ok(None) => Err("none".to_owned()),
        Err(error) => Err(error.cause()),
    };
    let hop = route.as_ref().ok().and_then(|route| route.hops.first()?.gateway).unwrap_or(to);
    let neighbour = socket.get(&neighbour::of_address(link.index, hop)).unwrap_or(None);
    Ok(Some(Inside { link, route, neighbour: neighbour.map(|neighbour| neighbour.mac) }))
}

/// The pod's network namespace: that which holds the other end of its link.
fn namespace(places: &Places, pod: &Attached, host: &Link) -> Option<NetNs> {
    let known = pod.netns.iter().cloned();
    let mut seen = BTreeSet::new();
    let own = fs::metadata("/proc/self/ns/net").map(|meta| meta.ino()).ok();
    seen.extend(own);
    known.chain(candidates(places)).find_map(|path| {
        let inode = fs::metadata(&path).ok()?.ino();
        if !seen.insert(inode) {
            return None;
        }
        let netns = NetNs::open(&path).ok()?;
        netns.enter(|| holds(host)).unwrap_or(false).then_some(netns)
    })
}

fn holds(host: &Link) -> net::Result<bool> {
    let other = Socket::open()?.get(&link::by_index(host.peer))?;
    Ok(other.is_some_and(|other| other.kind == "veth" && other.peer == host.index))
}

fn candidates(places: &Places) -> impl Iterator<Item = PathBuf> {
    let listed = |folder: &str| {
        let folder = places.at(folder);
        let names = places::names(&folder).ok().flatten().unwrap_or_default();
        names.into_iter().map(move |name| folder.join(name)).collect::<Vec<_>>()
    };
    let named = [listed("/run/netns"), listed("/run/docker/netns")].concat();
    let is_process = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.bytes().all(|byte| byte.is_ascii_digit())
    };
    let processes = listed("/proc").into_iter().filter(is_process);
    named.into_iter().chain(processes.map(|path: PathBuf| Path::join(&path, "ns/net")))
}
