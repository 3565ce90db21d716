//! UPDATE: its content, and what of a malformed one is used.

use super::attributes::{self, Approach, Attributes, Fault, Read, fault, name};
use super::reader::Reader;
use super::{Context, Family, Malformed, code, nlri};
use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where packets for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The address; an IPv6 one of an IPv4 prefix is RFC 8950.
    pub address: IpAddr,
    /// With an IPv6 address: the link-local one that came along (RFC 2545 section 3).
    pub link_local: Option<Ipv6Addr>,
}

/// Prefixes of one family that share a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Where to.
    pub next_hop: NextHop,
    /// Without host bits, in the order of the message.
    pub prefixes: Vec<IpNetwork>,
}

/// An UPDATE, both families. A receiver takes `withdrawn` first, then `announced`.
///
/// Errors cost what RFC 7606 says. An attribute that decides nothing is discarded. Routes whose
/// attributes are broken are moved to `withdrawn` ("treat-as-withdraw"). An MP_REACH_NLRI or
/// MP_UNREACH_NLRI whose prefixes or next hop cannot be read costs its family ("AFI/SAFI disable",
/// section 3 j). Only where no family can be read either is [`decode`](super::decode) an error,
/// which ends the session (section 5): broken lengths of the message's parts, broken prefixes
/// outside of those two attributes, a second one of either, or any broken attribute that is not
/// discarded while nothing is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes that the sender no longer reaches.
    pub withdrawn: Vec<IpNetwork>,
    /// Prefixes that it reaches; when read, at most one entry for the body and one for
    /// MP_REACH_NLRI.
    pub announced: Vec<Announced>,
    /// Of all that is announced; default when nothing is.
    pub attributes: Attributes,
    /// The message is an End-of-RIB marker (RFC 4724 section 2) of this family.
    pub end_of_rib: Option<Family>,
    /// Families whose prefixes could not be read: all routes of them that the sender announced in
    /// this session count as withdrawn, and what it sends of them later is ignored (RFC 4760
    /// section 7).
    pub disabled: BTreeSet<Family>,
    /// What was malformed, as text; the session continues.
    pub faults: Vec<String>,
    /// The announced prefixes count as withdrawn because of a fault.
    pub treated_as_withdraw: bool,
}

impl Update {
    /// "Treat-as-withdraw" of what it announces.
    pub(crate) fn withdraw(&mut self, why: String) {
        let announced = std::mem::take(&mut self.announced);
        self.withdrawn.extend(announced.into_iter().flat_map(|announced| announced.prefixes));
        self.attributes = Attributes::default();
        self.faults.push(why);
        self.treated_as_withdraw = true;
    }
}

/// Session reset, with no offending bytes to show.
fn reset(subcode: u8, why: &str) -> Malformed {
    Malformed::new(code::UPDATE, subcode, &[], format!("the peer's UPDATE is broken: {why}"))
}

pub(super) fn decode(body: &[u8], context: &Context) -> Result<Update, Malformed> {
    let mut reader = Reader(body);
    let mut part = |what| {
        let part = reader.u16().and_then(|length| reader.take(usize::from(length)));
        part.ok_or_else(|| reset(1, &format!("the length of its {what} is wrong")))
    };
    let withdrawn = part("withdrawn routes")?;
    let attributes = part("attributes")?;
    let network = |bytes| {
        nlri::decode(Family::Ipv4, bytes).map_err(|why| reset(10, &format!("it holds {why}")))
    };
    let withdrawn = network(withdrawn)?;
    let body = network(reader.0)?;
    let mut found = Found::default();
    found.read(attributes, context)?;
    let empty = withdrawn.is_empty() && body.is_empty();
    let end_of_rib = match (&found.unreach, found.kinds) {
        (None, 0) if attributes.is_empty() && empty => Some(Family::Ipv4),
        (Some((family, prefixes)), 1) if prefixes.is_empty() && empty => Some(*family),
        _ => None,
    };
    let update = found.conclude(withdrawn, body, context)?;
    Ok(Update { end_of_rib, ..update })
}

