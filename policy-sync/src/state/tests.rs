//! The sets against the naive evaluator, the explanation against the sets, and changes against a fresh start.

mod families;
mod kept;
mod naive;
mod points;
mod random;

use super::{Attachment, Change, State};
use crate::evaluate::{self, Flow};
use crate::explain::explain;
use crate::model::{Direction, Name, PolicyName, read};
use naive::{Cluster, Packet};
use proptest::prelude::*;
use random::Dice;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Objects by kind and name, and the changes that they are.
#[derive(Clone, Default)]
pub(super) struct Objects(BTreeMap<(String, String, String), Value>);

impl Objects {
    pub fn put(&mut self, object: Value) {
        let of = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("").to_owned();
        let key = (of("/kind"), of("/metadata/namespace"), of("/metadata/name"));
        self.0.insert(key, object);
    }

    pub fn remove(&mut self, at: usize) -> Option<Value> {
        let key = self.0.keys().nth(at)?.clone();
        self.0.remove(&key)
    }

    pub fn of(&self, kind: &str) -> Vec<Value> {
        let of = self.0.iter().filter(|((of, ..), _)| of == kind);
        of.map(|(_, object)| object.clone()).collect()
    }

    pub fn state(&self) -> State {
        let mut state = State::new("here");
        self.0.values().for_each(|object| state.change(change(object, true)));
        state
    }

    pub fn passes(&self, packet: &Packet) -> bool {
        self.judge()(packet)
    }

    /// The naive evaluator over these objects.
    pub fn judge(&self) -> impl Fn(&Packet) -> bool + use<> {
        let kinds = ["Namespace", "Pod", "NetworkPolicy", "ClusterNetworkPolicy"];
        let [namespaces, pods, policies, cluster_policies] = kinds.map(|kind| self.of(kind));
        move |packet| {
            let cluster = Cluster {
                namespaces: &namespaces,
                pods: &pods,
                policies: &policies,
                cluster_policies: &cluster_policies,
            };
            cluster.passes(packet)
        }
    }
}

/// What an object's coming or going is.
pub(super) fn change(object: &Value, is: bool) -> Change {
    let kind = object["kind"].as_str().unwrap();
    match kind {
        "Namespace" => {
            let it: kube_source::objects::Namespace =
                serde_json::from_value(object.clone()).unwrap();
            Change::Namespace(it.metadata.name, is.then_some(it.metadata.labels))
        }
        "Pod" => {
            let it: kube_source::objects::Pod = serde_json::from_value(object.clone()).unwrap();
            let pod = read::pod(&Arc::new(it.clone())).map(Arc::new);
            Change::Pod(read::name(&it.metadata), pod.filter(|_| is))
        }
        "NetworkPolicy" => {
            let it = serde_json::from_value(object.clone()).unwrap();
            let (policy, faults) = read::network_policy(&it);
            assert_eq!(faults, [""; 0]);
            let name = PolicyName::Namespaced(read::name(&it.metadata));
            Change::Policy(name, policy.filter(|_| is).map(Arc::new))
        }
        _ => {
            let it = serde_json::from_value(object.clone()).unwrap();
            let (policy, faults) = read::cluster_policy(&it);
            assert_eq!(faults, [""; 0]);
            let name = PolicyName::Cluster(it.metadata.name);
            Change::Policy(name, policy.filter(|_| is).map(Arc::new))
        }
    }
}

fn cluster(dice: &mut Dice) -> Objects {
    let mut objects = Objects::default();
    for (at, name) in random::NAMESPACES.into_iter().enumerate() {
        objects.put(random::namespace(dice, name));
        (0..3).for_each(|pod| objects.put(random::pod(dice, at, pod)));
    }
    (0..dice.roll(5)).for_each(|at| objects.put(random::policy(dice, at)));
    (0..dice.roll(4)).for_each(|at| objects.put(random::cluster_policy(dice, at)));
    objects
}

