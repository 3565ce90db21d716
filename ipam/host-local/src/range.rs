//! Ranges of addresses: arithmetic over `u128`, alike for both families.

use ipnetwork::IpNetwork;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The address of a number; numbers beyond the family's last address do not occur.
    pub fn address(self, number: u128) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }

    fn bits(self) -> u8 {
        if self == Family::V4 { 32 } else { 128 }
    }
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// What a configuration says of a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeSpec {
    /// `subnet`.
    pub subnet: Option<IpNetwork>,
    /// `rangeStart`.
    pub start: Option<IpAddr>,
    /// `rangeEnd`.
    pub end: Option<IpAddr>,
    /// `gateway`.
    pub gateway: Option<IpAddr>,
}

/// Why a range or a set of them cannot be allocated from. The texts are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// No `subnet`.
    #[error("IP <nil> not v4 nor v6")]
    NoSubnet,
    /// An IPv4 address mapped into IPv6, with an IPv6 prefix length.
    #[error("IPNet IP and Mask version mismatch")]
    MixedNotation,
    /// /31, /32, /127, /128.
    #[error("Network {0} too small to allocate from")]
    TooSmall(String),
    /// `subnet` is not a network address.
    #[error(
        "Network has host bits set. For a subnet mask of length {0} the network address is {1}"
    )]
    HostBits(u8, IpAddr),
    /// `rangeStart` outside of `subnet`, or after `rangeEnd`.
    #[error("RangeStart {0} not in network {1}")]
    Start(IpAddr, String),
    /// `rangeEnd` outside of `subnet`, or before `rangeStart`.
    #[error("RangeEnd {0} not in network {1}")]
    End(IpAddr, String),
    /// `[]`.
    #[error("empty range set")]
    Empty,
    /// IPv4 beside IPv6.
    #[error("mixed address families")]
    MixedFamilies,
    /// Ranges of one set overlap.
    #[error("subnets {0} and {1} overlap")]
    Overlap(String, String),
}

impl RangeError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            RangeError::NoSubnet => "give the range a subnet, as 10.1.0.0/16",
            RangeError::MixedNotation => "write the subnet as plain IPv4, as 10.1.0.0/16",
            RangeError::TooSmall(_) => "use a /30, a /126 or a larger subnet",
            RangeError::HostBits(..) => "write the network address into subnet",
            RangeError::Start(..) | RangeError::End(..) => {
                "rangeStart and rangeEnd must lie in subnet, in this order"
            }
            RangeError::Empty => "each range set must hold at least one range",
            RangeError::MixedFamilies => {
                "put IPv4 and IPv6 into range sets of their own; each set leases one address"
            }
            RangeError::Overlap(..) => "make the ranges disjoint with rangeStart and rangeEnd",
        }
    }
}

/// Why an address within a range is never leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The subnet's network address; in IPv6 the subnet-router anycast address (RFC 4291, 2.6.1).
    Network,
    /// The subnet's broadcast address.
    Broadcast,
    /// A gateway of the set.
    Gateway,
}

/// Some consecutive addresses of a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    subnet: IpNetwork,
    /// The first address, inclusive.
    pub start: u128,
    /// The last address, inclusive.
    pub end: u128,
    /// The gateway, which may lie outside of the subnet.
    pub gateway: IpAddr,
}

