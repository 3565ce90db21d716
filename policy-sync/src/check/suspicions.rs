//! What the API admits and is probably not meant.

use crate::explain::selects;
use crate::model::{Block, Direction, Peer, Pod, Policy, Port, Rule, ranges};
use crate::source::yaml::Objects;
use crate::state::State;
use ipnetwork::IpNetwork;
use kube_source::objects;

/// Every suspicion, in words, in the order of the policies.
pub(super) fn find(state: &State, objects: &Objects, pod_cidrs: &[IpNetwork]) -> Vec<String> {
    let mut found = Vec::new();
    for policy in state.policies() {
        let name = &policy.name;
        let mut note = |what: String| found.push(format!("{name}: {what}"));
        for rule in rules(policy) {
            blocks(rule.1).for_each(|block| in_pod_range(block, pod_cidrs, &rule.0, &mut note));
        }
        if !objects.pods.is_empty() {
            of_pods(state, policy, &mut note);
        }
    }
    found.extend(host_bits(objects));
    found
}

/// The rules of both directions, each with its name.
fn rules(policy: &Policy) -> impl Iterator<Item = (String, &Rule, Direction)> {
    let of = move |kind: &'static str, direction| {
        let rules = policy.rules(direction).unwrap_or_default().iter().zip(1..);
        rules.map(move |(rule, at)| (format!("{kind} rule {at}"), rule, direction))
    };
    of("ingress", Direction::Ingress).chain(of("egress", Direction::Egress))
}

fn blocks(rule: &Rule) -> impl Iterator<Item = &Block> {
    rule.peers.iter().flatten().filter_map(|peer| match peer {
        Peer::Block(block) => Some(block),
        Peer::Pods(_) => None,
    })
}

fn in_pod_range(
    block: &Block,
    pod_cidrs: &[IpNetwork],
    place: &str,
    note: &mut impl FnMut(String),
) {
    let within = |cidr: &&IpNetwork| {
        let whole = ranges::network(cidr);
        block
            .ranges
            .iter()
            .any(|range| ranges::has(&whole, range.first) && ranges::has(&whole, range.last))
    };
    if let Some(cidr) = pod_cidrs.iter().find(within) {
        note(format!(
            "{place} has {}, which is inside of the pods' range {cidr}: pods come and go with \
             other addresses; write podSelector or namespaceSelector",
            block.text
        ));
    }
}

/// What depends on the pods that there are.
fn of_pods(state: &State, policy: &Policy, note: &mut impl FnMut(String)) {
    let subjects: Vec<&Pod> =
        state.pods().filter(|pod| selects(state, &policy.subject, pod)).collect();
    if subjects.is_empty() {
        note("it selects no pod of these files: see the labels of pods and namespaces".to_owned());
        return;
    }
    for (place, rule, direction) in rules(policy) {
        let peers: Vec<&Pod> = match &rule.peers {
            None => state.pods().collect(),
            Some(peers) => {
                for peer in peers {
                    if let Peer::Pods(pods) = peer
                        && !state.pods().any(|pod| selects(state, pods, pod))
                    {
                        let peer = crate::explain::peer_text(peer);
                        note(format!("{place} names {peer}, and no pod of these files is one"));
                    }
                }
                let named = |pod: &&Pod| {
                    peers
                        .iter()
                        .any(|it| matches!(it, Peer::Pods(pods) if selects(state, pods, pod)))
                };
                state.pods().filter(named).collect()
            }
        };
        let destinations = if direction == Direction::Ingress { &subjects } else { &peers };
        for port in rule.ports.iter().flatten() {
            if lacks(destinations, port) {
                note(format!(
                    "{place} names {port}, and no container of the {} declares it: see \
                     containers[].ports",
                    if direction == Direction::Ingress { "selected pods" } else { "peers" }
                ));
            }
        }
    }
}

/// Whether no pod has the port. Ports are declared for people: where none is, nothing is known.
fn lacks(pods: &[&Pod], port: &Port) -> bool {
    let all: Vec<&objects::Port> = pods.iter().flat_map(|pod| declared(pod)).collect();
    match port {
        Port::Named { name, protocol } => {
            let has = |pod: &&Pod| {
                pod.ports.iter().any(|it| {
                    it.name == *name && protocol.is_none_or(|protocol| protocol == it.protocol)
                })
            };
            !pods.is_empty() && !pods.iter().any(has)
        }
        Port::Numbers { protocol, range } => {
            let name = crate::model::protocol_name(*protocol);
            let has = |it: &&objects::Port| {
                it.protocol == name && (range.first..=range.last).contains(&it.container_port)
            };
            let all_declare = pods.iter().all(|pod| declared(pod).next().is_some());
            !pods.is_empty() && all_declare && !all.iter().any(has)
        }
    }
}

fn declared(pod: &Pod) -> impl Iterator<Item = &objects::Port> {
    let spec = &pod.object.spec;
    spec.containers.iter().chain(&spec.init_containers).flat_map(|container| &container.ports)
}

/// CIDRs that the API admits with a warning.
fn host_bits(objects: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for policy in &objects.policies {
        let spec = &policy.spec;
        let from = spec.ingress.iter().flat_map(|rule| &rule.from);
        let peers = from.chain(spec.egress.iter().flat_map(|rule| &rule.to));
        for block in peers.filter_map(|peer| peer.ip_block.as_ref()) {
            for text in std::iter::once(&block.cidr).chain(&block.except) {
                let Ok(network) = text.parse::<IpNetwork>() else { continue };
                if network.ip() != network.network() {
                    let (name, whole) =
                        (crate::model::read::name(&policy.metadata), network.network());
                    found.push(format!(
                        "NetworkPolicy {name}: {text:?} has host bits set: write \"{whole}/{}\"",
                        network.prefix()
                    ));
                }
            }
        }
    }
    found
}
