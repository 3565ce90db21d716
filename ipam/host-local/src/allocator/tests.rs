use super::*;
use crate::range::RangeSpec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks in memory.
#[derive(Default)]
struct Memory(BTreeMap<(Family, u128), Block>);

impl Memory {
    fn put(&mut self, address: IpAddr, taken: bool) {
        let number = number(address);
        let block = self.0.entry((Family::of(address), number / BLOCK)).or_default();
        block.put(number % BLOCK, taken);
    }
}

impl Taken for Memory {
    fn block(&mut self, family: Family, number: u128) -> &Block {
        self.0.entry((family, number)).or_default()
    }
}

fn set(ranges: &[(&str, &str, &str)]) -> RangeSet {
    let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    let range = |(subnet, start, end): &(&str, &str, &str)| {
        Range::new(RangeSpec {
            subnet: Some(cni::result::parse_cidr(subnet).unwrap()),
            start: address(start),
            end: address(end),
            gateway: None,
        })
        .unwrap()
    };
    RangeSet::new(ranges.iter().map(range).collect()).unwrap()
}

/// Addresses in the order in which an empty set gives them out.
fn sequence(set: &RangeSet, last: Option<&str>, count: usize) -> Vec<String> {
    let mut memory = Memory::default();
    let mut last = last.map(|text| text.parse().unwrap());
    let mut all = Vec::new();
    while all.len() < count {
        let Some(next) = next_free(set, last, &mut memory) else { break };
        memory.put(next, true);
        last = Some(next);
        all.push(next.to_string());
    }
    all
}

#[test]
fn from_the_beginning_the_middle_and_the_end() {
    let one = set(&[("10.0.0.0/29", "", "")]);
    let from = |last| sequence(&one, last, 9);
    let all = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"];
    assert_eq!(from(None), all);
    assert_eq!(from(Some("10.0.0.1")), all);
    assert_eq!(from(Some("192.0.2.1")), all);
    assert_eq!(from(Some("10.0.0.6")), all);
    assert_eq!(from(Some("10.0.0.4"))[..3], ["10.0.0.5", "10.0.0.6", "10.0.0.2"]);
}

#[test]
fn through_all_ranges_in_their_order() {
    let two = set(&[("10.9.0.0/30", "", ""), ("10.0.0.0/24", "10.0.0.5", "10.0.0.6")]);
    assert_eq!(sequence(&two, None, 9), ["10.9.0.2", "10.0.0.5", "10.0.0.6"]);
    assert_eq!(sequence(&two, Some("10.0.0.5"), 9), ["10.0.0.6", "10.9.0.2", "10.0.0.5"]);
}

#[test]
fn ends_of_a_range_and_of_the_numbers() {
    let whole = set(&[("10.0.0.0/29", "10.0.0.0", "10.0.0.7")]);
    assert_eq!(sequence(&whole, None, 9).first().unwrap(), "10.0.0.2");
    assert_eq!(sequence(&whole, None, 9).len(), 5);
    let top = set(&[("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126", "", "")]);
    assert_eq!(sequence(&top, None, 9).len(), 2, "fe and ff: a v6 range has no broadcast");
    let top = set(&[("255.255.255.252/30", "", "255.255.255.255")]);
    assert_eq!(sequence(&top, None, 9), ["255.255.255.254"]);
    assert_eq!(count(&top, &mut Memory::default()), 0);
}

#[test]
fn a_huge_set_is_no_effort() {
    let huge = set(&[("fd00::/8", "", "")]);
    assert_eq!(sequence(&huge, None, 2), ["fd00::2", "fd00::3"]);
    let last = "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(sequence(&huge, Some(last), 1), ["fd00::2"]);
}

#[test]
fn across_blocks() {
    let wide = set(&[("10.0.0.0/14", "10.0.127.250", "10.1.128.5")]);
    let mut memory = Memory::default();
    for n in 0x0a00_7ffa..0x0a01_8003 {
        memory.put(Family::V4.address(n), true);
    }
    assert_eq!(next_free(&wide, None, &mut memory), Some("10.1.128.3".parse().unwrap()));
    assert_eq!(count(&wide, &mut memory), 0x1_0009);
}

