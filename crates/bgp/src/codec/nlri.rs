//! Prefixes: a length in bits, and as many bytes as that needs (RFC 4271 section 4.3).

use super::Family;
use super::reader::Reader;
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Prefixes without host bits. An error names what cannot be read.
pub(super) fn decode(family: Family, bytes: &[u8]) -> Result<Vec<IpNetwork>, String> {
    let mut reader = Reader(bytes);
    let mut prefixes = vec![];
    while let Some(length) = reader.u8() {
        if length > family.bits() {
            return Err(format!("an {family} prefix of length {length}"));
        }
        let Some(bytes) = reader.take(usize::from(length.div_ceil(8))) else {
            return Err(format!("an {family} prefix of length {length} that is cut off"));
        };
        prefixes.extend(prefix(family, bytes, length));
    }
    Ok(prefixes)
}

/// `None` cannot be: the length was looked at.
fn prefix(family: Family, bytes: &[u8], length: u8) -> Option<IpNetwork> {
    let network = match family {
        Family::Ipv4 => {
            IpNetwork::V4(Ipv4Network::new(Ipv4Addr::from(padded::<4>(bytes)), length).ok()?)
        }
        Family::Ipv6 => {
            IpNetwork::V6(Ipv6Network::new(Ipv6Addr::from(padded::<16>(bytes)), length).ok()?)
        }
    };
    Some(canonical(&network))
}

fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut octets = [0; N];
    octets.iter_mut().zip(bytes).for_each(|(octet, byte)| *octet = *byte);
    octets
}

/// The prefix without host bits, which `ipnetwork` keeps.
pub(crate) fn canonical(prefix: &IpNetwork) -> IpNetwork {
    IpNetwork::new(prefix.network(), prefix.prefix()).unwrap_or(*prefix)
}

pub(super) fn encode(prefix: &IpNetwork, into: &mut Vec<u8>) {
    let length = prefix.prefix();
    into.push(length);
    let bytes = usize::from(length.div_ceil(8));
    match prefix {
        IpNetwork::V4(v4) => into.extend(v4.network().octets().iter().take(bytes)),
        IpNetwork::V6(v6) => into.extend(v6.network().octets().iter().take(bytes)),
    }
}
