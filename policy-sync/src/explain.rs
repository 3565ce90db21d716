//! Why a flow passes or is dropped: by the policies themselves, rule by rule. It agrees with what the sets do
//! ([`crate::evaluate`]): a test holds that.

mod report;
mod text;

pub use report::{Explanation, Side};
pub use text::{peer as peer_text, text};

use crate::evaluate::Flow;
use crate::model::{
    Block, Direction, Name, Namespaces, Peer, Pod, Pods, Policy, PolicyName, Port, Rank, Rule,
    Verdict, ranges,
};
use crate::state::State;
use std::net::IpAddr;

/// Explains a flow.
pub fn explain(state: &State, flow: &Flow) -> Explanation {
    let own = flow.source == flow.destination;
    let egress = side(state, flow, Direction::Egress);
    let ingress = side(state, flow, Direction::Ingress);
    let port = Port::Numbers {
        protocol: flow.protocol,
        range: crate::model::PortRange { first: flow.port, last: flow.port },
    };
    Explanation {
        source: end(state, flow.source),
        destination: end(state, flow.destination),
        what: port.to_string(),
        passes: own || (egress.passes && ingress.passes),
        own,
        egress,
        ingress,
    }
}

fn end(state: &State, address: IpAddr) -> String {
    match state.pod_at(address) {
        Some(pod) => format!("{address} (pod {})", pod.name),
        None => format!("{address} (no pod)"),
    }
}

fn side(state: &State, flow: &Flow, direction: Direction) -> Side {
    let address = match direction {
        Direction::Ingress => flow.destination,
        Direction::Egress => flow.source,
    };
    let Some(pod) = state.pod_at(address) else {
        let reason = "no policy selects it: it is no pod".to_owned();
        return Side { reason, passes: true, ..Side::default() };
    };
    let policies = state.policies().into_iter();
    let selects = |it: &&Policy| it.rules(direction).is_some() && selects(state, &it.subject, pod);
    let selected: Vec<&Policy> = policies.filter(selects).collect();
    let enforced: Vec<&Policy> = selected.iter().copied().filter(|it| !it.dry_run).collect();
    let (passes, reason) = decide(state, flow, direction, &enforced);
    let would_drop =
        enforced.len() < selected.len() && !decide(state, flow, direction, &selected).0;
    let named = |it: &&Policy| match it.dry_run {
        true => format!("{} (dry run)", it.name),
        false => it.name.to_string(),
    };
    let elsewhere = !state.is_local(&pod.name);
    Side { selected: selected.iter().map(named).collect(), reason, passes, elsewhere, would_drop }
}

/// Whether the policies, in order, admit the flow, and why.
fn decide(
    state: &State,
    flow: &Flow,
    direction: Direction,
    policies: &[&Policy],
) -> (bool, String) {
    let tier = |is: fn(Rank) -> bool| -> Vec<&Policy> {
        policies.iter().copied().filter(|it| is(it.rank)).collect()
    };
    let first = |policies: &[&Policy]| -> Option<(PolicyName, usize, Verdict)> {
        policies.iter().find_map(|policy| {
            let rules = policy.rules(direction)?;
            let at = rules.iter().position(|rule| admits(state, flow, direction, rule))?;
            Some((policy.name.clone(), at + 1, rules.get(at)?.verdict))
        })
    };
    match first(&tier(|rank| rank < Rank::Namespaced)) {
        Some((name, at, Verdict::Accept)) => {
            return (true, format!("rule {at} of {name} accepts it"));
        }
        Some((name, at, Verdict::Deny)) => {
            return (false, format!("rule {at} of {name} denies it"));
        }
        Some((_, _, Verdict::Pass)) | None => {}
    }
    let namespaced = tier(|rank| rank == Rank::Namespaced);
    if !namespaced.is_empty() {
        return match first(&namespaced) {
            Some((name, at, _)) => (true, format!("rule {at} of {name} allows it")),
            None => (false, missing(state, flow, direction, policies)),
        };
    }
    match first(&tier(|rank| rank > Rank::Namespaced)) {
        Some((name, at, Verdict::Deny)) => (false, format!("rule {at} of {name} denies it")),
        Some((name, at, _)) => (true, format!("rule {at} of {name} accepts it")),
        None if policies.is_empty() => (true, "no policy selects it".to_owned()),
        None => (true, "no rule matches it, and no NetworkPolicy selects the pod".to_owned()),
    }
}

