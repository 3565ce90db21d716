//! The walk from hop to hop.

use super::step::{Step, Trace};
use super::{inside, node, tunnel};
use crate::attachments::{self, Attached};
use crate::facts::Facts;
use net::{Link, Socket};
use std::net::IpAddr;

/// One end of a way.
enum End {
    Pod(Box<Attached>, IpAddr),
    Address(IpAddr),
}

impl End {
    fn address(&self) -> IpAddr {
        match self {
            End::Pod(_, address) | End::Address(address) => *address,
        }
    }

    fn words(&self) -> String {
        match self {
            End::Pod(pod, address) => format!("{address} (pod {})", pod.name()),
            End::Address(address) => address.to_string(),
        }
    }
}

/// Walks from a pod, or an address of a pod or of the node, to a pod or an address.
///
/// # Errors
/// One of the two is not known, or the kernel cannot be asked.
pub fn walk(facts: &Facts, from: &str, to: &str) -> Result<Trace, String> {
    let all = attachments::list(facts);
    let destination = end(&all, to, None)?;
    let v4 = destination.address().is_ipv4();
    let source = end(&all, from, Some(v4))?;
    if source.address().is_ipv4() != v4 {
        let (one, two) = (source.address(), destination.address());
        return Err(format!("{one} and {two} are of different families"));
    }
    let title = format!("{} → {}", source.words(), destination.words());
    let mut trace = Trace { title, steps: Vec::new(), mtu: None };
    let mut socket = Socket::open().map_err(|error| error.to_string())?;
    Walk { facts, all: &all, socket: &mut socket, trace: &mut trace }
        .go(&source, destination.address())?;
    Ok(trace)
}

/// A pod by its name, container or address; or any address.
fn end(all: &[Attached], text: &str, v4: Option<bool>) -> Result<End, String> {
    let family = |address: &&IpAddr| v4.is_none_or(|v4| address.is_ipv4() == v4);
    if let Ok(address) = text.parse::<IpAddr>() {
        let holder =
            all.iter().find(|one| one.orphan.is_none() && one.addresses.contains(&address));
        return Ok(match holder {
            Some(pod) => End::Pod(Box::new(pod.clone()), address),
            None => End::Address(address),
        });
    }
    let named = |one: &&Attached| {
        let pod = one.pod.as_deref().unwrap_or_default();
        pod == text
            || pod.rsplit('/').next() == Some(text)
            || text.len() >= 6 && one.container.starts_with(text)
    };
    let mut found = all.iter().filter(named);
    let Some(pod) = found.next() else {
        return Err(format!(
            "{text:?} is no address, and no pod or container of this node: see `ferrule ls`"
        ));
    };
    let other = found.find(|other| other.name() != pod.name());
    if let Some(other) = other {
        return Err(format!(
            "{text:?} may be {} or {}: name one of them in full",
            pod.name(),
            other.name()
        ));
    }
    match pod.addresses.iter().find(family) {
        Some(address) => Ok(End::Pod(Box::new(pod.clone()), *address)),
        None => Err(format!("pod {} has no known address of that family", pod.name())),
    }
}

struct Walk<'a> {
    facts: &'a Facts,
    all: &'a [Attached],
    socket: &'a mut Socket,
    trace: &'a mut Trace,
}

