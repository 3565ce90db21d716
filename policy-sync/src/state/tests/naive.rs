//! A second evaluator, by the text of the API's documentation alone and over the objects as JSON: it shares no code with
//! what it judges, keeps nothing and is slow.
//!
//! - networking.k8s.io/v1 NetworkPolicy, `kubectl explain networkpolicy --recursive` and "Network Policies" of the
//!   documentation;
//! - policy.networking.k8s.io ClusterNetworkPolicy, the comments of its Go types.

use serde_json::Value;
use std::net::IpAddr;

pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// `TCP`, `UDP`, `SCTP` or `ICMP`.
    pub protocol: &'static str,
    pub port: u16,
}

pub struct Cluster<'a> {
    pub namespaces: &'a [Value],
    pub pods: &'a [Value],
    pub policies: &'a [Value],
    pub cluster_policies: &'a [Value],
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// "matchLabels is a map of {key,value} pairs … matchExpressions is a list of label selector requirements. The
/// requirements are ANDed."
fn selects(selector: &Value, labels: &Value) -> bool {
    if let Some(wanted) = selector.get("matchLabels").and_then(Value::as_object) {
        for (key, value) in wanted {
            if labels.get(key) != Some(value) {
                return false;
            }
        }
    }
    for requirement in list(selector, "/matchExpressions") {
        let value = labels.get(text(requirement, "/key"));
        let among = value.is_some_and(|value| list(requirement, "/values").contains(value));
        let holds = match text(requirement, "/operator") {
            "In" => among,
            "NotIn" => !among,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            other => panic!("{other}"),
        };
        if !holds {
            return false;
        }
    }
    true
}

