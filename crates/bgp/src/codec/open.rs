//! OPEN and its capabilities (RFC 4271 section 4.2, RFC 5492).

use super::reader::Reader;
use super::{Family, Malformed, code};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const VERSION: u8 = 4;
/// Stands in 2 bytes for an AS number that needs 4 (RFC 6793).
pub(super) const AS_TRANS: u16 = 23456;

const PARAMETER_CAPABILITIES: u8 = 2;
const PARAMETER_EXTENDED: u8 = 255;

pub(super) const MULTIPROTOCOL: u8 = 1;
pub(super) const REFRESH: u8 = 2;
pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
pub(super) const RESTART: u8 = 64;
pub(super) const FOUR_OCTET_ASN: u8 = 65;

/// An OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number: the capability's, or else the 2-byte field's.
    pub asn: u32,
    /// In seconds; 0 is "no keepalives".
    pub hold_time: u16,
    /// The BGP Identifier.
    pub router_id: Ipv4Addr,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

/// Capabilities that we know; others are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 4760. A sender that names none means IPv4: see [`Capabilities::families`].
    pub multiprotocol: BTreeSet<Family>,
    /// It names families, but none of ours.
    pub other_families: bool,
    /// RFC 8950, IPv4 unicast over IPv6.
    pub extended_next_hop: bool,
    /// RFC 2918.
    pub route_refresh: bool,
    /// RFC 6793.
    pub four_octet_asn: bool,
    /// RFC 4724.
    pub graceful_restart: Option<GracefulRestart>,
}

/// RFC 4724 section 3. We offer it without families: we keep nothing over our own restart, and the
/// peer sends us its End-of-RIB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The sender has just restarted.
    pub restarting: bool,
    /// Seconds that its restart takes at most; 12 bits.
    pub time: u16,
    /// Families that survive a restart, and whether they did just now.
    pub families: Vec<(Family, bool)>,
}

impl Capabilities {
    /// Families that the sender can carry: IPv4 if it names none at all (RFC 4760 section 8).
    pub fn families(&self) -> BTreeSet<Family> {
        if self.multiprotocol.is_empty() && !self.other_families {
            BTreeSet::from([Family::Ipv4])
        } else {
            self.multiprotocol.clone()
        }
    }
}

/// Subcode 0, "unspecific", is what RFC 4271 section 6.2 has for broken parameters.
fn broken(why: &str) -> Malformed {
    Malformed::new(code::OPEN, 0, &[], format!("the peer's OPEN is broken: {why}"))
}

impl Open {
    pub(super) fn decode(body: &[u8]) -> Result<Open, Malformed> {
        let mut reader = Reader(body);
        let mut fixed = || {
            let version = reader.u8()?;
            Some((version, reader.u16()?, reader.u16()?, reader.u32()?, reader.u8()?))
        };
        let Some((version, asn, hold_time, router_id, length)) = fixed() else {
            return Err(broken("it is cut off"));
        };
        if version != VERSION {
            let why = format!("the peer speaks BGP version {version}, and only 4 is spoken here");
            return Err(Malformed::new(code::OPEN, 1, &[0, VERSION], why));
        }
        let capabilities = parameters(length, reader.0)?;
        Ok(Open {
            asn: capabilities.1.unwrap_or(u32::from(asn)),
            hold_time,
            router_id: Ipv4Addr::from(router_id),
            capabilities: capabilities.0,
        })
    }
}

/// Capabilities, and the AS number among them. Parameters may have 2-byte lengths (RFC 9072).
fn parameters(length: u8, bytes: &[u8]) -> Result<(Capabilities, Option<u32>), Malformed> {
    let mut reader = Reader(bytes);
    let extended = length != 0 && bytes.first() == Some(&PARAMETER_EXTENDED);
    let length = if extended {
        reader
            .u8()
            .and_then(|_| reader.u16())
            .ok_or_else(|| broken("its parameters are cut off"))?
    } else {
        u16::from(length)
    };
    if reader.0.len() != usize::from(length) {
        return Err(broken("the length of its parameters is wrong"));
    }
    let (mut found, mut asn) = (Capabilities::default(), None);
    while let Some(kind) = reader.u8() {
        let length = if extended { reader.u16() } else { reader.u8().map(u16::from) };
        let value = length.and_then(|length| reader.take(usize::from(length)));
        let value = value.ok_or_else(|| broken("a parameter is cut off"))?;
        if kind != PARAMETER_CAPABILITIES {
            let why = format!("the peer's OPEN has the unknown parameter {kind}");
            return Err(Malformed::new(code::OPEN, 4, &[], why));
        }
        let mut list = Reader(value);
        while let Some(kind) = list.u8() {
            let value = list.u8().and_then(|length| list.take(usize::from(length)));
            let value = value.ok_or_else(|| broken("a capability is cut off"))?;
            let known = found.learn(kind, value, &mut asn);
            known.ok_or_else(|| broken(&format!("capability {kind} has {} bytes", value.len())))?;
        }
    }
    Ok((found, asn))
}

impl Capabilities {
    /// `None` when the value of a known capability has the wrong length.
    fn learn(&mut self, kind: u8, value: &[u8], asn: &mut Option<u32>) -> Option<()> {
        let mut reader = Reader(value);
        match kind {
            MULTIPROTOCOL => {
                let (afi, _, safi) = (reader.u16()?, reader.u8()?, reader.u8()?);
                let family = Family::of_wire(afi, safi);
                self.other_families |= family.is_none();
                self.multiprotocol.extend(family);
            }
            REFRESH => self.route_refresh = true,
            EXTENDED_NEXT_HOP => {
                while !reader.0.is_empty() {
                    let triple = (reader.u16()?, reader.u16()?, reader.u16()?);
                    self.extended_next_hop |= triple == (1, 1, 2);
                }
            }
            RESTART => {
                let flags = reader.u16()?;
                let (restarting, time) = (flags & 0x8000 != 0, flags & 0x0fff);
                let mut families = vec![];
                while !reader.0.is_empty() {
                    let (afi, safi, flags) = (reader.u16()?, reader.u8()?, reader.u8()?);
                    let family = Family::of_wire(afi, safi);
                    families.extend(family.map(|family| (family, flags & 0x80 != 0)));
                }
                self.graceful_restart = Some(GracefulRestart { restarting, time, families });
                return Some(());
            }
            FOUR_OCTET_ASN => {
                *asn = Some(reader.u32()?);
                self.four_octet_asn = true;
            }
            _ => return Some(()),
        }
        reader.0.is_empty().then_some(())
    }
}
