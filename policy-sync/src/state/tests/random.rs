//! Random clusters, as the JSON of their objects.

use serde_json::{Value, json};

/// Choices, one byte each; zeros when they are used up, so that fewer bytes are a simpler cluster.
pub struct Dice<'a> {
    bytes: std::slice::Iter<'a, u8>,
}

impl<'a> Dice<'a> {
    pub fn new(bytes: &'a [u8]) -> Dice<'a> {
        Dice { bytes: bytes.iter() }
    }

    /// 0 to `of` - 1.
    pub fn roll(&mut self, of: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % of
    }

    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    fn some(&mut self, most: usize, mut make: impl FnMut(&mut Dice<'a>) -> Value) -> Vec<Value> {
        let count = self.roll(most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    pub fn is_left(&self) -> bool {
        !self.bytes.as_slice().is_empty()
    }
}

pub const NAMESPACES: [&str; 3] = ["x", "y", "z"];
pub const PORTS: [u16; 5] = [79, 80, 81, 443, 5353];
pub const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

pub fn namespace(dice: &mut Dice, name: &str) -> Value {
    let labels = dice.one(&[
        json!({"ns": name}),
        json!({"ns": name, "team": "a"}),
        json!({"ns": name, "team": "b"}),
        json!({}),
    ]);
    json!({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// The pod number `at` of its namespace.
pub fn pod(dice: &mut Dice, namespace: usize, at: usize) -> Value {
    let labels = dice.one(&[
        json!({"pod": at.to_string()}),
        json!({"pod": at.to_string(), "app": "web"}),
        json!({"app": "db"}),
        json!({}),
    ]);
    // Now and then the address of another.
    let last = if dice.roll(8) == 7 { 1 } else { at + 1 };
    let mut ips = vec![json!({"ip": format!("10.0.{namespace}.{last}")})];
    if dice.roll(3) > 0 {
        // In the one form that addresses are written in (RFC 5952).
        let ip: std::net::Ipv6Addr = format!("fd00::{namespace}:{last}").parse().unwrap();
        ips.push(json!({"ip": ip.to_string()}));
    }
    if dice.roll(8) == 7 {
        ips.clear();
    }
    let web = json!({"name": "web", "containerPort": dice.one(&PORTS)});
    let dns = json!({"name": dice.one(&["dns", "web"]), "containerPort": dice.one(&PORTS), "protocol": "UDP"});
    let ports = dice.one(&[json!([]), json!([web]), json!([web, dns])]);
    let phase = dice.one(&["Running", "Running", "Running", "Pending", "Succeeded", "Failed"]);
    json!({
        "kind": "Pod",
        "metadata": {
            "name": format!("p{at}"), "namespace": NAMESPACES[namespace], "labels": labels,
            "creationTimestamp": format!("2026-11-30T20:00:{:02}Z", namespace * 10 + at),
        },
        "spec": {
            "nodeName": dice.one(&["here", "here", "there"]),
            "hostNetwork": dice.roll(10) == 9,
            "containers": [{"ports": ports}],
        },
        "status": {"phase": phase, "podIPs": ips},
    })
}

fn selector(dice: &mut Dice, keys: &[(&str, &[&str])]) -> Value {
    let (key, values) = dice.one(keys);
    let value = dice.one(values);
    match dice.roll(6) {
        0 => json!({}),
        1 | 2 => json!({"matchLabels": {key: value}}),
        3 => json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]}),
        4 => json!({"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}),
        _ => {
            let operator = dice.one(&["Exists", "DoesNotExist"]);
            json!({"matchExpressions": [{"key": key, "operator": operator}]})
        }
    }
}

fn pods(dice: &mut Dice) -> Value {
    selector(dice, &[("pod", &["0", "1", "2"]), ("app", &["web", "db"])])
}

fn namespaces(dice: &mut Dice) -> Value {
    selector(dice, &[("ns", &["x", "y", "z"]), ("team", &["a", "b"])])
}

const NETWORKS: [&str; 8] = [
    "10.0.0.0/16",
    "10.0.1.0/24",
    "10.0.0.2/32",
    "0.0.0.0/0",
    "fd00::/64",
    "fd00::1:0/112",
    "::/0",
    "192.0.2.0/24",
];

fn block(dice: &mut Dice) -> Value {
    let (cidr, excepts) = dice.one(&[
        ("10.0.0.0/16", ["10.0.1.0/24", "10.0.0.2/32"]),
        ("0.0.0.0/0", ["10.0.0.0/8", "10.0.2.0/31"]),
        ("fd00::/64", ["fd00::1:0/112", "fd00::2:2/128"]),
        ("::/0", ["fd00::/64", "8000::/1"]),
        ("192.0.2.0/24", ["192.0.2.128/25", "192.0.2.7/32"]),
        ("10.0.0.0/31", ["10.0.0.0/32", "10.0.0.1/32"]),
    ]);
    match dice.roll(3) {
        0 => json!({"cidr": cidr}),
        1 => json!({"cidr": cidr, "except": [dice.one(&excepts)]}),
        _ => json!({"cidr": cidr, "except": excepts}),
    }
}

fn peer(dice: &mut Dice) -> Value {
    match dice.roll(4) {
        0 => json!({"podSelector": pods(dice)}),
        1 => json!({"namespaceSelector": namespaces(dice)}),
        2 => json!({"podSelector": pods(dice), "namespaceSelector": namespaces(dice)}),
        _ => json!({"ipBlock": block(dice)}),
    }
}

fn port(dice: &mut Dice) -> Value {
    let mut port = match dice.roll(4) {
        0 => json!({}),
        1 => json!({"port": dice.one(&PORTS)}),
        2 => json!({"port": dice.one(&["web", "dns", "none"])}),
        _ => {
            let first = dice.one(&PORTS);
            json!({"port": first, "endPort": first.max(dice.one(&PORTS))})
        }
    };
    if dice.roll(3) > 0 {
        port["protocol"] = dice.one(&PROTOCOLS).into();
    }
    port
}

fn rule(dice: &mut Dice, peers: &str) -> Value {
    let mut rule = json!({});
    for (key, list) in [(peers, dice.some(2, peer)), ("ports", dice.some(2, port))] {
        if !list.is_empty() {
            rule[key] = list.into();
        }
    }
    rule
}

pub fn policy(dice: &mut Dice, at: usize) -> Value {
    let mut spec = json!({"podSelector": pods(dice)});
    let ingress = dice.some(2, |dice| rule(dice, "from"));
    let egress = dice.some(2, |dice| rule(dice, "to"));
    let types =
        dice.one(&[json!([]), json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    for (key, list) in [("ingress", ingress), ("egress", egress)] {
        if !list.is_empty() {
            spec[key] = list.into();
        }
    }
    spec["policyTypes"] = types;
    let mut metadata = json!({"name": format!("n{at}"), "namespace": dice.one(&NAMESPACES)});
    if dice.roll(6) == 5 {
        metadata["annotations"] = json!({"ferrule.io/dry-run": "true"});
    }
    json!({"kind": "NetworkPolicy", "metadata": metadata, "spec": spec})
}

fn cluster_pods(dice: &mut Dice) -> Value {
    match dice.roll(2) {
        0 => json!({"namespaces": namespaces(dice)}),
        _ => json!({"pods": {"podSelector": pods(dice), "namespaceSelector": namespaces(dice)}}),
    }
}

fn protocol(dice: &mut Dice) -> Value {
    let port = match dice.roll(4) {
        0 => return json!({"destinationNamedPort": dice.one(&["web", "dns"])}),
        1 => json!({}),
        2 => json!({"destinationPort": {"number": dice.one(&PORTS)}}),
        _ => {
            json!({"destinationPort": {"range": {"start": 80, "end": dice.one(&[81, 443, 6000])}}})
        }
    };
    json!({dice.one(&["tcp", "udp", "sctp"]): port})
}

fn cluster_rule(dice: &mut Dice, peers: &str) -> Value {
    let mut list = vec![cluster_pods(dice)];
    list.extend(dice.some(1, cluster_pods));
    if peers == "to" && dice.roll(2) == 1 {
        list.push(json!({"networks": [dice.one(&NETWORKS), dice.one(&NETWORKS)]}));
    }
    let mut rule = json!({"action": dice.one(&["Accept", "Deny", "Pass"]), peers: list});
    let protocols = dice.some(2, protocol);
    if !protocols.is_empty() {
        rule["protocols"] = protocols.into();
    }
    rule
}

pub fn cluster_policy(dice: &mut Dice, at: usize) -> Value {
    let mut spec = json!({
        "tier": dice.one(&["Admin", "Baseline"]),
        "priority": dice.roll(3),
        "subject": cluster_pods(dice),
    });
    spec["ingress"] = dice.some(3, |dice| cluster_rule(dice, "from")).into();
    spec["egress"] = dice.some(3, |dice| cluster_rule(dice, "to")).into();
    let mut metadata = json!({"name": format!("c{at}")});
    if dice.roll(6) == 5 {
        metadata["annotations"] = json!({"ferrule.io/dry-run": "true"});
    }
    json!({"kind": "ClusterNetworkPolicy", "metadata": metadata, "spec": spec})
}