impl Cluster<'_> {
    /// Whether the packet passes, if every node does what the policies say.
    pub fn passes(&self, packet: &Packet) -> bool {
        if packet.source == packet.destination {
            return true;
        }
        self.side(packet, false) && self.side(packet, true)
    }

    /// The pod that has an address, if it is one that policies know.
    fn pod_at(&self, address: IpAddr) -> Option<&Value> {
        let mut found: Option<&Value> = None;
        for pod in self.pods {
            let ended = ["Succeeded", "Failed"].contains(&text(pod, "/status/phase"));
            let of_node = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
            let has =
                list(pod, "/status/podIPs").iter().any(|ip| text(ip, "/ip") == address.to_string());
            if ended || of_node || !has {
                continue;
            }
            // The newest has it.
            let age = |pod: &Value| text(pod, "/metadata/creationTimestamp").to_owned();
            if found.is_none_or(|other| age(pod) > age(other)) {
                found = Some(pod);
            }
        }
        found
    }

    fn namespace_labels(&self, pod: &Value) -> Option<&Value> {
        let name = text(pod, "/metadata/namespace");
        let namespace = self.namespaces.iter().find(|it| text(it, "/metadata/name") == name)?;
        Some(namespace.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    fn pod_matches(&self, pods: Option<&Value>, namespaces: Option<&Value>, pod: &Value) -> bool {
        let labels = pod.pointer("/metadata/labels").unwrap_or(&Value::Null);
        if pods.is_some_and(|selector| !selects(selector, labels)) {
            return false;
        }
        match namespaces {
            None => true,
            Some(selector) => {
                self.namespace_labels(pod).is_some_and(|labels| selects(selector, labels))
            }
        }
    }

    fn side(&self, packet: &Packet, ingress: bool) -> bool {
        let address = if ingress { packet.destination } else { packet.source };
        let Some(subject) = self.pod_at(address) else { return true };
        match self.tier("Admin", subject, packet, ingress) {
            Some("Accept") => return true,
            Some("Deny") => return false,
            _ => {}
        }
        match self.namespaced(subject, packet, ingress) {
            Some(decided) => decided,
            None => self.tier("Baseline", subject, packet, ingress) != Some("Deny"),
        }
    }

    /// `None`: no NetworkPolicy isolates the pod.
    fn namespaced(&self, subject: &Value, packet: &Packet, ingress: bool) -> Option<bool> {
        let mut isolated = false;
        for policy in self.policies {
            if text(policy, "/metadata/annotations/ferrule.io~1dry-run") == "true" {
                continue;
            }
            let same = text(policy, "/metadata/namespace") == text(subject, "/metadata/namespace");
            let labels = subject.pointer("/metadata/labels").unwrap_or(&Value::Null);
            if !same || !selects(&policy["spec"]["podSelector"], labels) {
                continue;
            }
            let types = list(policy, "/spec/policyTypes");
            let concerns = match (types.is_empty(), ingress) {
                (true, true) => true,
                (true, false) => !list(policy, "/spec/egress").is_empty(),
                (false, true) => types.contains(&"Ingress".into()),
                (false, false) => types.contains(&"Egress".into()),
            };
            if !concerns {
                continue;
            }
            isolated = true;
            for rule in list(policy, if ingress { "/spec/ingress" } else { "/spec/egress" }) {
                if self.rule_allows(policy, rule, packet, ingress) {
                    return Some(true);
                }
            }
        }
        isolated.then_some(false)
    }

    fn rule_allows(&self, policy: &Value, rule: &Value, packet: &Packet, ingress: bool) -> bool {
        let peers = list(rule, if ingress { "/from" } else { "/to" });
        let peer = if ingress { packet.source } else { packet.destination };
        let by_peer = peers.is_empty() || peers.iter().any(|it| self.peer_has(policy, it, peer));
        let ports = list(rule, "/ports");
        by_peer && (ports.is_empty() || ports.iter().any(|port| self.port_has(port, packet)))
    }

    fn peer_has(&self, policy: &Value, peer: &Value, address: IpAddr) -> bool {
        if let Some(block) = peer.get("ipBlock") {
            let within = |network: &Value| in_network(network.as_str().unwrap(), address);
            return within(&block["cidr"]) && !list(block, "/except").iter().any(within);
        }
        let Some(pod) = self.pod_at(address) else { return false };
        let namespaces = peer.get("namespaceSelector");
        let own = text(pod, "/metadata/namespace") == text(policy, "/metadata/namespace");
        (namespaces.is_some() || own) && self.pod_matches(peer.get("podSelector"), namespaces, pod)
    }

    fn port_has(&self, port: &Value, packet: &Packet) -> bool {
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        if protocol != packet.protocol {
            return false;
        }
        match port.get("port") {
            None => true,
            Some(Value::String(name)) => self.has_named_port(name, packet),
            Some(number) => {
                let first = number.as_u64().unwrap();
                let last = port.get("endPort").and_then(Value::as_u64).unwrap_or(first);
                (first..=last).contains(&u64::from(packet.port))
            }
        }
    }

    fn has_named_port(&self, name: &str, packet: &Packet) -> bool {
        let Some(pod) = self.pod_at(packet.destination) else { return false };
        list(pod, "/spec/containers").iter().flat_map(|it| list(it, "/ports")).any(|port| {
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
            text(port, "/name") == name
                && protocol == packet.protocol
                && port["containerPort"].as_u64() == Some(packet.port.into())
        })
    }

    /// The action of the first rule that matches, of the policies in the order of their priorities.
    fn tier(&self, tier: &str, subject: &Value, packet: &Packet, ingress: bool) -> Option<&str> {
        let mut policies: Vec<&Value> = self.cluster_policies.iter().collect();
        policies.retain(|it| text(it, "/spec/tier") == tier);
        policies.retain(|it| text(it, "/metadata/annotations/ferrule.io~1dry-run") != "true");
        policies.retain(|it| self.is_subject(&it["spec"]["subject"], subject));
        policies.sort_by_key(|it| (it["spec"]["priority"].as_u64(), text(it, "/metadata/name")));
        for policy in policies {
            for rule in list(policy, if ingress { "/spec/ingress" } else { "/spec/egress" }) {
                let peer = if ingress { packet.source } else { packet.destination };
                let peers = list(rule, if ingress { "/from" } else { "/to" });
                let by_peer = peers.iter().any(|it| self.cluster_peer_has(it, peer));
                let by_port = match rule.get("protocols") {
                    None => true,
                    Some(it) => list(it, "").iter().any(|it| self.protocol_has(it, packet)),
                };
                if by_peer && by_port {
                    return Some(text(rule, "/action"));
                }
            }
        }
        None
    }

    fn is_subject(&self, subject: &Value, pod: &Value) -> bool {
        let any = Value::Object(serde_json::Map::new());
        match subject.get("pods") {
            Some(pods) => self.pod_matches(
                Some(pods.get("podSelector").unwrap_or(&any)),
                Some(pods.get("namespaceSelector").unwrap_or(&any)),
                pod,
            ),
            None => self.pod_matches(None, subject.get("namespaces"), pod),
        }
    }

    fn cluster_peer_has(&self, peer: &Value, address: IpAddr) -> bool {
        if let Some(networks) = peer.get("networks") {
            return list(networks, "").iter().any(|it| in_network(it.as_str().unwrap(), address));
        }
        self.pod_at(address).is_some_and(|pod| self.is_subject(peer, pod))
    }

    fn protocol_has(&self, protocol: &Value, packet: &Packet) -> bool {
        if let Some(name) = protocol.get("destinationNamedPort") {
            return self.has_named_port(name.as_str().unwrap(), packet);
        }
        let Some(of) = protocol.get(packet.protocol.to_lowercase()) else { return false };
        match of.get("destinationPort") {
            None => true,
            Some(port) => match port.get("number").and_then(Value::as_u64) {
                Some(number) => number == u64::from(packet.port),
                None => {
                    let start = port["range"]["start"].as_u64().unwrap();
                    let end = port["range"]["end"].as_u64().unwrap();
                    (start..=end).contains(&u64::from(packet.port))
                }
            },
        }
    }
}

/// Bit by bit.
fn in_network(network: &str, address: IpAddr) -> bool {
    let (base, length) = network.split_once('/').unwrap();
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |at| octet >> at & 1 == 1)).collect()
    };
    let (base, address) = (bits(base.parse().unwrap()), bits(address));
    let length: usize = length.parse().unwrap();
    base.len() == address.len() && base[..length] == address[..length]
}
