//! Networks as ranges of addresses.

use super::{AddressRange, Family, family};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as a number.
pub fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a number, which fits the family.
pub fn address(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Every address of a family.
pub fn every(family: Family) -> AddressRange {
    let last = if family == Family::V4 { u32::MAX.into() } else { u128::MAX };
    AddressRange { first: address(family, 0), last: address(family, last) }
}

/// One address.
pub fn one(address: IpAddr) -> AddressRange {
    AddressRange { first: address, last: address }
}

/// A network.
pub fn network(network: &IpNetwork) -> AddressRange {
    AddressRange { first: network.network(), last: network.broadcast() }
}

/// Whether it has the address.
pub fn has(range: &AddressRange, address: IpAddr) -> bool {
    family(range.first) == family(address) && (range.first..=range.last).contains(&address)
}

/// What is left of a network without the others.
pub fn without(whole: AddressRange, mut others: Vec<AddressRange>) -> Vec<AddressRange> {
    let of = family(whole.first);
    let (mut next, last) = (bits(whole.first), bits(whole.last));
    let mut left = Vec::new();
    others.retain(|other| family(other.first) == of);
    others.sort_unstable();
    for other in others {
        let (from, to) = (bits(other.first), bits(other.last));
        if to < next {
            continue;
        }
        if from > last {
            break;
        }
        if from > next {
            left.push(AddressRange { first: address(of, next), last: address(of, from - 1) });
        }
        match to.checked_add(1) {
            Some(after) if after <= last => next = after,
            _ => return left,
        }
    }
    left.push(AddressRange { first: address(of, next), last: whole.last });
    left
}

/// The ranges of one family, merged: they neither overlap nor touch.
pub fn merged(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_unstable();
    let mut merged: Vec<AddressRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(open) if bits(range.first) <= bits(open.last).saturating_add(1) => {
                open.last = open.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> AddressRange {
        network(&text.parse().unwrap())
    }

    fn texts(ranges: &[AddressRange]) -> Vec<String> {
        ranges.iter().map(|range| format!("{}-{}", range.first, range.last)).collect()
    }

    #[test]
    fn excepted_parts_are_taken_out() {
        let of = |whole: &str, others: &[&str]| {
            texts(&without(net(whole), others.iter().map(|other| net(other)).collect()))
        };
        assert_eq!(of("10.0.0.0/8", &[]), ["10.0.0.0-10.255.255.255"]);
        assert_eq!(
            of("10.0.0.0/8", &["10.1.0.0/16", "10.1.2.0/24", "10.255.0.0/16"]),
            ["10.0.0.0-10.0.255.255", "10.2.0.0-10.254.255.255"]
        );
        assert_eq!(of("10.0.0.0/8", &["10.0.0.0/8"]), [""; 0]);
        assert_eq!(of("10.0.0.0/8", &["11.0.0.0/8", "9.0.0.0/8", "fd00::/8"]).len(), 1);
        assert_eq!(of("0.0.0.0/0", &["128.0.0.0/1"]), ["0.0.0.0-127.255.255.255"]);
        assert_eq!(of("::/0", &["8000::/1"]), ["::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let ranges = ["10.0.1.0/24", "10.0.0.0/24", "10.0.0.128/25", "10.0.3.0/24"];
        let ranges = ranges.map(net).to_vec();
        assert_eq!(texts(&merged(ranges)), ["10.0.0.0-10.0.1.255", "10.0.3.0-10.0.3.255"]);
        assert_eq!(merged(vec![net("::/0"), net("::/0")]), [net("::/0")]);
    }
}
