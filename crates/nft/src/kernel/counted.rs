//! What elements counted. netlink-packet-netfilter (0.4.0) reads an element's expression as one attribute
//! alone, its name.

use netlink::{attributes, find};

use crate::kernel::well_formed::{NFGENMSG, NFTA_SET_ELEM_LIST_ELEMENTS};

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// The key of each element in an answer, with the packets that its counter counted.
pub(crate) fn counted(body: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let lists = attributes(body.get(NFGENMSG..).unwrap_or_default());
    let lists = lists.filter(|(kind, _)| *kind == NFTA_SET_ELEM_LIST_ELEMENTS);
    let elements = lists.flat_map(|(_, list)| attributes(list));
    elements
        .filter(|(kind, _)| *kind == NFTA_LIST_ELEM)
        .filter_map(|(_, one)| element(one))
        .collect()
}

fn element(attributes: &[u8]) -> Option<(Vec<u8>, u64)> {
    let key = find(find(attributes, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
    let counter = find(find(attributes, NFTA_SET_ELEM_EXPR)?, NFTA_EXPR_DATA)?;
    let packets = find(counter, NFTA_COUNTER_PACKETS)?.try_into().ok()?;
    Some((key.to_vec(), u64::from_be_bytes(packets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink::Message;
    use proptest::prelude::*;

    #[test]
    fn a_counter_is_read_beside_its_key() {
        let mut message = Message::new(&[1, 0, 0, 0]);
        message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            list.nest(NFTA_LIST_ELEM, |element| {
                element.nest(NFTA_SET_ELEM_KEY, |key| key.put(NFTA_DATA_VALUE, &[10, 1, 0, 5]));
                element.nest(NFTA_SET_ELEM_EXPR, |expression| {
                    expression.put(1, b"counter\0");
                    expression.nest(NFTA_EXPR_DATA, |counter| {
                        counter.put(1, &500_u64.to_be_bytes());
                        counter.put(NFTA_COUNTER_PACKETS, &5_u64.to_be_bytes());
                    });
                });
            });
        });
        assert_eq!(counted(&message.into_bytes()), [(vec![10, 1, 0, 5], 5)]);
    }

    proptest! {
        #[test]
        fn noise_counts_nothing_and_ends(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            counted(&bytes);
        }
    }
}