impl Range {
    /// Validates a range and fills in the defaults.
    ///
    /// # Errors
    /// What the specification lacks or contradicts.
    pub fn new(spec: RangeSpec) -> Result<Range, RangeError> {
        let subnet = spec.subnet.ok_or(RangeError::NoSubnet)?;
        let family = Family::of(subnet.ip());
        let base = subnet.ip().to_canonical();
        if subnet.prefix() > family.bits() - 2 {
            return Err(RangeError::TooSmall(format!("{base}/{}", subnet.prefix())));
        }
        if Family::of(base) != family {
            return Err(RangeError::MixedNotation);
        }
        if subnet.network() != subnet.ip() {
            return Err(RangeError::HostBits(subnet.prefix(), subnet.network()));
        }
        let network = number(base);
        let last = number(subnet.broadcast());
        let within = |address: IpAddr| subnet.contains(address);
        let [start, end, gateway] =
            [spec.start, spec.end, spec.gateway].map(|a| a.map(|a| a.to_canonical()));
        let bad_start = |at| RangeError::Start(at, subnet.to_string());
        let bad_end = |at| RangeError::End(at, subnet.to_string());
        if let Some(start) = start {
            // The reference compares with an explicit end here, not with the default one.
            let before = |end: &IpAddr| Family::of(*end) == family && number(*end) < number(start);
            if !within(start) || end.as_ref().is_some_and(before) {
                return Err(bad_start(start));
            }
        }
        let first = start.map_or(network + 1, number);
        if let Some(end) = end.filter(|end| !within(*end) || number(*end) < first) {
            return Err(bad_end(end));
        }
        let default_end = if family == Family::V4 { last - 1 } else { last };
        let end = end.map_or(default_end, number);
        if first > end {
            // Only a start at the broadcast address, which the reference gives out.
            return Err(bad_start(family.address(first)));
        }
        let gateway = gateway.unwrap_or_else(|| family.address(network + 1));
        Ok(Range { subnet, start: first, end, gateway })
    }

    /// Its family.
    pub fn family(&self) -> Family {
        Family::of(self.subnet.ip())
    }

    /// The subnet that it lies in.
    pub fn subnet(&self) -> IpNetwork {
        self.subnet
    }

    /// Whether the address lies between start and end.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && (self.start..=self.end).contains(&number(address))
    }

    /// Whether the gateway lies in the subnet.
    pub fn reaches_gateway(&self) -> bool {
        Family::of(self.gateway) == self.family() && self.subnet.contains(self.gateway)
    }

    fn overlaps(&self, other: &Range) -> bool {
        self.family() == other.family() && self.start <= other.end && other.start <= self.end
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family();
        write!(f, "{}-{}", family.address(self.start), family.address(self.end))
    }
}

/// Ranges of one family that serve as one pool: an attachment gets one address of each set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeSet {
    ranges: Vec<Range>,
}

impl RangeSet {
    /// A set of ranges that do not overlap.
    ///
    /// # Errors
    /// The set is empty, or its ranges overlap or differ in family.
    pub fn new(ranges: Vec<Range>) -> Result<RangeSet, RangeError> {
        let family = ranges.first().ok_or(RangeError::Empty)?.family();
        if ranges.iter().any(|range| range.family() != family) {
            return Err(RangeError::MixedFamilies);
        }
        for (index, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges[index + 1..].iter().find(|other| one.overlaps(other)) {
                return Err(RangeError::Overlap(one.to_string(), other.to_string()));
            }
        }
        Ok(RangeSet { ranges })
    }

    /// Its ranges, at least one.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Its family.
    pub fn family(&self) -> Family {
        self.ranges[0].family()
    }

    /// The range that contains the address.
    pub fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.contains(address))
    }

    /// Whether a range of one overlaps with a range of the other.
    pub fn overlaps(&self, other: &RangeSet) -> bool {
        self.ranges.iter().any(|one| other.ranges.iter().any(|two| one.overlaps(two)))
    }

    /// Why an address of `range` is never leased, if it is not. The gateway of another range of
    /// the set counts too: the ranges may share a subnet.
    pub fn reserved(&self, range: &Range, number: u128) -> Option<Reserved> {
        let family = range.family();
        let address = family.address(number);
        if address == range.subnet.network() {
            Some(Reserved::Network)
        } else if family == Family::V4 && address == range.subnet.broadcast() {
            Some(Reserved::Broadcast)
        } else if self.ranges.iter().any(|other| other.gateway == address) {
            Some(Reserved::Gateway)
        } else {
            None
        }
    }

    /// How many addresses can be leased.
    pub fn capacity(&self) -> u128 {
        self.ranges.iter().fold(0, |sum: u128, range| {
            let mut special: Vec<u128> = vec![range.start, range.end];
            special.extend(self.ranges.iter().map(|other| number(other.gateway)));
            special.retain(|n| (range.start..=range.end).contains(n));
            special.retain(|n| self.reserved(range, *n).is_some());
            special.sort_unstable();
            special.dedup();
            sum.saturating_add((range.end - range.start).saturating_add(1))
                .saturating_sub(special.len() as u128)
        })
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
