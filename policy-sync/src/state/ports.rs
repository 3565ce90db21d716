//! Ports that rules name.

use crate::model::{NamedPort, Port, Rule};

/// A name of a port with the protocol, as rules of ingress have it, and what it is in a pod: protocols and numbers.
pub(crate) type Named = Vec<((String, Option<u8>), Vec<(u8, u16)>)>;

/// The named ports of a rule.
pub(crate) fn named_ports(rule: &Rule) -> impl Iterator<Item = &Port> {
    let ports = rule.ports.iter().flatten();
    ports.filter(|port| matches!(port, Port::Named { .. }))
}

/// What a name is in a pod.
pub(crate) fn resolved<'a>(
    ports: &'a [NamedPort],
    name: &'a str,
    protocol: Option<u8>,
) -> impl Iterator<Item = (u8, u16)> + 'a {
    let named = ports.iter().filter(move |port| port.name == name);
    let of = named.filter(move |port| protocol.is_none_or(|protocol| port.protocol == protocol));
    of.map(|port| (port.protocol, port.port))
}
