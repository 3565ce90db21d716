//! Gratuitous ARP and unsolicited neighbour advertisements: they end what neighbours' caches
//! still say of an address's previous owner.

use crate::error::{Error, Result};
use crate::mac::Mac;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;

/// Sends, from a link of the thread's network namespace, the frames that tell that `addresses`
/// are at `mac` now. (Setting arp_notify alone sent none when it was tried.)
///
/// # Errors
/// No packet socket (CAP_NET_RAW), or the link is down.
pub fn announce(link: u32, mac: Mac, addresses: &[IpAddr]) -> Result<()> {
    let socket = packet_socket().map_err(|error| Error::io("open a packet socket", &error))?;
    for address in addresses {
        let (protocol, frame) = match address {
            IpAddr::V4(address) => (ETH_P_ARP, gratuitous_arp(mac, *address)),
            IpAddr::V6(address) => (ETH_P_IPV6, neighbour_advertisement(mac, *address)),
        };
        send(&socket, link, protocol, &frame)
            .map_err(|error| Error::io(format!("announce {address} at {mac}"), &error))?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "std has no packet sockets")]
fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointers. Protocol 0: nothing is received.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(unsafe_code, reason = "nix makes no sockaddr_ll")]
fn send(socket: &OwnedFd, link: u32, protocol: u16, frame: &[u8]) -> io::Result<()> {
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let index = i32::try_from(link).map_err(io::Error::other)?;
    let to = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = u32::try_from(size_of_val(&to)).map_err(io::Error::other)?;
    // SAFETY: frame and address are valid for their lengths, and sendto(2) keeps neither.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn ethernet(to: [u8; 6], from: Mac, protocol: u16) -> Vec<u8> {
    [&to[..], &from.0, &protocol.to_be_bytes()].concat()
}

/// An ARP announcement (RFC 5227 section 3): a request whose sender and target are the same.
fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], mac, ETH_P_ARP);
    // Ethernet, IPv4, lengths 6 and 4, request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement (RFC 4861 section 7.2.6) to all nodes, overriding.
fn neighbour_advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Type 136, code 0, checksum, flag O, then the target and its link-layer address (option 2).
    let mut icmp = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    icmp.extend(address.octets());
    icmp.extend([2, 1]);
    icmp.extend(mac.0);
    let sum = checksum(address, all_nodes, &icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, ETH_P_IPV6);
    // Version 6, the length of what follows, ICMPv6 (58), hop limit 255.
    frame.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(address.octets());
    frame.extend(all_nodes.octets());
    frame.extend(icmp);
    frame
}

/// The checksum of an ICMPv6 message with its pseudo-header (RFC 4443 section 2.3).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum()
    };
    let mut sum = words(&from.octets()) + words(&to.octets()) + words(icmp) + 58;
    sum += u32::try_from(icmp.len()).unwrap_or_default();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn the_arp_frame_is_whole() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[28..32], [10, 1, 2, 3]);
        assert_eq!(frame[38..42], [10, 1, 2, 3]);
    }

    #[test]
    fn the_advertisement_sums_to_zero() {
        let address = "fd00::5".parse().unwrap();
        let frame = neighbour_advertisement(MAC, address);
        assert_eq!(frame.len(), 14 + 40 + 32);
        // A receiver's sum over the message with its checksum is zero.
        let all_nodes = "ff02::1".parse().unwrap();
        assert_eq!(checksum(address, all_nodes, &frame[54..]), 0);
    }
}
