//! What only packets show: whether they arrive, and as whose.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::node::Place;

/// How long a packet on a virtual wire may take.
fn limit() -> Duration {
    crate::patience(Duration::from_secs(2))
}

/// Whether the very first echo request to an address is answered within a second.
pub fn first_ping(from: &impl Place, to: &str) -> bool {
    from.try_run(&format!("ping -n -c1 -W1 {to}")).status.success()
}

/// Fails unless the very first echo request is answered.
#[track_caller]
pub fn ping(from: &impl Place, to: &str) {
    let done = from.try_run(&format!("ping -n -c1 -W1 {to}"));
    if done.status.success() {
        return;
    }
    let state = from.sh("ip addr; ip route; ip -6 route; ip neigh");
    panic!("the first packet to {to} was lost:\n{}{}\n{state}", done.stdout, done.stderr);
}

/// Fails if an address answers.
#[track_caller]
pub fn no_ping(from: &impl Place, to: &str) {
    assert!(!first_ping(from, to), "{to} answers and should not");
}

/// The source address that a TCP server at `address` in `to` sees when `from` connects.
#[track_caller]
pub fn tcp_source(from: &impl Place, to: &impl Place, address: &str) -> Result<IpAddr, String> {
    tcp_source_by(from, to, address, address)
}

/// As [`tcp_source`], where `from` connects to another address that leads there.
#[track_caller]
pub fn tcp_source_by(
    from: &impl Place,
    to: &impl Place,
    address: &str,
    dialled: &str,
) -> Result<IpAddr, String> {
    let listener = to.ns().enter(|| TcpListener::bind(socket(address, 0))).map_err(text)?;
    let target = socket(dialled, listener.local_addr().map_err(text)?.port());
    listener.set_nonblocking(true).map_err(text)?;
    let mut stream =
        from.ns().enter(|| TcpStream::connect_timeout(&target, limit())).map_err(text)?;
    let (mut served, peer) =
        crate::within(limit(), || listener.accept().ok()).ok_or("nothing to accept")?;
    served.set_nonblocking(false).map_err(text)?;
    // Bytes both ways: an address alone can be seen on half a connection.
    for (one, other) in [(&mut stream, b"ask"), (&mut served, b"say")] {
        one.set_read_timeout(Some(limit())).map_err(text)?;
        one.write_all(other).map_err(text)?;
    }
    let mut word = [0; 3];
    stream.read_exact(&mut word).map_err(text)?;
    served.read_exact(&mut word).map_err(text)?;
    Ok(peer.ip().to_canonical())
}

/// The source address that a UDP receiver at `address` in `to` sees, and that its answer returns.
pub fn udp_source(from: &impl Place, to: &impl Place, address: &str) -> Result<IpAddr, String> {
    let server = to.ns().enter(|| UdpSocket::bind(socket(address, 0))).map_err(text)?;
    let target = server.local_addr().map_err(text)?;
    let any = if target.is_ipv4() { "0.0.0.0" } else { "::" };
    let client = from.ns().enter(|| UdpSocket::bind(socket(any, 0))).map_err(text)?;
    for end in [&server, &client] {
        end.set_read_timeout(Some(limit())).map_err(text)?;
    }
    client.send_to(b"ask", target).map_err(text)?;
    let mut word = [0; 8];
    let (_, seen) = server.recv_from(&mut word).map_err(text)?;
    server.send_to(b"say", seen).map_err(text)?;
    client.recv_from(&mut word).map_err(text)?;
    Ok(seen.ip().to_canonical())
}

