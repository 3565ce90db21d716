//! Networks as the intervals of a set.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::kernel::answer::ElementState;
use crate::kernel::expr::Ip;
use crate::kernel::set::{Set, Span};

pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The lowest bytes, as many as an address has.
pub(crate) fn bytes(ip: Ip, bits: u128) -> Vec<u8> {
    bits.to_be_bytes().into_iter().skip(16 - ip.len() as usize).collect()
}

/// The networks of one family as intervals that neither overlap nor touch: the kernel refuses
/// those that overlap.
pub(crate) fn spans<'a>(ip: Ip, networks: impl Iterator<Item = &'a IpNetwork>) -> BTreeSet<Span> {
    let highest = if ip == Ip::V4 { u32::MAX.into() } else { u128::MAX };
    let of_family = networks.filter(|network| Ip::of(**network) == ip);
    let range = |network: &IpNetwork| (bits(network.network()), bits(network.broadcast()));
    let mut ranges: Vec<_> = of_family.map(range).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let span = |(first, last): (u128, u128)| {
        let end = (last < highest).then(|| bytes(ip, last + 1));
        Span { first: bytes(ip, first), end }
    };
    merged.into_iter().map(span).collect()
}

/// Elements of a dump as spans; None when they are no such thing, as with a catch-all element,
/// which has no key.
pub(crate) fn read(set: &Set<'_>, elements: Vec<ElementState>) -> Option<BTreeSet<Span>> {
    let mut keys = Vec::with_capacity(elements.len());
    for element in elements {
        keys.push((element.key?, !element.ends));
    }
    if !set.has_intervals() {
        return Some(keys.into_iter().map(|(first, _)| Span { first, end: None }).collect());
    }
    // Where two touch, the end of the one comes before the beginning of the other.
    keys.sort_unstable();
    let mut spans = BTreeSet::new();
    let mut open: Option<Vec<u8>> = None;
    for (key, begins) in keys {
        match (open.take(), begins) {
            (None, true) => open = Some(key),
            (Some(first), false) => {
                spans.insert(Span { first, end: Some(key) });
            }
            // `nft` begins a set with the end of nothing.
            (None, false) if key.iter().all(|byte| *byte == 0) => {}
            _ => return None,
        }
    }
    spans.extend(open.map(|first| Span { first, end: None }));
    Some(spans)
}