impl Walk<'_> {
    fn go(&mut self, source: &End, to: IpAddr) -> Result<(), String> {
        let End::Pod(pod, address) = source else {
            return self.of_node(source.address(), to);
        };
        let Some(host) = self.host_link(pod) else {
            let step = Step::at(format!("pod {}", pod.name()));
            self.trace.push(step.fails("its link is not on this node"));
            return Ok(());
        };
        let bridge = self.facts.net().link(host.master).cloned();
        let hop = inside::leave(self.trace, &self.facts.places, pod, &host, to);
        let ended = self.trace.steps.iter().any(Step::is_end);
        if ended || !node::host_end(self.trace, &host, bridge.as_ref()) {
            return Ok(());
        }
        let switched = hop == Some(to) && bridge.is_some();
        match bridge.as_ref().filter(|_| switched) {
            Some(bridge) => self.leave_bridge(bridge, to),
            None => self.route(Some((*address, bridge.as_ref().unwrap_or(&host))), to),
        }
        Ok(())
    }

    /// What the node itself sends.
    fn of_node(&mut self, from: IpAddr, to: IpAddr) -> Result<(), String> {
        let held = self.facts.net().addresses.iter().any(|held| held.address.ip() == from);
        if !held {
            return Err(format!("{from} is neither a pod's nor this node's address"));
        }
        self.route(None, to);
        Ok(())
    }

    fn host_link(&self, pod: &Attached) -> Option<Link> {
        self.facts.net().named(pod.link.as_deref()?).cloned()
    }

    /// From the node's routing on. `from`: source, and the link that the packet came in by.
    fn route(&mut self, from: Option<(IpAddr, &Link)>, to: IpAddr) {
        let Some(route) = node::routed(self.trace, self.socket, self.facts, from, to) else {
            return;
        };
        let Some(hop) = route.hops.first() else {
            self.trace
                .push(Step::at("node").fails(format!("the route {} drops packets", route.dst)));
            return;
        };
        let Some(link) = self.facts.net().link(hop.link).cloned() else { return };
        let next = hop.gateway.unwrap_or(to);
        if link.kind == "vxlan" {
            tunnel::through(self.trace, self.socket, self.facts, &link, next);
        } else if link.kind == "bridge" && hop.gateway.is_none() {
            self.leave_bridge(&link, to);
        } else if !self.is_routed_pod(&link, to) {
            node::out(self.trace, self.socket, &link, next);
        }
    }

    /// From a bridge to the port behind which an address is.
    fn leave_bridge(&mut self, bridge: &Link, to: IpAddr) {
        let step = Step::at(format!("{} (out)", bridge.name));
        let (step, mac) = node::neighbour_of(self.socket, bridge, to, step);
        let port = mac.and_then(|mac| node::port(self.socket, bridge, mac));
        let port = port.and_then(|port| self.facts.net().link(port)).cloned();
        let pod = self.pod_of(to).cloned();
        let port = port.or_else(|| self.host_link(pod.as_ref()?));
        let step = match (&port, &pod) {
            (Some(port), _) => step.with(format!("{to} is behind port {}", port.name)),
            (None, None) => {
                step.fails(format!("no pod of this node has {to}, and no port leads to it"))
            }
            (None, Some(_)) => step.fails("the pod's link is not on this node"),
        };
        if !self.trace.push(step) {
            return;
        }
        if let Some(port) = port {
            self.arrive(&port, pod.as_ref(), to);
        }
    }

    /// To a routed pod, whose link is no bridge's port; whether it is one.
    fn is_routed_pod(&mut self, link: &Link, to: IpAddr) -> bool {
        let pod = self.pod_of(to).filter(|pod| pod.link.as_ref() == Some(&link.name)).cloned();
        let Some(pod) = pod else { return false };
        self.arrive(link, Some(&pod), to);
        true
    }

    fn arrive(&mut self, link: &Link, pod: Option<&Attached>, to: IpAddr) {
        self.trace.limit(link.mtu);
        let step = Step::at(&link.name).with(format!("MTU {}", link.mtu));
        let step = step
            .fails_if(!link.up, format!("it is down: ip link set {} up", link.name))
            .fails_if(!link.carrier, "it has no carrier: the pod's end is down");
        if self.trace.push(step) {
            let place = pod.map_or_else(|| to.to_string(), |pod| format!("pod {}", pod.name()));
            self.trace.push(Step::at(place).with(format!("has {to}")));
        }
    }

    fn pod_of(&self, address: IpAddr) -> Option<&Attached> {
        self.all.iter().find(|one| one.orphan.is_none() && one.addresses.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Vec<Attached> {
        let pod = |name: &str, container: &str, last| Attached {
            pod: Some(name.to_owned()),
            container: container.to_owned(),
            addresses: vec![[10, 1, 0, last].into()],
            ..Attached::default()
        };
        vec![pod("shop/db-0", "aaaaaaaa1", 2), pod("test/db-0", "bbbbbbbb2", 3)]
    }

    fn found(text: &str) -> Result<String, String> {
        end(&pods(), text, None).map(|end| end.words())
    }

    #[test]
    fn ends_are_named_by_pod_container_or_address() {
        assert_eq!(found("shop/db-0").unwrap(), "10.1.0.2 (pod shop/db-0)");
        assert_eq!(found("bbbbbb").unwrap(), "10.1.0.3 (pod test/db-0)");
        assert_eq!(found("10.1.0.3").unwrap(), "10.1.0.3 (pod test/db-0)");
        assert_eq!(found("192.0.2.1").unwrap(), "192.0.2.1");
        assert!(found("db-0").unwrap_err().contains("may be shop/db-0 or test/db-0"));
        assert!(found("nobody").unwrap_err().contains("`ferrule ls`"));
        assert!(end(&pods(), "shop/db-0", Some(false)).is_err());
    }
}
