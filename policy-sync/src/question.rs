//! `why`: what is asked, as people write it, and the answer.

use crate::evaluate::Flow;
use crate::explain::{Explanation, explain};
use crate::model::{ALL_PORTS, Direction, Name, PROTOCOLS, Port, PortRange, protocol_name};
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The answer: an explanation for each family that both ends have; without a port the ports that pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Of a flow to a port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<Explanation>,
    /// Of two ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<Ends>,
}

/// What passes between two ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// The ports that pass, in words; none: nothing does.
    pub passing: Vec<String>,
    /// The explanation of one that is dropped, else of one that passes.
    pub example: Explanation,
}

impl Answer {
    /// Whether all that was asked about passes.
    pub fn passes(&self) -> bool {
        self.flows.iter().all(|it| it.passes) && self.ends.iter().all(|it| it.example.passes)
    }
}

/// A destination: an end, and a port if one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Destination<'a> {
    end: &'a str,
    port: Option<(u8, &'a str)>,
}

/// Answers what `why SOURCE DESTINATION[:PORT]` asks.
///
/// # Errors
/// An end or the port cannot be understood or is unknown: in words, with the remedy.
pub fn answer(state: &State, source: &str, destination: &str) -> Result<Answer, String> {
    let Destination { end, port } = parse(destination)?;
    let (from, to) = (addresses(state, source)?, addresses(state, end)?);
    let pairs: Vec<(IpAddr, IpAddr)> = from
        .iter()
        .flat_map(|source| to.iter().map(|to| (*source, *to)))
        .filter(|(source, to)| source.is_ipv4() == to.is_ipv4())
        .collect();
    if pairs.is_empty() {
        return Err(format!("{source} and {end} have no addresses of one family"));
    }
    let mut answer = Answer::default();
    for (source, destination) in pairs {
        match port {
            Some((protocol, port)) => {
                let port = number(state, destination, protocol, port)?;
                let flow = Flow { source, destination, protocol, port };
                answer.flows.push(explain(state, &flow));
            }
            None => answer.ends.push(ends(state, source, destination)),
        }
    }
    Ok(answer)
}

/// `END`, `END:PORT` or `END:PORT/PROTOCOL`; an IPv6 address with a port is in brackets.
fn parse(text: &str) -> Result<Destination<'_>, String> {
    let whole = Destination { end: text, port: None };
    if text.parse::<IpAddr>().is_ok() {
        return Ok(whole);
    }
    let Some((end, port)) = text.rsplit_once(':') else { return Ok(whole) };
    if end.starts_with('[') && !end.ends_with(']') {
        return Ok(whole);
    }
    let (port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let known = PROTOCOLS.iter().find(|(_, name)| name.eq_ignore_ascii_case(protocol));
    match known {
        Some((protocol, _)) => Ok(Destination { end, port: Some((*protocol, port)) }),
        None => Err(format!("{protocol:?} is no protocol with ports: write tcp, udp or sctp")),
    }
}

/// A port's number; a name is one of the destination's containers.
fn number(state: &State, to: IpAddr, protocol: u8, port: &str) -> Result<u16, String> {
    if let Ok(number) = port.parse::<u16>() {
        return Ok(number);
    }
    let pod = state.pod_at(to);
    let named = |pod: &&crate::model::NamedPort| pod.name == port && pod.protocol == protocol;
    let found = pod.and_then(|pod| pod.ports.iter().find(named));
    found.map(|port| port.port).ok_or_else(|| {
        let protocol = protocol_name(protocol);
        format!("{to} has no {protocol} port named {port:?}: write a number from 0 to 65535")
    })
}

