//! NetworkPolicy.

use super::{Faults, cidr, dry_run, name, number};
use crate::model::{
    ALL_PORTS, Block, Namespaces, Peer, Pods, Policy, PolicyName, Port, PortRange, Rank, Rule,
    Selector, Verdict, ranges,
};
use kube_source::objects::policy::{
    IpBlock, NetworkPolicy, PolicyPeer, PolicyPort, PolicyType, PortName,
};
use std::fmt::Write;

/// A NetworkPolicy, and what is wrong with it. What cannot be read allows nothing; `None` where it is unknown which pods
/// it selects.
pub fn network_policy(object: &NetworkPolicy) -> (Option<Policy>, Faults) {
    let mut faults = Faults::new();
    let policy = read(object, &mut faults);
    let name = name(&object.metadata);
    (policy, faults.into_iter().map(|fault| format!("NetworkPolicy {name}: {fault}")).collect())
}

fn read(object: &NetworkPolicy, faults: &mut Faults) -> Option<Policy> {
    let name = name(&object.metadata);
    let spec = &object.spec;
    let isolates = |kind, by_default| match spec.policy_types.as_slice() {
        [] => by_default,
        types => types.contains(&kind),
    };
    let dry_run = dry_run(&object.metadata, faults);
    let pods = Selector::read(&spec.pod_selector).map_err(|fault| faults.push(fault)).ok()?;
    let namespaces = Namespaces::One(name.namespace.clone());
    let mut rules = |kind: &str, rules: Vec<(&[PolicyPeer], &[PolicyPort])>| -> Vec<Rule> {
        let rule = |(at, (peers, ports)): (usize, (&[PolicyPeer], &[PolicyPort]))| {
            let place = format!("{kind} rule {}", at + 1);
            rule(&name.namespace, peers, ports, &place, faults)
        };
        rules.into_iter().enumerate().map(rule).collect()
    };
    let ingress = isolates(PolicyType::Ingress, true).then(|| {
        let parts = spec.ingress.iter().map(|rule| (&rule.from[..], &rule.ports[..]));
        rules("ingress", parts.collect())
    });
    let egress = isolates(PolicyType::Egress, !spec.egress.is_empty()).then(|| {
        let parts = spec.egress.iter().map(|rule| (&rule.to[..], &rule.ports[..]));
        rules("egress", parts.collect())
    });
    let rank = Rank::Namespaced;
    let subject = Pods { namespaces, pods };
    Some(Policy { name: PolicyName::Namespaced(name), rank, dry_run, subject, ingress, egress })
}

fn rule(
    namespace: &str,
    peers: &[PolicyPeer],
    ports: &[PolicyPort],
    place: &str,
    faults: &mut Faults,
) -> Rule {
    let mut noted = |fault: String| faults.push(format!("{place}: {fault}"));
    // A list whose members are all wrong is no empty list: it allows nothing.
    let read_peers = peers.iter().filter_map(|it| peer(namespace, it).map_err(&mut noted).ok());
    let read_peers = (!peers.is_empty()).then(|| read_peers.collect());
    let read_ports = ports.iter().filter_map(|it| port(it).map_err(&mut noted).ok());
    let ports = (!ports.is_empty()).then(|| read_ports.collect());
    Rule { verdict: Verdict::Accept, peers: read_peers, ports }
}

fn peer(namespace: &str, peer: &PolicyPeer) -> Result<Peer, String> {
    let PolicyPeer { pod_selector, namespace_selector, ip_block } = peer;
    let pods = pod_selector.as_ref().map(Selector::read).transpose()?;
    let namespaces = namespace_selector.as_ref().map(Selector::read).transpose()?;
    match (pods, namespaces, ip_block) {
        (None, None, Some(it)) => block(it).map(Peer::Block),
        (None, None, None) => {
            Err("a peer is empty: write podSelector, namespaceSelector or ipBlock".to_owned())
        }
        (_, _, Some(_)) => {
            Err("a peer has ipBlock and a selector: write two peers, or one of them".to_owned())
        }
        (pods, namespaces, None) => {
            let own = || Namespaces::One(namespace.to_owned());
            let namespaces = namespaces.map_or_else(own, Namespaces::Matching);
            Ok(Peer::Pods(Pods { namespaces, pods: pods.unwrap_or_default() }))
        }
    }
}

fn block(block: &IpBlock) -> Result<Block, String> {
    let whole = cidr(&block.cidr)?;
    let mut text = block.cidr.clone();
    let mut others = Vec::new();
    for (at, except) in block.except.iter().enumerate() {
        let other = cidr(except)?;
        if !whole.contains(other.network()) || other.prefix() <= whole.prefix() {
            return Err(format!("except {except:?} is no part of {whole}: write a part of it"));
        }
        let _ = write!(text, "{} {except}", if at == 0 { " except" } else { "," });
        others.push(ranges::network(&other));
    }
    Ok(Block { text, ranges: ranges::without(ranges::network(&whole), others) })
}

fn port(port: &PolicyPort) -> Result<Port, String> {
    let protocol = port.protocol.map_or(6, number);
    let range = match (&port.port, port.end_port) {
        (None, None) => ALL_PORTS,
        (None, Some(end)) => {
            return Err(format!("endPort is {end} and port is missing: write the first port"));
        }
        (Some(PortName::Name(name)), None) => {
            return Ok(Port::Named { name: name.clone(), protocol: Some(protocol) });
        }
        (Some(PortName::Name(name)), Some(end)) => {
            return Err(format!("endPort is {end} and port is {name:?}: write a number as port"));
        }
        (Some(PortName::Number(first)), end) => {
            PortRange { first: *first, last: end.unwrap_or(*first) }
        }
    };
    if port.port.is_some() && range.first == 0 {
        return Err("port is 0: write 1 to 65535".to_owned());
    }
    if range.last < range.first {
        let (first, last) = (range.first, range.last);
        return Err(format!("endPort is {last}, below port {first}: write {first} or more"));
    }
    Ok(Port::Numbers { protocol, range })
}
