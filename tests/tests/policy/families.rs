//! Packets between nine pods of three namespaces, through a sequence of policies; what passes is what a naive evaluator
//! of the API's text says.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ferrule_tests::node::Place;
use ferrule_tests::{patience, within};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt,
};
use serde_json::{Value, json};

use crate::naive::{Cluster, Packet};
use crate::site::{Member, Site};

const PORTS: [u16; 2] = [80, 81];

/// Nine pods that listen.
struct Town {
    site: Site,
    members: Vec<Member>,
    servers: BTreeMap<(IpAddr, u16), UdpSocket>,
    listeners: Vec<TcpListener>,
    policies: Vec<Value>,
}

impl Town {
    fn new() -> Town {
        let site = Site::new();
        for namespace in ["x", "y", "z"] {
            site.put(&format!("namespace-{namespace}"), &[namespace_of(namespace)]);
        }
        let mut members = Vec::new();
        for namespace in ["x", "y", "z"] {
            for name in ["a", "b", "c"] {
                site.describe(namespace, name, &json!({"pod": name}));
                members.push(site.attach(namespace, name));
            }
        }
        let (mut servers, mut listeners) = (BTreeMap::new(), Vec::new());
        for member in &members {
            for (address, port) in ends(member) {
                let at = SocketAddr::new(address, port);
                let ns = member.pod.ns();
                let listener = ns.enter(|| TcpListener::bind(at)).unwrap();
                listener.set_nonblocking(true).unwrap();
                listeners.push(listener);
                let server = ns.enter(|| UdpSocket::bind(at)).unwrap();
                server.set_nonblocking(true).unwrap();
                servers.insert((address, port), server);
            }
        }
        Town { site, members, servers, listeners, policies: Vec::new() }
    }

    /// Puts the policies in place of the others, and waits until packets pass as they say.
    #[track_caller]
    fn follow(&mut self, policies: Vec<Value>) {
        self.site.put("policies", &policies);
        self.policies = policies;
        let expected = self.expected();
        let mut seen = BTreeMap::new();
        let as_expected = || {
            seen = self.seen(&expected);
            (seen == expected).then_some(())
        };
        if within(Duration::from_secs(20), as_expected).is_some() {
            return;
        }
        let wrong: Vec<_> =
            expected.iter().filter(|(key, passes)| seen.get(key) != Some(passes)).collect();
        panic!("not as expected: {wrong:?} of {:?}\n{}", self.policies, self.site.log());
    }

    fn expected(&self) -> BTreeMap<Key, bool> {
        let pods: Vec<Value> = self.members.iter().map(pod_of).collect();
        let namespaces = ["x", "y", "z"].map(namespace_of);
        let cluster = Cluster {
            namespaces: &namespaces,
            pods: &pods,
            policies: &self.policies,
            cluster_policies: &[],
        };
        let mut expected = BTreeMap::new();
        for from in &self.members {
            for to in &self.members {
                for (destination, port) in ends(to) {
                    let same = |it: &&IpAddr| it.is_ipv4() == destination.is_ipv4();
                    let source = *from.addresses.iter().find(same).unwrap();
                    if source == destination {
                        continue;
                    }
                    for protocol in ["TCP", "UDP"] {
                        let packet = Packet { source, destination, protocol, port };
                        let passes = cluster.passes(&packet);
                        expected.insert((source, destination, protocol, port), passes);
                    }
                }
            }
        }
        expected
    }

    /// What passes now, of all at once.
    fn seen(&self, expected: &BTreeMap<Key, bool>) -> BTreeMap<Key, bool> {
        // Connections of an earlier look fill the queues, and are over.
        self.listeners.iter().for_each(|listener| while listener.accept().is_ok() {});
        let mut seen: BTreeMap<Key, bool> = expected.keys().map(|key| (*key, false)).collect();
        let mut connections: Vec<(Key, OwnedFd)> = Vec::new();
        for member in &self.members {
            let mine = expected.keys().filter(|key| member.addresses.contains(&key.0));
            let mine: Vec<Key> = mine.copied().collect();
            member.pod.ns().enter(|| {
                for key in mine {
                    match key.2 {
                        "TCP" => connections.push((key, begin(key))),
                        _ => send(key),
                    }
                }
            });
        }
        let deadline = Instant::now() + patience(Duration::from_secs(2));
        loop {
            connections.retain(|(key, connection)| {
                let connected = is_connected(connection);
                if connected {
                    seen.insert(*key, true);
                }
                !connected
            });
            for ((address, port), server) in &self.servers {
                let mut text = [0; 64];
                while let Ok((_, from)) = server.recv_from(&mut text) {
                    seen.insert((from.ip(), *address, "UDP", *port), true);
                }
            }
            let all = expected.iter().all(|(key, passes)| !passes || seen.get(key) == Some(&true));
            // What must not pass gets as long as it would take: all the rest has passed already.
            let end = if all {
                (Instant::now() + Duration::from_millis(300)).min(deadline)
            } else {
                deadline
            };
            if Instant::now() >= deadline || (all && self.settle(&mut connections, &mut seen, end))
            {
                return seen;
            }
            self.wait(Duration::from_millis(20));
        }
    }