/// The addresses of an end: an address, or a pod as `namespace/name`, or by its name alone.
fn addresses(state: &State, end: &str) -> Result<Vec<IpAddr>, String> {
    let plain = end.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(end);
    if let Ok(address) = plain.parse() {
        return Ok(vec![address]);
    }
    let name = match end.split_once('/') {
        Some((namespace, name)) => Name::new(namespace, name),
        None => {
            let mut named: Vec<&Name> =
                state.pods().map(|pod| &pod.name).filter(|name| name.name == end).collect();
            named.sort();
            match named.as_slice() {
                [one] => (*one).clone(),
                [] => return Err(unknown(end)),
                [one, other, ..] => {
                    return Err(format!("{end} may be {one} or {other}: write one of them"));
                }
            }
        }
    };
    if state.pod(&name).is_none() {
        return Err(unknown(end));
    }
    match state.addresses_of(&name) {
        [] => Err(format!("pod {name} has no address of its own yet: ask again later")),
        all => Ok(all.to_vec()),
    }
}

fn unknown(end: &str) -> String {
    format!(
        "{end} is neither an address nor a pod that runs, outside of its node's network: write \
         namespace/name, or an address"
    )
}

/// What passes between two addresses.
fn ends(state: &State, source: IpAddr, destination: IpAddr) -> Ends {
    let of =
        |protocol: u8, port: u16| explain(state, &Flow { source, destination, protocol, port });
    let mut passing = Vec::new();
    let mut example: Option<Explanation> = None;
    for (protocol, _) in PROTOCOLS {
        let edges = edges(state, source, destination, protocol);
        let mut open: Option<u16> = None;
        for port in &edges {
            let it = of(protocol, *port);
            match (it.passes, open) {
                (true, None) => open = Some(*port),
                (false, Some(first)) => {
                    passing.push(ports(protocol, first, port - 1));
                    open = None;
                }
                _ => {}
            }
            if example.as_ref().is_none_or(|example| example.passes && !it.passes) {
                example = Some(it);
            }
        }
        passing.extend(open.map(|first| ports(protocol, first, u16::MAX)));
    }
    // Protocols without ports, by ICMP.
    let other = of(if source.is_ipv4() { 1 } else { 58 }, 0);
    if other.passes {
        passing.push("ICMP and other protocols".to_owned());
    }
    let example = match example {
        Some(example) => example,
        None => other,
    };
    Ends { passing, example }
}

fn ports(protocol: u8, first: u16, last: u16) -> String {
    Port::Numbers { protocol, range: PortRange { first, last } }.to_string()
}

/// The ports of a protocol at which policies may change their minds, in order, 0 among them.
fn edges(state: &State, source: IpAddr, destination: IpAddr, protocol: u8) -> BTreeSet<u16> {
    let mut edges = BTreeSet::from([0]);
    let mut edge = |range: PortRange| {
        edges.insert(range.first);
        edges.extend(range.last.checked_add(1));
    };
    let pods = [state.pod_at(source), state.pod_at(destination)];
    for port in pods.iter().flatten().flat_map(|pod| &pod.ports) {
        edge(PortRange { first: port.port, last: port.port });
    }
    let selects = |policy: &&crate::model::Policy| {
        pods.iter().flatten().any(|pod| crate::explain::selects(state, &policy.subject, pod))
    };
    for policy in state.policies().into_iter().filter(selects) {
        for direction in [Direction::Ingress, Direction::Egress] {
            let rules = policy.rules(direction).unwrap_or_default();
            for port in rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten() {
                match port {
                    Port::Numbers { protocol: of, range } if *of == protocol => edge(*range),
                    Port::Numbers { .. } | Port::Named { .. } => edge(ALL_PORTS),
                }
            }
        }
    }
    edges
}

/// An answer for people.
pub fn text(answer: &Answer) -> String {
    let mut text = String::new();
    for it in &answer.flows {
        text.push_str(&crate::explain::text(it));
    }
    for Ends { passing, example } in &answer.ends {
        let Explanation { source, destination, .. } = example;
        let passing = match passing.as_slice() {
            [] => "nothing passes".to_owned(),
            all => format!("these pass: {}", all.join(", ")),
        };
        text.push_str(&format!("From {source} to {destination} {passing}.\n"));
        text.push_str(&crate::explain::text(example));
    }
    text
}

#[cfg(test)]
mod tests;