/// The source address that a member of an IPv4 group sees.
pub fn multicast_source(
    from: (&impl Place, Ipv4Addr),
    to: (&impl Place, Ipv4Addr),
    group: Ipv4Addr,
) -> Result<IpAddr, String> {
    let member = to.0.ns().enter(|| {
        let socket = UdpSocket::bind(SocketAddr::from((group, 0)))?;
        socket.join_multicast_v4(&group, &to.1)?;
        socket.set_read_timeout(Some(limit())).map(|()| socket)
    });
    let member = member.map_err(text)?;
    let port = member.local_addr().map_err(text)?.port();
    let sender = from.0.ns().enter(|| UdpSocket::bind(SocketAddr::from((from.1, 0))));
    sender.map_err(text)?.send_to(b"all", (group, port)).map_err(text)?;
    let (_, seen) = member.recv_from(&mut [0; 8]).map_err(text)?;
    Ok(seen.ip())
}

/// The source address that a member of an IPv6 group sees.
pub fn multicast_source6(
    from: (&impl Place, u32),
    to: (&impl Place, u32),
    group: Ipv6Addr,
) -> Result<IpAddr, String> {
    let member = to.0.ns().enter(|| {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))?;
        socket.join_multicast_v6(&group, to.1)?;
        socket.set_read_timeout(Some(limit())).map(|()| socket)
    });
    let member = member.map_err(text)?;
    let port = member.local_addr().map_err(text)?.port();
    let sender =
        from.0.ns().enter(|| UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))));
    let target = std::net::SocketAddrV6::new(group, port, 0, from.1);
    sender.map_err(text)?.send_to(b"all", target).map_err(text)?;
    let (_, seen) = member.recv_from(&mut [0; 8]).map_err(text)?;
    Ok(seen.ip())
}

/// Sends `length` bytes over one TCP connection from `from` to a server at `address` in `to`, which
/// has read them all when this returns.
pub fn bulk(
    from: &impl Place,
    to: &impl Place,
    address: &str,
    length: usize,
) -> Result<(), String> {
    bulk_within(from, to, address, length, limit())
}

/// As [`bulk`], where no step takes longer than `limit`.
pub fn bulk_within(
    from: &impl Place,
    to: &impl Place,
    address: &str,
    length: usize,
    limit: Duration,
) -> Result<(), String> {
    let listener = to.ns().enter(|| TcpListener::bind(socket(address, 0))).map_err(text)?;
    let target = listener.local_addr().map_err(text)?;
    let mut client =
        from.ns().enter(|| TcpStream::connect_timeout(&target, limit)).map_err(text)?;
    let (mut served, _) = listener.accept().map_err(text)?;
    for end in [&client, &served] {
        end.set_read_timeout(Some(limit)).map_err(text)?;
        end.set_write_timeout(Some(limit)).map_err(text)?;
    }
    let sender = thread::spawn(move || client.write_all(&vec![7; length]));
    let mut all = Vec::with_capacity(length);
    served.read_to_end(&mut all).map_err(text)?;
    sender.join().map_err(|_| "the sender panicked")?.map_err(text)?;
    if all.len() == length { Ok(()) } else { Err(format!("{} of {length} bytes", all.len())) }
}

/// A flow that keeps running: a TCP echo whose bytes are counted, for what must not break it.
pub struct Flow {
    client: TcpStream,
}

impl Flow {
    /// Opens a connection from `from` to a server at `address` in `to`.
    pub fn open(from: &impl Place, to: &impl Place, address: &str) -> Result<Self, String> {
        let listener = to.ns().enter(|| TcpListener::bind(socket(address, 0))).map_err(text)?;
        let target = listener.local_addr().map_err(text)?;
        thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut buffer = [0; 64];
            while let Ok(count) = stream.read(&mut buffer) {
                if count == 0 || stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        });
        let client =
            from.ns().enter(|| TcpStream::connect_timeout(&target, limit())).map_err(text)?;
        client.set_read_timeout(Some(limit())).map_err(text)?;
        Ok(Self { client })
    }

    /// Sends a word and waits for it to come back.
    pub fn turn(&mut self) -> Result<(), String> {
        self.client.write_all(b"round").map_err(text)?;
        let mut word = [0; 5];
        self.client.read_exact(&mut word).map_err(text)
    }
}

fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an IP address"), port)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn text(error: std::io::Error) -> String {
    error.to_string()
}