    /// Looks once more at the end of some time.
    fn settle(
        &self,
        connections: &mut [(Key, OwnedFd)],
        seen: &mut BTreeMap<Key, bool>,
        end: Instant,
    ) -> bool {
        self.wait(end.saturating_duration_since(Instant::now()));
        for (key, connection) in connections.iter() {
            if is_connected(connection) {
                seen.insert(*key, true);
            }
        }
        for ((address, port), server) in &self.servers {
            while let Ok((_, from)) = server.recv_from(&mut [0; 64]) {
                seen.insert((from.ip(), *address, "UDP", *port), true);
            }
        }
        true
    }

    /// Waits for datagrams, for some time at most.
    fn wait(&self, time: Duration) {
        let mut all: Vec<PollFd> =
            self.servers.values().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut all, time);
    }
}

/// Source, destination, protocol, port.
type Key = (IpAddr, IpAddr, &'static str, u16);

fn ends(member: &Member) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
    member.addresses.iter().flat_map(|address| PORTS.map(|port| (*address, port)))
}

fn namespace_of(name: &str) -> Value {
    let labels = json!({"ns": name, "kubernetes.io/metadata.name": name});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn pod_of(member: &Member) -> Value {
    let ips: Vec<Value> = member.addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
    json!({
        "metadata": {"namespace": member.namespace, "name": member.name, "labels": {"pod": member.name}},
        "status": {"phase": "Running", "podIPs": ips},
    })
}

fn begin((_, to, _, port): Key) -> OwnedFd {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let connection = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let at = SockaddrStorage::from(SocketAddr::new(to, port));
    match connect(connection.as_raw_fd(), &at) {
        Ok(()) | Err(Errno::EINPROGRESS) => connection,
        Err(error) => panic!("{to}: {error}"),
    }
}

fn is_connected(connection: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(connection.as_fd(), PollFlags::POLLOUT)];
    let ready = poll(&mut ready, PollTimeout::ZERO) == Ok(1);
    ready && getsockopt(connection, sockopt::SocketError) == Ok(0)
}

fn send((from, to, _, port): Key) {
    let client = UdpSocket::bind(SocketAddr::new(from, 0)).unwrap();
    let _ = client.send_to(b"ask", SocketAddr::new(to, port));
}

fn policy(name: &str, spec: Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name}, "spec": spec,
    })
}

/// Each of cyclonus' families once, in both directions.
fn sequence() -> Vec<Vec<Value>> {
    let a = json!({"matchLabels": {"pod": "a"}});
    let x = json!({"matchLabels": {"ns": "x"}});
    let peers = [
        json!([{"podSelector": {"matchLabels": {"pod": "b"}}}]),
        json!([{"namespaceSelector": x, "podSelector": {"matchLabels": {"pod": "c"}}}]),
        json!([{"namespaceSelector": {"matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["x"]}]}}]),
        json!([{"ipBlock": {"cidr": "10.1.0.0/29"}}, {"ipBlock": {"cidr": "fd00:1::/64", "except": ["fd00:1::4/126"]}}]),
    ];
    let ports = [
        json!([]),
        json!([{"port": 80}]),
        json!([{"protocol": "UDP", "port": 80, "endPort": 81}]),
        json!([{"protocol": "UDP"}, {"port": 81}]),
    ];
    let mut all = vec![Vec::new()];
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    all.push(vec![policy("x/deny", deny.clone())]);
    for (at, peer) in peers.iter().enumerate() {
        let ingress = json!([{"from": peer, "ports": ports[at]}]);
        let egress = json!([{"to": peer, "ports": ports[(at + 1) % 4]}]);
        all.push(vec![policy("x/p", json!({"podSelector": a, "ingress": ingress}))]);
        all.push(vec![policy(
            "x/p",
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}),
        )]);
        all.push(vec![
            policy("x/deny", deny.clone()),
            policy("x/p", json!({"podSelector": a, "ingress": ingress, "egress": egress})),
            policy("y/q", json!({"podSelector": {}, "ingress": [{"ports": ports[at]}]})),
        ]);
    }
    all.push(vec![
        policy("z/open", json!({"podSelector": {}, "ingress": [{}]})),
        policy("z/deny", deny),
    ]);
    all.push(Vec::new());
    all
}

#[test]
fn packets_of_every_family_pass_as_the_naive_evaluator_says() {
    let mut town = Town::new();
    for policies in sequence() {
        town.follow(policies);
    }
}