/// Flags and value of the next attribute; `None` when it is cut off.
fn attribute<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let (flags, _kind) = (reader.u8()?, reader.u8()?);
    let extended = flags & attributes::EXTENDED_LENGTH != 0;
    let length = if extended { reader.u16()? } else { u16::from(reader.u8()?) };
    Some((flags, reader.take(usize::from(length))?))
}

/// The value of MP_REACH_NLRI; `None` is a family that the session does not carry. An error names
/// what cannot be read.
fn reach(value: &[u8], context: &Context) -> Result<Option<Announced>, String> {
    let mut reader = Reader(value);
    let mut head = || {
        let (afi, safi, length) = (reader.u16()?, reader.u8()?, reader.u8()?);
        let next_hop = reader.take(usize::from(length))?;
        reader.u8()?;
        Some((Family::of_wire(afi, safi), next_hop))
    };
    let (family, next_hop) = head().ok_or("too few bytes")?;
    let Some(family) = family.filter(|family| context.families.contains(family)) else {
        return Ok(None);
    };
    let length = next_hop.len();
    let next_hop = NextHop::decode(next_hop)
        .filter(|next_hop| match family {
            Family::Ipv4 => next_hop.address.is_ipv4() || context.extended_next_hop,
            Family::Ipv6 => next_hop.address.is_ipv6(),
        })
        .ok_or_else(|| format!("an {family} next hop of {length} bytes"))?;
    Ok(Some(Announced { next_hop, prefixes: nlri::decode(family, reader.0)? }))
}

/// The value of MP_UNREACH_NLRI: its family if the session carries it, and its prefixes.
fn unreach(value: &[u8], context: &Context) -> Result<Option<(Family, Vec<IpNetwork>)>, String> {
    let mut reader = Reader(value);
    let family = family(&mut reader).ok_or("too few bytes")?;
    let Some(family) = family.filter(|family| context.families.contains(family)) else {
        return Ok(None);
    };
    Ok(Some((family, nlri::decode(family, reader.0)?)))
}

/// What both begin with; the outer `None` is cut off, the inner one is a family of others.
fn family(reader: &mut Reader) -> Option<Option<Family>> {
    Some(Family::of_wire(reader.u16()?, reader.u8()?))
}

/// Of the bytes of an attribute that is cut off, those of its value.
fn rest_of_value(bytes: &[u8]) -> &[u8] {
    let extended = bytes.first().is_some_and(|flags| flags & attributes::EXTENDED_LENGTH != 0);
    bytes.get(if extended { 4.. } else { 3.. }).unwrap_or_default()
}

impl NextHop {
    fn decode(bytes: &[u8]) -> Option<NextHop> {
        let mut reader = Reader(bytes);
        let v6 = |reader: &mut Reader| reader.array::<16>().map(Ipv6Addr::from);
        Some(match bytes.len() {
            4 => NextHop { address: Ipv4Addr::from(reader.u32()?).into(), link_local: None },
            16 => NextHop { address: v6(&mut reader)?.into(), link_local: None },
            32 => NextHop {
                address: v6(&mut reader)?.into(),
                link_local: v6(&mut reader).filter(Ipv6Addr::is_unicast_link_local),
            },
            _ => return None,
        })
    }

    /// It can be a host: neither unspecified, loopback, multicast, broadcast nor IPv4-mapped. `::`
    /// with a link-local address is how some speakers on unnumbered links fill the field.
    fn is_host(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => {
                let none = v4.is_unspecified() || v4.is_loopback();
                !none && !v4.is_multicast() && !v4.is_broadcast()
            }
            IpAddr::V6(v6) if v6.is_unspecified() => self.link_local.is_some(),
            IpAddr::V6(v6) => {
                !v6.is_loopback() && !v6.is_multicast() && v6.to_ipv4_mapped().is_none()
            }
        }
    }
}

/// The attributes of one UPDATE.
struct Found {
    read: Read,
    seen: [bool; 256],
    /// How many different ones there are.
    kinds: usize,
    faults: Vec<Fault>,
    /// MP_REACH_NLRI of one of our families.
    reach: Option<Announced>,
    /// MP_REACH_NLRI of another, or one that cannot be read.
    other: bool,
    /// MP_UNREACH_NLRI of one of our families.
    unreach: Option<(Family, Vec<IpNetwork>)>,
    disabled: BTreeSet<Family>,
}

