//! Which address next: round robin through the ranges of a set. Pure: what is taken is asked
//! block by block.

use crate::range::{Family, Range, RangeSet, number};
use std::net::IpAddr;

/// Addresses in a [`Block`].
pub const BLOCK: u128 = 1 << 15;
const BYTES: usize = (BLOCK / 8) as usize;

/// A bit for each of [`BLOCK`] consecutive addresses, set where the address is taken.
#[derive(Clone, PartialEq, Eq)]
pub struct Block(Vec<u8>);

impl Default for Block {
    fn default() -> Block {
        Block(vec![0; BYTES])
    }
}

impl Block {
    /// The bits as bytes, the lowest address in the lowest bit of the first.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bits as bytes, to be read into.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Sets or clears a bit; returns its byte's index.
    pub fn put(&mut self, bit: u128, taken: bool) -> usize {
        let index = bit as usize / 8 % BYTES;
        let mask = 1 << (bit % 8);
        if taken {
            self.0[index] |= mask;
        } else {
            self.0[index] &= !mask;
        }
        index
    }

    /// The lowest clear bit from `first` to `last`, both inclusive.
    fn first_clear(&self, first: u128, last: u128) -> Option<u128> {
        let (first, last) = (first as usize, last as usize);
        let words =
            self.0.chunks_exact(8).enumerate().skip(first / 64).take(last / 64 + 1 - first / 64);
        for (index, word) in words {
            let mut taken = u64::from_le_bytes(word.try_into().unwrap_or([0xff; 8]));
            if index == first / 64 {
                taken |= (1 << (first % 64)) - 1;
            }
            if taken != u64::MAX {
                let bit = index * 64 + taken.trailing_ones() as usize;
                return (bit <= last).then_some(bit as u128);
            }
        }
        None
    }

    /// How many bits are set from `first` to `last`, both inclusive.
    fn count(&self, first: u128, last: u128) -> u128 {
        let is_set = |bit: usize| self.0[bit / 8] & (1 << (bit % 8)) != 0;
        (first as usize..=last as usize).filter(|bit| is_set(*bit)).count() as u128
    }
}

/// What knows the blocks: by family, and an address's number divided by [`BLOCK`].
pub trait Taken {
    /// The block of that number.
    fn block(&mut self, family: Family, number: u128) -> &Block;
}

/// A part of a range, and where in a set the range stands.
type Stretch<'a> = (&'a Range, u128, u128);

/// All of the set, in the order in which its addresses are tried: what follows the last reserved
/// one within its range, the ranges after it, then from the first range around to the last
/// reserved address itself. Without one, or with one outside of the set, from the beginning.
fn stretches(set: &RangeSet, last: Option<IpAddr>) -> Vec<Stretch<'_>> {
    let ranges = set.ranges();
    let whole = |range| -> Stretch<'_> {
        let range: &Range = range;
        (range, range.start, range.end)
    };
    let found = last.and_then(|last| {
        let index = ranges.iter().position(|range| range.contains(last))?;
        Some((index, number(last)))
    });
    let Some((index, last)) = found else { return ranges.iter().map(whole).collect() };
    let range = &ranges[index];
    let mut order = Vec::with_capacity(ranges.len() + 1);
    if last < range.end {
        order.push((range, last + 1, range.end));
    }
    order.extend(ranges[index + 1..].iter().map(whole));
    order.extend(ranges[..index].iter().map(whole));
    order.push((range, range.start, last));
    order
}

/// The next address of a set that is not taken.
pub fn next_free(set: &RangeSet, last: Option<IpAddr>, taken: &mut impl Taken) -> Option<IpAddr> {
    let family = set.family();
    for (range, first, end) in stretches(set, last) {
        let mut at = first;
        while at <= end {
            let base = at / BLOCK * BLOCK;
            let until = end.min(base + (BLOCK - 1));
            let block = taken.block(family, at / BLOCK);
            let free = block.first_clear(at - base, until - base).map(|bit| base + bit);
            match free {
                Some(free) if set.reserved(range, free).is_none() => {
                    return Some(family.address(free));
                }
                _ => match free.unwrap_or(until).checked_add(1) {
                    Some(next) => at = next,
                    None => break,
                },
            }
        }
    }
    None
}

/// How many addresses of a set are taken, of those that can be leased. It visits every block of
/// the set: for sets without a free address, which are small.
pub fn count(set: &RangeSet, taken: &mut impl Taken) -> u128 {
    let family = set.family();
    let mut sum = 0;
    for range in set.ranges() {
        let mut at = range.start;
        loop {
            let base = at / BLOCK * BLOCK;
            let until = range.end.min(base + (BLOCK - 1));
            let mut block = taken.block(family, at / BLOCK).clone();
            for special in special(set, range, at, until) {
                block.put(special - base, false);
            }
            sum += block.count(at - base, until - base);
            match until.checked_add(1).filter(|next| *next <= range.end) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    sum
}

fn special(set: &RangeSet, range: &Range, first: u128, last: u128) -> impl Iterator<Item = u128> {
    let subnet = range.subnet();
    let gateways = set.ranges().iter().map(|other| other.gateway);
    let all: Vec<u128> = [subnet.network(), subnet.broadcast()]
        .into_iter()
        .chain(gateways)
        .map(number)
        .filter(|n| (first..=last).contains(n) && set.reserved(range, *n).is_some())
        .collect();
    all.into_iter()
}

#[cfg(test)]
mod tests;