/// What comes nearest to allowing the flow.
fn missing(state: &State, flow: &Flow, direction: Direction, policies: &[&Policy]) -> String {
    let namespaced = policies.iter().filter(|it| it.rank == Rank::Namespaced);
    let mut rules = namespaced.flat_map(|policy| {
        let rules = policy.rules(direction).unwrap_or_default().iter();
        rules.zip(1..).map(move |(rule, at)| (*policy, rule, at))
    });
    let kind = if direction == Direction::Ingress { "ingress" } else { "egress" };
    let near = rules.clone().find(|(_, rule, _)| peer_matches(state, flow, direction, rule));
    if let Some((policy, rule, at)) = near {
        let ports: Vec<String> = rule.ports.iter().flatten().map(ToString::to_string).collect();
        let ports = if ports.is_empty() { "no port".to_owned() } else { ports.join(", ") };
        return format!(
            "no rule allows this port: rule {at} of {} allows the peer at {ports}",
            policy.name
        );
    }
    let near = rules.find(|(_, rule, _)| port_matches(state, flow, rule));
    match near {
        Some((policy, rule, at)) => {
            let peers: Vec<String> = rule.peers.iter().flatten().map(text::peer).collect();
            let peers = if peers.is_empty() { "no peer".to_owned() } else { peers.join("; ") };
            format!(
                "no rule allows this peer: rule {at} of {} allows the port for {peers}",
                policy.name
            )
        }
        None => format!("no {kind} rule of these policies allows the peer or the port"),
    }
}

fn admits(state: &State, flow: &Flow, direction: Direction, rule: &Rule) -> bool {
    peer_matches(state, flow, direction, rule) && port_matches(state, flow, rule)
}

fn peer_matches(state: &State, flow: &Flow, direction: Direction, rule: &Rule) -> bool {
    let address = flow.peer(direction);
    let pod = state.pod_at(address);
    let has = |block: &Block| block.ranges.iter().any(|range| ranges::has(range, address));
    rule.peers.as_ref().is_none_or(|peers| {
        peers.iter().any(|peer| match peer {
            Peer::Block(block) => has(block),
            Peer::Pods(pods) => pod.is_some_and(|pod| selects(state, pods, pod)),
        })
    })
}

fn port_matches(state: &State, flow: &Flow, rule: &Rule) -> bool {
    let destination = state.pod_at(flow.destination);
    rule.ports.as_ref().is_none_or(|ports| {
        ports.iter().any(|port| match port {
            Port::Numbers { protocol, range } => {
                *protocol == flow.protocol && (range.first..=range.last).contains(&flow.port)
            }
            Port::Named { name, protocol } => destination.is_some_and(|pod| {
                pod.ports.iter().any(|port| {
                    let of = protocol.is_none_or(|protocol| protocol == port.protocol);
                    let is = (port.protocol, port.port) == (flow.protocol, flow.port);
                    of && is && port.name == *name
                })
            }),
        })
    })
}

/// Whether pods are selected that have this one among them.
pub fn selects(state: &State, pods: &Pods, pod: &Pod) -> bool {
    let Name { namespace, .. } = &pod.name;
    let in_namespace = match &pods.namespaces {
        Namespaces::One(name) => name == namespace,
        Namespaces::Matching(selector) => {
            state.namespace(namespace).is_some_and(|labels| selector.matches(labels))
        }
    };
    in_namespace && pods.pods.matches(pod.labels())
}
