//! What a host port is, and its text in records.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// Each of them.
    pub const ALL: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Sctp];

    /// Its number in IP headers.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.number() == number)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transport {
    type Err = String;

    /// In any case of letters.
    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|t| t.name().eq_ignore_ascii_case(text));
        named.ok_or_else(|| format!("{text:?} is not tcp, udp or sctp"))
    }
}

/// A port of the node. Its text is `tcp 192.0.2.1:8080`, or `tcp [::]:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// The protocol.
    pub transport: Transport,
    /// The node's address, or the unspecified one for every address of its family; and the port.
    pub at: SocketAddr,
}

impl HostPort {
    /// The element's key: protocol, address unless it is any, port; each padded to four bytes.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = vec![self.transport.number(), 0, 0, 0];
        if !self.at.ip().is_unspecified() {
            key.extend(octets(self.at.ip()));
        }
        key.extend(port_key(self.at.port()));
        key
    }

    /// The port that a key of one of the maps of a family stands for.
    pub(super) fn of_key(key: &[u8], v4: bool) -> Option<Self> {
        let ([number, 0, 0, 0], rest) = key.split_first_chunk::<4>()? else { return None };
        let (address, port) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
        let any = if v4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let address = match address.len() {
            0 => any,
            4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        };
        let port = u16::from_be_bytes([*port.first()?, *port.get(1)?]);
        Some(Self { transport: Transport::of_number(*number)?, at: SocketAddr::new(address, port) })
    }

    /// Whether it is on every address of the node.
    #[must_use]
    pub fn is_on_all(&self) -> bool {
        self.at.ip().is_unspecified()
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn port_key(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport, self.at)
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, at) = text.split_once(' ').ok_or_else(|| format!("{text:?}"))?;
        let at = at.parse().map_err(|_| format!("{at:?} is no address with a port"))?;
        Ok(Self { transport: transport.parse()?, at })
    }
}

/// A host port and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// The node's port.
    pub port: HostPort,
    /// The pod's address, of the same family, and its port.
    pub to: SocketAddr,
}

/// An address that host ports lead to. Its text is `10.1.0.5 cni0`, or the address alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedPod {
    /// The pod's address.
    pub address: IpAddr,
    /// The node's link to it: the bridge, or the host end of its veth pair. `None`: no link leads
    /// there.
    pub link: Option<String>,
}

impl fmt::Display for MappedPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        self.link.as_ref().map_or(Ok(()), |link| write!(f, " {link}"))
    }
}

impl FromStr for MappedPod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, link) = match text.split_once(' ') {
            Some((address, link)) => (address, Some(link.to_owned())),
            None => (text, None),
        };
        let address = address.parse().map_err(|_| format!("{address:?} is no address"))?;
        Ok(Self { address, link })
    }
}

/// Whose source address the node translates to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// No source.
    Kept,
    /// The node's own of 127.0.0.0/8, the pod's, and those of its neighbours: where the answer would
    /// not come back otherwise.
    Near,
    /// Every source.
    All,
}

impl Sources {
    const ALL_KINDS: [(Sources, &'static str); 3] =
        [(Sources::Kept, "kept"), (Sources::Near, "near"), (Sources::All, "all")];
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::ALL_KINDS.iter().find(|(kind, _)| kind == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL_KINDS.iter().find(|(_, name)| *name == text);
        named.map(|(kind, _)| *kind).ok_or_else(|| format!("{text:?} is not kept, near or all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_again() {
        for text in ["tcp 0.0.0.0:8080", "udp [::]:53", "sctp [fd00::1]:9", "tcp 192.0.2.1:65535"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in ["", "tcp", "tcp 8080", "icmp 0.0.0.0:1", "tcp 0.0.0.0:65536"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
        for text in ["10.1.0.5", "fd00::5 cni0.7"] {
            assert_eq!(text.parse::<MappedPod>().unwrap().to_string(), text);
        }
        assert!("cni0".parse::<MappedPod>().is_err());
        assert_eq!("UdP".parse(), Ok(Transport::Udp));
    }

    #[test]
    fn keys_are_read_again() {
        for text in ["tcp 0.0.0.0:8080", "udp [::]:53", "sctp [fd00::1]:9", "tcp 192.0.2.1:65535"] {
            let port: HostPort = text.parse().unwrap();
            assert_eq!(HostPort::of_key(&port.key(), port.at.is_ipv4()), Some(port));
        }
        assert_eq!(HostPort::of_key(&[1, 0, 0, 0, 0, 80, 0, 0], true), None, "icmp");
        assert_eq!(HostPort::of_key(&[6, 0, 0], true), None);
    }
}
