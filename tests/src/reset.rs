//! A TCP reset that belongs to no connection: conntrack calls it invalid, and NAT does not see it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

use crate::node::Place;
use crate::raw::Sniffer;

/// The ports of the reset: no connection uses them.
const PORTS: [u16; 2] = [8443, 45020];
/// The UDP port of the datagram that is sent after it.
const LAST: u16 = 9;
/// How long packets may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Sends a reset from `source`, an address of `from`, to `address`. Whether it arrives at the link
/// of `to` with that source, before a datagram that is sent after it.
#[track_caller]
pub fn arrives(
    from: &impl Place,
    source: &str,
    (to, link): (&impl Place, &str),
    address: &str,
) -> bool {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let (source, address) = (ip(source), ip(address));
    let sniffer = Sniffer::on(to, link);
    from.ns().enter(|| {
        send(source, address);
        let last = UdpSocket::bind(SocketAddr::new(source, 0)).expect("bind");
        last.send_to(b"last", SocketAddr::new(address, LAST)).expect("send the last datagram");
    });
    let seen = sniffer.wait(LIMIT, |frame| is_reset(frame, source) || is_last(frame));
    is_reset(&seen.expect("the datagram after the reset arrives"), source)
}

fn send(source: IpAddr, address: IpAddr) {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let made = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp);
    let made = made.expect("open a raw socket");
    let segment = segment(source, address);
    let to = SockaddrStorage::from(SocketAddr::new(address, 0));
    sendto(made.as_raw_fd(), &segment, &to, MsgFlags::empty()).expect("send a reset");
}

/// A TCP header with the flag RST.
fn segment(source: IpAddr, address: IpAddr) -> Vec<u8> {
    let [from, to] = PORTS.map(u16::to_be_bytes);
    let mut segment =
        [&from[..], &to, &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 4, 0, 0, 0, 0, 0, 0]].concat();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    };
    // The pseudo-header: addresses, protocol, length.
    let summed = [&octets(source)[..], &octets(address), &[0, 6, 0, 20], &segment].concat();
    let sum: u32 = summed.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("16 bits");
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// The protocol, the source and what follows the IP header.
fn packet(frame: &[u8]) -> Option<(u8, IpAddr, &[u8])> {
    match frame.get(12..14)? {
        [8, 0] => {
            let source = <[u8; 4]>::try_from(frame.get(26..30)?).ok()?;
            Some((*frame.get(23)?, source.into(), frame.get(34..)?))
        }
        [0x86, 0xdd] => {
            let source = <[u8; 16]>::try_from(frame.get(22..38)?).ok()?;
            Some((*frame.get(20)?, source.into(), frame.get(54..)?))
        }
        _ => None,
    }
}

fn is_reset(frame: &[u8], source: IpAddr) -> bool {
    let ports = PORTS.map(u16::to_be_bytes).concat();
    packet(frame).is_some_and(|(protocol, from, segment)| {
        protocol == 6 && from == source && segment.starts_with(&ports)
    })
}

fn is_last(frame: &[u8]) -> bool {
    packet(frame).is_some_and(|(protocol, _, datagram)| {
        protocol == 17 && datagram.get(2..4) == Some(&LAST.to_be_bytes()[..])
    })
}