/// Some packets between all ends: pods, nodes, the world.
fn packets(dice: &mut Dice) -> Vec<Packet> {
    let pods = (0..9).flat_map(|at| {
        let (namespace, pod) = (at / 3, at % 3 + 1);
        [format!("10.0.{namespace}.{pod}"), format!("fd00::{namespace}:{pod}")]
    });
    let others = ["192.0.2.7", "192.0.2.200", "8.8.8.8", "2001:db8::1", "9000::1"];
    let ends: Vec<IpAddr> =
        pods.chain(others.map(str::to_owned)).map(|it| it.parse().unwrap()).collect();
    let mut packets = Vec::new();
    for source in &ends {
        for destination in &ends {
            if source.is_ipv4() != destination.is_ipv4() {
                continue;
            }
            let protocol = dice.one(&["TCP", "UDP", "SCTP", "ICMP"]);
            let port = if protocol == "ICMP" { 0 } else { dice.one(&random::PORTS) };
            packets.push(Packet { source: *source, destination: *destination, protocol, port });
        }
    }
    packets
}

pub(super) fn flow(packet: &Packet) -> Flow {
    let protocol = match packet.protocol {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        _ => 1,
    };
    let Packet { source, destination, port, .. } = packet;
    Flow { source: *source, destination: *destination, protocol, port: *port }
}

/// Both ends decide, each on its own node.
fn by_sets(objects: &Objects, packet: &Packet) -> bool {
    ["here", "there"].into_iter().all(|node| {
        let mut state = objects.state();
        if node == "there" {
            state = State::new("there");
            objects.0.values().for_each(|object| state.change(change(object, true)));
        }
        evaluate::verdict(&state.desired(), &flow(packet))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_clusters_are_as_the_naive_evaluator_says(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        more in prop::collection::vec(any::<u8>(), 600),
    ) {
        let objects = cluster(&mut Dice::new(&bytes));
        let mut here = objects.state();
        let mut there = State::new("there");
        objects.0.values().for_each(|object| there.change(change(object, true)));
        let desired = [here.desired(), there.desired()];
        let judge = objects.judge();
        for packet in packets(&mut Dice::new(&more)) {
            let flow = flow(&packet);
            let by_sets = desired.iter().all(|it| evaluate::verdict(it, &flow));
            let explanation = explain(&here, &flow);
            let text = || format!("{}{:?}", crate::explain::text(&explanation), objects.0);
            prop_assert_eq!(by_sets, judge(&packet), "{:?} {}", flow, text());
            prop_assert_eq!(explanation.passes, by_sets, "{:?}: {:?}", flow, explanation);
            for (side, direction) in
                [(&explanation.egress, Direction::Egress), (&explanation.ingress, Direction::Ingress)]
            {
                let would = desired.iter().any(|it| evaluate::would_drop(it, &flow, direction));
                // Of what is dropped anyway nothing is promised.
                if side.passes && !explanation.own {
                    prop_assert_eq!(side.would_drop, would, "{:?}: {:?}", flow, side);
                }
            }
        }
    }

    #[test]
    fn any_order_of_changes_leads_to_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        let mut dice = Dice::new(&bytes);
        let mut objects = cluster(&mut dice);
        let mut state = objects.state();
        state.desired();
        while dice.is_left() {
            let object = match dice.roll(8) {
                0 | 1 => random::policy(&mut dice, 0),
                2 => random::cluster_policy(&mut dice, 0),
                3 => {
                    let name = dice.one(&random::NAMESPACES);
                    random::namespace(&mut dice, name)
                }
                4..=6 => {
                    let (namespace, pod) = (dice.roll(3), dice.roll(3));
                    random::pod(&mut dice, namespace, pod)
                }
                _ => {
                    let at = dice.roll(16);
                    if let Some(gone) = objects.remove(at) {
                        state.change(change(&gone, false));
                    }
                    continue;
                }
            };
            state.change(change(&object, true));
            objects.put(object);
            if dice.roll(2) == 1 {
                let fresh = objects.state().desired();
                prop_assert_eq!(state.desired(), fresh);
            }
        }
        prop_assert_eq!(state.desired(), objects.state().desired());
    }
}

pub(super) fn attachment(
    key: &str,
    addresses: &[&str],
    pod: Option<(&str, &str, &str)>,
) -> Attachment {
    Attachment {
        key: key.to_owned(),
        network: "net".to_owned(),
        container: format!("c-{key}"),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        pod: pod.map(|(namespace, name, uid)| (Name::new(namespace, name), uid.to_owned())),
    }
}