/// The rule, said as plainly as possible.
fn naive(set: &RangeSet, last: Option<IpAddr>, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let mut all = Vec::new();
    for range in set.ranges() {
        all.extend((range.start..=range.end).map(|n| set.family().address(n)));
    }
    let start = last.and_then(|last| all.iter().position(|a| *a == last)).map_or(0, |at| at + 1);
    let start = start % all.len();
    all.rotate_left(start);
    let free = |address: &IpAddr| {
        let range = set.range_of(*address).unwrap();
        set.reserved(range, number(*address)).is_none() && !taken.contains(address)
    };
    all.into_iter().find(free)
}

prop_compose! {
    fn any_set()(v6 in any::<bool>(), base in 0u32..3, parts in prop::collection::vec(
        (0u8..4, 0u8..64, 0u8..64, 0u8..70), 1..4)) -> Option<RangeSet> {
        let family = if v6 { Family::V6 } else { Family::V4 };
        // Near a block's boundary, at the lowest and at the highest addresses.
        let base: u128 = match (base, v6) {
            (0, _) => 0,
            (1, _) => BLOCK * 5 - 64,
            (_, true) => u128::MAX - 255,
            (_, false) => u128::from(u32::MAX) - 255,
        };
        let ranges = parts.into_iter().map(|(net, start, end, gateway)| {
            let network = base + u128::from(net) * 64;
            let prefix = if v6 { 122 } else { 26 };
            let at = |n: u8| Some(family.address(network + u128::from(n)));
            Range::new(RangeSpec {
                subnet: ipnetwork::IpNetwork::new(family.address(network), prefix).ok(),
                start: at(start.min(end)),
                end: at(end.max(start)),
                gateway: if gateway < 64 { at(gateway) } else { None },
            }).ok()
        }).collect::<Option<Vec<_>>>()?;
        RangeSet::new(ranges).ok()
    }
}

proptest! {
    #[test]
    fn it_is_the_naive_rule(set in any_set(), steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..300)) {
        let Some(set) = set else { return Ok(()) };
        let (mut memory, mut taken, mut last) = (Memory::default(), BTreeSet::new(), None);
        for (add, index) in steps {
            if add {
                let next = next_free(&set, last, &mut memory);
                prop_assert_eq!(next, naive(&set, last, &taken));
                prop_assert_eq!(next.is_none(), taken.len() as u128 == set.capacity());
                if let Some(next) = next {
                    prop_assert!(taken.insert(next), "given twice");
                    memory.put(next, true);
                    last = Some(next);
                }
            } else if !taken.is_empty() {
                let gone = *index.get(&taken.iter().copied().collect::<Vec<_>>());
                taken.remove(&gone);
                memory.put(gone, false);
            }
            prop_assert_eq!(count(&set, &mut memory), taken.len() as u128);
        }
    }

    #[test]
    fn any_last_address_will_do(set in any_set(), last in any::<IpAddr>()) {
        let Some(set) = set else { return Ok(()) };
        let next = next_free(&set, Some(last), &mut Memory::default());
        prop_assert_eq!(next, naive(&set, Some(last), &BTreeSet::new()));
    }

    #[test]
    fn first_clear_is_the_first(set in prop::collection::btree_set(0u128..BLOCK, 0..64), dense in any::<bool>(), a in 0..BLOCK, b in 0..BLOCK) {
        let (first, last) = (a.min(b), a.max(b));
        let mut block = Block::default();
        if dense {
            block.bytes_mut().fill(0xff);
        }
        set.iter().for_each(|bit| { block.put(*bit, !dense); });
        let clear = |bit: &u128| set.contains(bit) == dense;
        prop_assert_eq!(block.first_clear(first, last), (first..=last).find(clear));
    }
}
