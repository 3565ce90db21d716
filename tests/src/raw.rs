//! Frames as they are on the wire: a sniffer, and a sender of forged ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::node::Place;

/// A MAC address.
pub type Mac = [u8; 6];

/// Listens on one link from the moment of its making.
pub struct Sniffer {
    socket: OwnedFd,
}

impl Sniffer {
    /// Starts to listen on a link.
    pub fn on(place: &impl Place, link: &str) -> Self {
        Self { socket: place.ns().enter(|| packet_socket(link)) }
    }

    /// The first frame that `wanted` takes, waited for at most `limit`.
    pub fn wait(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        let mut frame = [0; 2048];
        while Instant::now() < end {
            let Ok(length) = recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) else {
                continue;
            };
            if wanted(&frame[..length]) {
                return Some(frame[..length].to_vec());
            }
        }
        None
    }
}

/// Sends a frame as it is.
pub fn send(place: &impl Place, link: &str, frame: &[u8]) {
    send_all(place, link, &[frame]);
}

/// Sends frames as they are. (Closing a packet socket takes the kernel 10 ms.)
pub fn send_all(place: &impl Place, link: &str, frames: &[impl AsRef<[u8]> + Sync]) {
    place.ns().enter(|| {
        let socket = packet_socket(link);
        let to = link_address(link);
        for frame in frames {
            sendto(socket.as_raw_fd(), frame.as_ref(), &to, MsgFlags::empty())
                .expect("send a frame");
        }
    });
}

/// An Ethernet frame of the experimental type 0x88b5.
pub fn frame(to: Mac, from: Mac, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [to.as_slice(), from.as_slice(), &[0x88, 0xb5], payload].concat();
    bytes.resize(bytes.len().max(60), 0);
    bytes
}

/// Whether a frame is an ARP that announces `address` as its own sender and target.
pub fn is_gratuitous_arp(frame: &[u8], address: Ipv4Addr) -> bool {
    let arp = frame.len() >= 42 && frame[12..14] == [0x08, 0x06];
    arp && frame[..6] == [0xff; 6]
        && frame[28..32] == address.octets()
        && frame[38..42] == address.octets()
}

/// Whether a frame is an unsolicited neighbour advertisement for `address`.
pub fn is_unsolicited_na(frame: &[u8], address: Ipv6Addr) -> bool {
    let na =
        frame.len() >= 78 && frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 136;
    let to_all = na && frame[38..54] == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();
    // Not solicited, override set: neighbours replace what they knew.
    to_all && frame[58] & 0x40 == 0 && frame[58] & 0x20 != 0 && frame[62..78] == address.octets()
}

/// Whether a frame announces an address of either family.
pub fn announces(frame: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => is_gratuitous_arp(frame, four),
        IpAddr::V6(six) => is_unsolicited_na(frame, six),
    }
}

/// A MAC from its usual notation.
pub fn mac(text: &str) -> Mac {
    let mut bytes = text.split(':').map(|part| u8::from_str_radix(part, 16).expect("a MAC"));
    std::array::from_fn(|_| bytes.next().expect("six bytes of a MAC"))
}

fn packet_socket(link: &str) -> OwnedFd {
    let made = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        Some(SockProtocol::EthAll),
    );
    let made = made.expect("open a packet socket");
    bind(made.as_raw_fd(), &link_address(link)).expect("bind a packet socket");
    let slice = TimeVal::milliseconds(50);
    setsockopt(&made, sockopt::ReceiveTimeout, &slice).expect("set a time limit");
    made
}

fn link_address(link: &str) -> LinkAddr {
    let all = getifaddrs().expect("list the links");
    let mut named = all.filter(|entry| entry.interface_name == link);
    let found = named.find_map(|entry| entry.address?.as_link_addr().copied());
    found.unwrap_or_else(|| panic!("no link {link}"))
}
