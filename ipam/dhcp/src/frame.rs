//! Ethernet frames with UDP over IPv4 from a client's port to a server's, and back.

use net::Mac;
use std::net::Ipv4Addr;

/// The client's port.
pub const CLIENT: u16 = 68;
/// The server's port.
pub const SERVER: u16 = 67;
/// To every station of the link.
pub const EVERYONE: Mac = Mac([0xff; 6]);

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
const UDP_NUMBER: u8 = 17;

/// Who sends, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The client's MAC address.
    pub from: Mac,
    /// The server's or its router's MAC address, or [`EVERYONE`].
    pub to: Mac,
    /// The client's address, or 0.0.0.0 as long as it has none.
    pub source: Ipv4Addr,
    /// The server's address, or 255.255.255.255.
    pub destination: Ipv4Addr,
}

/// A frame with a datagram's payload.
pub fn build(path: &Path, payload: &[u8]) -> Vec<u8> {
    let length = (UDP + payload.len()) as u16;
    let total = IPV4 as u16 + length;
    let mut ip = vec![0x45, 0x10];
    ip.extend(total.to_be_bytes());
    // No identification; not to be fragmented; 64 hops.
    ip.extend([0, 0, 0x40, 0, 64, UDP_NUMBER, 0, 0]);
    ip.extend(path.source.octets());
    ip.extend(path.destination.octets());
    let sum = checksum(&[&ip]);
    set(&mut ip, 10, sum);
    let mut udp = [CLIENT.to_be_bytes(), SERVER.to_be_bytes(), length.to_be_bytes()].concat();
    udp.extend([0, 0]);
    let pseudo = [&[0, UDP_NUMBER], length.to_be_bytes().as_slice()].concat();
    let sum = checksum(&[ip.get(12..).unwrap_or_default(), &pseudo, &udp, payload]);
    // 0 would mean that there is none.
    set(&mut udp, 6, if sum == 0 { 0xffff } else { sum });
    [&path.to.0, &path.from.0, IPV4_TYPE.as_slice(), &ip, &udp, payload].concat()
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// RFC 1071, over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |pair: &[u8]| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    };
    let mut sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The MAC address that a frame comes from, and the payload of its datagram to the client's port. The
/// checksum is not looked at: a server of this machine leaves it to hardware that is not there.
pub fn read(frame: &[u8]) -> Option<(Mac, &[u8])> {
    let from = Mac(*frame.get(6..)?.first_chunk()?);
    let ip = frame.get(ETHERNET..).filter(|_| frame.get(12..14) == Some(&IPV4_TYPE))?;
    let header = usize::from(ip.first().filter(|first| *first >> 4 == 4)? & 0xf) * 4;
    if header < IPV4 || ip.get(9) != Some(&UDP_NUMBER) {
        return None;
    }
    let udp = ip.get(header..)?;
    let number = |at: usize| Some(u16::from_be_bytes(*udp.get(at..)?.first_chunk()?));
    let payload = udp.get(UDP..usize::from(number(4)?))?;
    (number(2)? == CLIENT).then_some((from, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATH: Path = Path {
        from: Mac([2, 0, 0, 0, 0, 1]),
        to: EVERYONE,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::BROADCAST,
    };

    /// The sum over header and checksum is zero where it is right.
    #[test]
    fn checksums_are_right() {
        for payload in [&b"odd"[..], b"even", b""] {
            let frame = build(&PATH, payload);
            let ip = &frame[ETHERNET..ETHERNET + IPV4];
            assert_eq!(checksum(&[ip]), 0);
            let udp = &frame[ETHERNET + IPV4..];
            let length = (udp.len() as u16).to_be_bytes();
            assert_eq!(checksum(&[&ip[12..], &[0, UDP_NUMBER], &length, udp]), 0);
        }
    }

    #[test]
    fn an_answer_is_read_whatever_pads_it() {
        let mut frame = build(&PATH, b"payload");
        assert_eq!(read(&frame), None, "it is to the server");
        frame[36..38].copy_from_slice(&CLIENT.to_be_bytes());
        frame.extend([0; 18]);
        assert_eq!(read(&frame), Some((PATH.from, &b"payload"[..])));
        frame[14] = 0x44;
        assert_eq!(read(&frame), None, "a header of 16 bytes");
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&frame);
        }
    }
}
