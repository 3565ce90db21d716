//! The plugin portmap: what arrives where, as whose, and what is refused, claimed and left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod beside_reference;
mod check;
mod claims;
mod flows;
mod keys;
mod networks;
mod own_port;
mod packets;
mod removal;
mod vxlan;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Node, Pod, Snapshot, within};
use serde_json::{Value, json};

/// How long a packet on a virtual wire may take.
const LIMIT: Duration = Duration::from_secs(2);

/// A configuration of portmap with these mappings.
pub fn portmap(mappings: &Value) -> Value {
    json!({"cniVersion": conf::version(), "name": "pods", "type": "portmap",
        "capabilities": {"portMappings": true}, "runtimeConfig": {"portMappings": mappings}})
}

/// A mapping on every address of the node.
pub fn port(host: u16, pod: u16, protocol: &str) -> Value {
    json!({"hostPort": host, "containerPort": pod, "protocol": protocol})
}

/// A mapping on one address.
pub fn port_on(address: &str, host: u16, pod: u16, protocol: &str) -> Value {
    with(&port(host, pod, protocol), &json!({"hostIP": address}))
}

/// A pod behind a main plugin and portmap.
pub struct Mapped<'a> {
    /// The node.
    pub node: &'a Node,
    /// The main plugin's calls.
    pub main: Attachment<'a>,
    /// Those of portmap.
    pub ports: Attachment<'a>,
    /// The main plugin's result.
    pub result: Value,
}

impl<'a> Mapped<'a> {
    /// Adds a pod of the network `main`, and not yet its ports.
    #[track_caller]
    pub fn without_ports(node: &'a Node, pod: &Pod, main: &Value, ports: &Value) -> Self {
        let main = node.attach(main, pod);
        let result = main.add();
        Self { node, main, ports: node.attach(ports, pod), result }
    }

    /// Adds a pod of the network `main`, and its ports.
    #[track_caller]
    pub fn add(node: &'a Node, pod: &Pod, main: &Value, ports: &Value) -> Self {
        let mapped = Self::without_ports(node, pod, main, ports);
        assert_eq!(mapped.add_ports(), mapped.result, "the result is passed on");
        mapped
    }

    /// ADD of portmap, which must succeed.
    #[track_caller]
    pub fn add_ports(&self) -> Value {
        self.try_ports("ADD").ok()
    }

    /// A command of portmap, however it ends.
    pub fn try_ports(&self, command: &str) -> ferrule_tests::Outcome {
        self.ports.call(command, Some(&self.result)).run(self.node)
    }

    /// The pod's address of a family.
    pub fn address(&self, v4: bool) -> String {
        let all = ferrule_tests::invoke::addresses(&self.result);
        all.into_iter().find(|a| a.contains('.') == v4).expect("an address of the family")
    }
}

/// The source address that a TCP server at a port of `server` sees when `from` dials `to`.
pub fn tcp(from: &impl Place, to: &str, server: &impl Place, port: u16) -> Result<IpAddr, String> {
    // A process that another test starts holds the last listener until its exec.
    let bind = || server.ns().enter(|| TcpListener::bind(("::", port))).ok();
    let listener = within(LIMIT, bind).ok_or("the port is taken")?;
    listener.set_nonblocking(true).map_err(text)?;
    let to: SocketAddr = to.parse().expect("an address with a port");
    let mut client = from.ns().enter(|| TcpStream::connect_timeout(&to, LIMIT)).map_err(text)?;
    let (mut served, peer) =
        within(LIMIT, || listener.accept().ok()).ok_or("another answers, not the pod")?;
    served.set_nonblocking(false).map_err(text)?;
    let mut word = [0; 3];
    for (one, other) in [(&mut client, b"ask"), (&mut served, b"say")] {
        one.set_read_timeout(Some(LIMIT)).map_err(text)?;
        one.write_all(other).map_err(text)?;
    }
    client.read_exact(&mut word).map_err(text)?;
    served.read_exact(&mut word).map_err(text)?;
    Ok(peer.ip().to_canonical())
}

/// The same of UDP. The answer must come from where the question went.
pub fn udp(from: &impl Place, to: &str, server: &impl Place, port: u16) -> Result<IpAddr, String> {
    let server = server.ns().enter(|| UdpSocket::bind(("::", port))).map_err(text)?;
    let to: SocketAddr = to.parse().expect("an address with a port");
    let client = from.ns().enter(|| {
        let client = UdpSocket::bind((if to.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
        client.connect(to).map(|()| client)
    });
    let client = client.map_err(text)?;
    ask(&client, &server)
}

/// One question of a connected client and its answer: the address that the server saw.
pub fn ask(client: &UdpSocket, server: &UdpSocket) -> Result<IpAddr, String> {
    for end in [client, server] {
        end.set_read_timeout(Some(LIMIT)).map_err(text)?;
    }
    let mut word = [0; 8];
    client.send(b"ask").map_err(text)?;
    let (_, seen) = server.recv_from(&mut word).map_err(text)?;
    server.send_to(b"say", seen).map_err(text)?;
    client.recv(&mut word).map_err(text)?;
    Ok(seen.ip().to_canonical())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn text(error: std::io::Error) -> String {
    error.to_string()
}

/// `address:port`, or `[address]:port`.
pub fn at(address: &str, port: u16) -> String {
    SocketAddr::new(ip(address), port).to_string()
}

/// The address of a text.
pub fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

/// Fails unless the connection is refused at once.
#[track_caller]
pub fn refused(from: &impl Place, to: &str) {
    let to: SocketAddr = to.parse().expect("an address with a port");
    let dialled = from.ns().enter(|| TcpStream::connect_timeout(&to, LIMIT));
    let error = dialled.expect_err("a connection").kind();
    assert_eq!(error, std::io::ErrorKind::ConnectionRefused, "{to}");
}

/// Fails if a connection comes about.
#[track_caller]
pub fn unreachable(from: &impl Place, to: &str) {
    let to: SocketAddr = to.parse().expect("an address with a port");
    let short = Duration::from_millis(700);
    let dialled = from.ns().enter(|| TcpStream::connect_timeout(&to, short));
    assert!(dialled.is_err(), "{to} answers");
}

/// Frames on bridges pass iptables and nftables' inet tables, or do not.
pub fn bridge_netfilter(node: &Node, on: bool) {
    for family in ["iptables", "ip6tables"] {
        let value = if on { "1" } else { "0" };
        node.set_sysctl(&format!("net/bridge/bridge-nf-call-{family}"), value);
    }
}

/// The node's state, without what the first pod leaves for the next.
pub fn state(node: &Node) -> Snapshot {
    Snapshot::of(node)
        .without_first_use(conf::BRIDGE)
        .without_files(&["/run/ferrule/attachments/bridge-"])
}

/// What nftables holds of host ports.
pub fn rules(node: &Node) -> String {
    let listed = node.run("nft -s list ruleset");
    let ours = |line: &&str| line.contains("hostport") || line.contains("ferrule.portmap ");
    listed.lines().filter(ours).collect::<Vec<_>>().join("\n")
}