impl Default for Found {
    fn default() -> Found {
        Found {
            read: Read::default(),
            seen: [false; 256],
            kinds: 0,
            faults: vec![],
            reach: None,
            other: false,
            unreach: None,
            disabled: BTreeSet::new(),
        }
    }
}

impl Found {
    fn read(&mut self, bytes: &[u8], context: &Context) -> Result<(), Malformed> {
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            let rest = reader.0;
            let kind = rest.get(1).copied().unwrap_or(0);
            let taken = match attribute(&mut reader) {
                Some((flags, value)) => self.attribute(flags, kind, value, context),
                None => {
                    reader.0 = &[];
                    self.cut_off(kind, rest, context)
                }
            };
            match taken {
                Err(fault) if fault.approach == Approach::SessionReset => {
                    return Err(reset(fault.subcode, &fault.why));
                }
                Err(fault) => self.faults.push(fault),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// RFC 7606 section 4: the rest of the attributes cannot be read, the prefixes can, unless they
    /// are in this very one.
    fn cut_off(&mut self, kind: u8, rest: &[u8], context: &Context) -> Result<(), Fault> {
        let why = format!("{} is cut off", name(kind));
        if matches!(kind, attributes::MP_REACH | attributes::MP_UNREACH) {
            self.kinds += usize::from(!self.see(kind));
            self.unreadable(kind, rest_of_value(rest), &why, context)?;
        }
        Err(fault(Approach::TreatAsWithdraw, 1, why))
    }

    /// MP_REACH_NLRI or MP_UNREACH_NLRI cannot be read: that costs its family, if that at least can
    /// be read (RFC 7606 section 3 j).
    fn unreadable(
        &mut self,
        kind: u8,
        value: &[u8],
        why: &str,
        context: &Context,
    ) -> Result<(), Fault> {
        let family = family(&mut Reader(value));
        let family = family.ok_or_else(|| fault(Approach::SessionReset, 9, why))?;
        self.other |= kind == attributes::MP_REACH;
        self.disabled.extend(family.filter(|family| context.families.contains(family)));
        Ok(())
    }

    /// Notes that an attribute is there; gives whether it was before.
    fn see(&mut self, kind: u8) -> bool {
        self.seen.get_mut(usize::from(kind)).is_some_and(|seen| std::mem::replace(seen, true))
    }

    fn attribute(
        &mut self,
        flags: u8,
        kind: u8,
        value: &[u8],
        context: &Context,
    ) -> Result<(), Fault> {
        let multiprotocol = matches!(kind, attributes::MP_REACH | attributes::MP_UNREACH);
        if self.see(kind) {
            // RFC 7606 section 3 g.
            let approach =
                if multiprotocol { Approach::SessionReset } else { Approach::AttributeDiscard };
            return Err(fault(approach, 1, format!("a second {}", name(kind))));
        }
        self.kinds += 1;
        if multiprotocol {
            self.multiprotocol(kind, value, context)?;
        }
        let class = flags & (attributes::OPTIONAL | attributes::TRANSITIVE);
        match attributes::flags(kind) {
            Some(right) if right != class => {
                let why = format!("{} has the flags {flags:#04x}", name(kind));
                Err(fault(Approach::TreatAsWithdraw, 4, why))
            }
            // RFC 4271 would end the session. The prefixes were read, so as other speakers do:
            None if class & attributes::OPTIONAL == 0 => {
                let why = format!("the well-known attribute {kind} is not known here");
                Err(fault(Approach::TreatAsWithdraw, 2, why))
            }
            Some(_) if !multiprotocol => self.read.take(kind, value, context),
            _ => Ok(()),
        }
    }

    /// Reads the prefixes even if the flags are wrong: those to withdraw must be known.
    fn multiprotocol(&mut self, kind: u8, value: &[u8], context: &Context) -> Result<(), Fault> {
        let read = if kind == attributes::MP_REACH {
            reach(value, context).map(|reach| {
                self.other = reach.is_none();
                self.reach = reach;
            })
        } else {
            unreach(value, context).map(|unreach| self.unreach = unreach)
        };
        let Err(why) = read else { return Ok(()) };
        let why = format!("{} with {why}", name(kind));
        self.unreadable(kind, value, &why, context)?;
        Err(fault(Approach::AttributeDiscard, 9, why))
    }

    fn has(&self, kind: u8) -> bool {
        self.seen.get(usize::from(kind)).is_some_and(|seen| *seen)
    }

    /// Whether prefixes are announced, also of a family that we do not support.
    fn reaches(&self, body: &[IpNetwork]) -> bool {
        let reach = self.reach.as_ref().is_some_and(|reach| !reach.prefixes.is_empty());
        reach || self.other || !body.is_empty()
    }

    /// Errors of the whole: what is missing (RFC 7606 section 3 d), next hops that cannot be.
    fn judge(&mut self, body: &[IpNetwork]) {
        let mut must = vec![];
        if self.reaches(body) {
            must.extend([attributes::ORIGIN, attributes::AS_PATH]);
        }
        if !body.is_empty() {
            must.push(attributes::NEXT_HOP);
        }
        must.retain(|kind| !self.has(*kind));
        for kind in must {
            let why = format!("{} is missing", name(kind));
            self.faults.push(fault(Approach::TreatAsWithdraw, 3, why));
        }
        let body = self.body_next_hop().filter(|_| !body.is_empty());
        let next_hops = body.into_iter().chain(self.reach.iter().map(|reach| reach.next_hop));
        for next_hop in next_hops.filter(|next_hop| !next_hop.is_host()).collect::<Vec<_>>() {
            let why = format!("{} is no next hop", next_hop.address);
            self.faults.push(fault(Approach::TreatAsWithdraw, 8, why));
        }
    }

    fn body_next_hop(&self) -> Option<NextHop> {
        let address = self.read.next_hop.map(IpAddr::V4);
        address.map(|address| NextHop { address, link_local: None })
    }

    fn conclude(
        mut self,
        mut withdrawn: Vec<IpNetwork>,
        body: Vec<IpNetwork>,
        context: &Context,
    ) -> Result<Update, Malformed> {
        self.judge(&body);
        let reaches = self.reaches(&body);
        let worst = self.faults.iter().max_by_key(|fault| fault.approach);
        let withdraw = worst.filter(|fault| fault.approach > Approach::AttributeDiscard);
        // RFC 7606 section 5.2: what should be withdrawn may be among what could not be read.
        let withdraws_alone = self.kinds == 1 && self.has(attributes::MP_UNREACH);
        if let Some(fault) = withdraw.filter(|_| !reaches && !withdraws_alone) {
            let why = format!("{}, and no prefix is announced", fault.why);
            return Err(reset(fault.subcode, &why));
        }
        let treated_as_withdraw = withdraw.is_some();
        withdrawn.extend(self.unreach.take().into_iter().flat_map(|(_, prefixes)| prefixes));
        let mut announced = vec![];
        if treated_as_withdraw {
            withdrawn.extend(body);
            withdrawn.extend(self.reach.take().into_iter().flat_map(|reach| reach.prefixes));
        } else {
            let body = self.body_next_hop().map(|next_hop| Announced { next_hop, prefixes: body });
            announced.extend(body.into_iter().chain(self.reach.take()));
        }
        let ours = |prefix: &IpNetwork| {
            let family = Family::of(prefix);
            context.families.contains(&family) && !self.disabled.contains(&family)
        };
        withdrawn.retain(ours);
        announced.iter_mut().for_each(|announced| announced.prefixes.retain(ours));
        announced.retain(|announced| !announced.prefixes.is_empty());
        let none = announced.is_empty();
        let attributes = if none { Attributes::default() } else { self.read.finish() };
        let faults = self.faults.into_iter().map(|fault| fault.why).collect();
        Ok(Update {
            withdrawn,
            announced,
            attributes,
            disabled: self.disabled,
            faults,
            treated_as_withdraw,
            ..Update::default()
        })
    }
}
