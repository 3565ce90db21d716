//! ICMP echo, one question for each socket.

use crate::tcp::set_option;
use crate::{Error, Result};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv, sendto,
    socket,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Types of messages: RFC 792 and RFC 4443 section 4.
const REQUEST: [u8; 2] = [8, 128];
const REPLY: [u8; 2] = [0, 129];
/// include/uapi/linux/icmp.h, include/uapi/linux/icmpv6.h
const ICMP_FILTER: i32 = 1;
const ICMPV6_FILTER: i32 = 1;
const SOL_RAW: i32 = 255;
/// Type, code, checksum, identifier, sequence number.
const HEAD: usize = 8;
/// Before the token: whose question it is.
const MARK: &[u8; 8] = b"ferrule\0";

/// An echo request and its reply.
#[derive(Debug)]
pub struct Echo {
    socket: OwnedFd,
    is_raw: bool,
    v4: bool,
    token: [u8; 8],
}

impl AsRawFd for Echo {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Echo {
    /// Opens a socket for one of a family; `token`: what tells its reply from others. It is a
    /// datagram socket where `net.ipv4.ping_group_range` holds a group of this process, else a raw
    /// one, which wants CAP_NET_RAW.
    ///
    /// # Errors
    /// EACCES: neither can be had.
    pub fn open(v4: bool, token: u64) -> Result<Echo> {
        let refused = |errno| Error::of("open an ICMP socket", permission(errno) as i32, "");
        let (socket, is_raw) = open(v4).map_err(refused)?;
        let echo = Echo { socket, is_raw, v4, token: token.to_be_bytes() };
        if is_raw {
            let filtered = echo.take_replies_alone();
            filtered.map_err(|error| Error::io("filter ICMP messages", &error))?;
        }
        Ok(echo)
    }

    /// Sends the echo request.
    ///
    /// # Errors
    /// EADDRNOTAVAIL: no link here holds `from`. EACCES: a route or a firewall here refuses.
    pub fn send(&self, from: IpAddr, to: IpAddr) -> Result<()> {
        let descriptor = self.as_raw_fd();
        let [source, destination] =
            [from, to].map(|address| SockaddrStorage::from(SocketAddr::new(address, 0)));
        let sent = bind(descriptor, &source).and_then(|()| {
            sendto(descriptor, &self.request(), &destination, MsgFlags::MSG_DONTWAIT).map(drop)
        });
        let what = || format!("send an echo request from {from} to {to}");
        sent.map_err(|errno| Error::of(what(), permission(errno) as i32, ""))
    }

    /// A raw socket gets every ICMP message of the node.
    fn take_replies_alone(&self) -> io::Result<()> {
        if self.v4 {
            return set_option(&self.socket, SOL_RAW, ICMP_FILTER, &(!1_u32).to_ne_bytes());
        }
        let [_, reply] = REPLY.map(usize::from);
        let mut blocked = [u32::MAX; 8];
        if let Some(word) = blocked.get_mut(reply / 32) {
            *word &= !(1 << (reply % 32));
        }
        let bytes: Vec<u8> = blocked.iter().flat_map(|word| word.to_ne_bytes()).collect();
        set_option(&self.socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &bytes)
    }

    /// The message; the kernel puts the identifier of a datagram socket, and all checksums but that
    /// of a raw one of IPv4.
    fn request(&self) -> Vec<u8> {
        let [a, b, c, d, ..] = self.token;
        let kind = if self.v4 { REQUEST[0] } else { REQUEST[1] };
        let head = [kind, 0, 0, 0, a, b, c, d];
        let mut message = [&head[..], MARK, &self.token].concat();
        let sum = checksum(&message).to_be_bytes();
        message.splice(2..4, sum);
        message
    }

    /// Whether the reply came. It is known by its token: of what is sent to an anycast address,
    /// that of a subnet's routers for one, the reply comes from another (RFC 4291 section 2.6).
    pub fn is_answered(&self) -> bool {
        let mut buffer = [0; 256];
        loop {
            match recv(self.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) if self.is_reply(buffer.get(..length).unwrap_or_default()) => {
                    return true;
                }
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn is_reply(&self, packet: &[u8]) -> bool {
        // A raw socket of IPv4 shows the IP header too (RFC 791 section 3.1).
        let words = packet.first().map_or(0, |first| usize::from(first & 15));
        let message = packet.get(if self.is_raw && self.v4 { words * 4 } else { 0 }..);
        let Some((head, rest)) = message.and_then(|message| message.split_at_checked(HEAD)) else {
            return false;
        };
        let kind = if self.v4 { REPLY[0] } else { REPLY[1] };
        head.first() == Some(&kind) && rest == [&MARK[..], &self.token].concat()
    }
}

/// A socket, and whether it is a raw one.
fn open(v4: bool) -> nix::Result<(OwnedFd, bool)> {
    let (family, protocol) = match v4 {
        true => (AddressFamily::Inet, SockProtocol::Icmp),
        false => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    match socket(family, SockType::Datagram, flags, protocol) {
        Err(nix::Error::EACCES | nix::Error::EPERM) => {
            socket(family, SockType::Raw, flags, protocol).map(|raw| (raw, true))
        }
        opened => opened.map(|datagram| (datagram, false)),
    }
}

/// EPERM, of a firewall too, asks for other capabilities here than in netlink, or for none.
fn permission(errno: nix::Error) -> nix::Error {
    if errno == nix::Error::EPERM { nix::Error::EACCES } else { errno }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sched::{CloneFlags, unshare};
    use std::os::fd::AsFd;

    fn answered(from: &str, to: &str) -> bool {
        let to: IpAddr = to.parse().unwrap();
        let echo = Echo::open(to.is_ipv4(), 0x0102_0304_0506_0708).unwrap();
        echo.send(from.parse().unwrap(), to).unwrap();
        loop {
            let mut polled = [PollFd::new(echo.socket.as_fd(), PollFlags::POLLIN)];
            if poll(&mut polled, PollTimeout::from(2000_u16)).unwrap() == 0 {
                return false;
            }
            if echo.is_answered() {
                return true;
            }
        }
    }

    /// By raw sockets, and where the group is allowed by datagram sockets, of both families.
    #[test]
    fn an_echo_is_answered_on_sockets_of_both_kinds() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        crate::Socket::open().unwrap().set(&crate::link::set_up(1, "lo")).unwrap();
        for range in ["1\t0", "0\t0"] {
            crate::sysctl::write("net/ipv4/ping_group_range", range).unwrap();
            assert!(answered("127.0.0.1", "127.0.0.2"), "{range}");
            assert!(answered("::1", "::1"), "{range}");
        }
        let echo = Echo::open(true, 1).unwrap();
        let gone = echo.send("192.0.2.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
        assert_eq!(gone.unwrap_err().errno, libc::EADDRNOTAVAIL);
    }

    /// The example of RFC 1071 section 3.
    #[test]
    fn the_checksum_is_the_internets() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }
}
