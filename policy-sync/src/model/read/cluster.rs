//! ClusterNetworkPolicy.

use super::{Faults, cidr, dry_run};
use crate::model::{
    ALL_PORTS, Block, Namespaces, Peer, Pods, Policy, PolicyName, Port, PortRange, Rank, Rule,
    Selector, Verdict, ranges,
};
use kube_source::objects::policy::{
    Action, ClusterNetworkPolicy, ClusterPeer, ClusterPorts, ClusterProtocol, NamespacedPods,
    Subject, Tier,
};

/// A ClusterNetworkPolicy, and what is wrong with it. A rule that cannot be read fails closed, as the API asks of
/// implementations that meet a field unknown to them: Accept matches nothing, Deny and Pass become "deny all". `None`
/// where it is unknown which pods it selects.
pub fn cluster_policy(object: &ClusterNetworkPolicy) -> (Option<Policy>, Faults) {
    let mut faults = Faults::new();
    let policy = read(object, &mut faults);
    let name = &object.metadata.name;
    let named = |fault| format!("ClusterNetworkPolicy {name}: {fault}");
    (policy, faults.into_iter().map(named).collect())
}

fn read(object: &ClusterNetworkPolicy, faults: &mut Faults) -> Option<Policy> {
    let spec = &object.spec;
    let rank = match spec.tier {
        Tier::Admin => Rank::Admin(spec.priority),
        Tier::Baseline => Rank::Baseline(spec.priority),
    };
    let dry_run = dry_run(&object.metadata, faults);
    let subject = subject(&spec.subject).map_err(|fault| faults.push(fault)).ok()?;
    let mut read = |kind: &str, rules: Vec<Parts>| -> Option<Vec<Rule>> {
        let rule =
            |(at, parts): (usize, Parts)| rule(parts, &format!("{kind} rule {}", at + 1), faults);
        let rules: Vec<Rule> = rules.into_iter().enumerate().map(rule).collect();
        (!rules.is_empty()).then_some(rules)
    };
    let parts = spec.ingress.iter().map(|it| (it.action, &it.from[..], it.protocols.as_deref()));
    let ingress = read("ingress", parts.collect());
    let parts = spec.egress.iter().map(|it| (it.action, &it.to[..], it.protocols.as_deref()));
    let egress = read("egress", parts.collect());
    let name = PolicyName::Cluster(object.metadata.name.clone());
    Some(Policy { name, rank, dry_run, subject, ingress, egress })
}

type Parts<'a> = (Action, &'a [ClusterPeer], Option<&'a [ClusterProtocol]>);

fn subject(subject: &Subject) -> Result<Pods, String> {
    match (&subject.namespaces, &subject.pods) {
        (Some(namespaces), None) => {
            let namespaces = Namespaces::Matching(Selector::read(namespaces)?);
            Ok(Pods { namespaces, pods: Selector::all() })
        }
        (None, Some(pods)) => namespaced(pods),
        _ => Err("subject has not one of namespaces and pods: write one of them".to_owned()),
    }
}

fn namespaced(pods: &NamespacedPods) -> Result<Pods, String> {
    let namespaces = Namespaces::Matching(Selector::read(&pods.namespace_selector)?);
    Ok(Pods { namespaces, pods: Selector::read(&pods.pod_selector)? })
}

fn rule((action, peers, protocols): Parts, place: &str, faults: &mut Faults) -> Rule {
    match parts(peers, protocols) {
        Ok((peers, ports)) => {
            let verdict = match action {
                Action::Accept => Verdict::Accept,
                Action::Deny => Verdict::Deny,
                Action::Pass => Verdict::Pass,
            };
            Rule { verdict, peers: Some(peers), ports }
        }
        Err(fault) if action == Action::Accept => {
            faults.push(format!("{place}: {fault}; until then it accepts nothing"));
            Rule { verdict: Verdict::Accept, peers: Some(Vec::new()), ports: None }
        }
        Err(fault) => {
            faults.push(format!("{place}: {fault}; until then it denies everything"));
            Rule { verdict: Verdict::Deny, peers: None, ports: None }
        }
    }
}

fn parts(
    peers: &[ClusterPeer],
    protocols: Option<&[ClusterProtocol]>,
) -> Result<(Vec<Peer>, Option<Vec<Port>>), String> {
    let peers: Vec<Vec<Peer>> = peers.iter().map(peer).collect::<Result<_, _>>()?;
    let ports = protocols.map(|it| it.iter().map(port).collect::<Result<_, _>>()).transpose()?;
    Ok((peers.concat(), ports))
}

fn peer(peer: &ClusterPeer) -> Result<Vec<Peer>, String> {
    match (&peer.namespaces, &peer.pods, &peer.networks) {
        (Some(namespaces), None, None) => {
            let namespaces = Namespaces::Matching(Selector::read(namespaces)?);
            Ok(vec![Peer::Pods(Pods { namespaces, pods: Selector::all() })])
        }
        (None, Some(pods), None) => Ok(vec![Peer::Pods(namespaced(pods)?)]),
        (None, None, Some(networks)) => networks.iter().map(|network| block(network)).collect(),
        _ => Err("a peer is of a kind that policy-sync does not know: write one of namespaces, \
                  pods and networks"
            .to_owned()),
    }
}

fn block(text: &str) -> Result<Peer, String> {
    let ranges = vec![ranges::network(&cidr(text)?)];
    Ok(Peer::Block(Block { text: text.to_owned(), ranges }))
}

fn port(protocol: &ClusterProtocol) -> Result<Port, String> {
    let ClusterProtocol { tcp, udp, sctp, destination_named_port } = protocol;
    match (tcp, udp, sctp, destination_named_port) {
        (Some(ports), None, None, None) => numbers(6, ports),
        (None, Some(ports), None, None) => numbers(17, ports),
        (None, None, Some(ports), None) => numbers(132, ports),
        (None, None, None, Some(name)) => Ok(Port::Named { name: name.clone(), protocol: None }),
        _ => Err("a protocol is of a kind that policy-sync does not know: write one of tcp, udp, \
                  sctp and destinationNamedPort"
            .to_owned()),
    }
}

fn numbers(protocol: u8, ports: &ClusterPorts) -> Result<Port, String> {
    let range = match &ports.destination_port {
        None => ALL_PORTS,
        Some(port) => match (port.number, port.range) {
            (Some(number), None) => PortRange { first: number, last: number },
            (None, Some(range)) => PortRange { first: range.start, last: range.end },
            _ => return Err("destinationPort has not one of number and range: write one".into()),
        },
    };
    if ports.destination_port.is_some() && (range.first == 0 || range.last < range.first) {
        let PortRange { first, last } = range;
        return Err(format!("destinationPort is {first} to {last}: write 1 to 65535, in order"));
    }
    Ok(Port::Numbers { protocol, range })
}
