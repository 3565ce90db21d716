//! Whether a message may be given to netlink-packet-netfilter.
//!
//! Where the value of an attribute is one attribute itself, that crate (0.4.0) believes the inner
//! length, and panics where it is wrong (`NlaBuffer::new` without `new_checked`). These places
//! are looked at here first. Found by the fuzz target `nftables`.

use netlink::{attributes, checked};

/// NFNL_SUBSYS_NFTABLES, the upper byte of a message's type.
pub(crate) const NF_TABLES: u16 = 10;
/// Bytes of struct nfgenmsg, before the attributes.
pub(crate) const NFGENMSG: usize = 4;
/// The first message type that is not netlink's own (NLMSG_MIN_TYPE).
pub(crate) const FIRST_TYPE: u16 = 16;

// include/uapi/linux/netfilter/nf_tables.h
const NFT_MSG_NEWTABLE: u16 = NF_TABLES << 8;
const NFT_MSG_NEWCHAIN: u16 = NF_TABLES << 8 | 3;
const NFT_MSG_NEWRULE: u16 = NF_TABLES << 8 | 6;
const NFT_MSG_NEWSET: u16 = NF_TABLES << 8 | 9;
pub(crate) const NFT_MSG_NEWSETELEM: u16 = NF_TABLES << 8 | 12;
const NFT_MSG_NEWGEN: u16 = NF_TABLES << 8 | 15;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_EXPR: u16 = 17;
const NFTA_SET_EXPRESSIONS: u16 = 18;
pub(crate) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_BITWISE_DATA: u16 = 7;

/// Whether this is a message of netlink's own, or an answer of nf_tables that is well formed.
pub(crate) fn is_well_formed(kind: u16, body: &[u8]) -> bool {
    let all = || body.get(NFGENMSG..).unwrap_or_default();
    match kind {
        NFT_MSG_NEWRULE => each(all(), |kind, value| match kind {
            NFTA_RULE_EXPRESSIONS => expressions(value),
            _ => true,
        }),
        NFT_MSG_NEWSET => each(all(), |kind, value| match kind {
            NFTA_SET_EXPR => is_attribute(value),
            NFTA_SET_EXPRESSIONS => expressions(value),
            _ => true,
        }),
        NFT_MSG_NEWSETELEM => each(all(), |kind, value| match kind {
            NFTA_SET_ELEM_LIST_ELEMENTS => listed(value, |element| each(element, in_element)),
            _ => true,
        }),
        NFT_MSG_NEWTABLE | NFT_MSG_NEWCHAIN | NFT_MSG_NEWGEN => true,
        kind => kind < FIRST_TYPE,
    }
}

fn in_element(kind: u16, value: &[u8]) -> bool {
    match kind {
        NFTA_SET_ELEM_KEY | NFTA_SET_ELEM_DATA | NFTA_SET_ELEM_EXPR => is_attribute(value),
        NFTA_SET_ELEM_EXPRESSIONS => expressions(value),
        _ => true,
    }
}

fn expressions(list: &[u8]) -> bool {
    listed(list, |element| {
        let mut name = &[][..];
        each(element, |kind, value| match kind {
            NFTA_EXPR_NAME => {
                name = value;
                true
            }
            NFTA_EXPR_DATA => {
                each(value, |kind, value| !is_data(name, kind) || is_attribute(value))
            }
            _ => true,
        })
    })
}

/// Whether an attribute of an expression holds data: a value or a verdict.
fn is_data(expression: &[u8], kind: u16) -> bool {
    match expression.split(|byte| *byte == 0).next() {
        Some(b"immediate") => kind == NFTA_IMMEDIATE_DATA,
        Some(b"cmp") => kind == NFTA_CMP_DATA,
        Some(b"bitwise") => {
            matches!(kind, NFTA_BITWISE_MASK | NFTA_BITWISE_XOR | NFTA_BITWISE_DATA)
        }
        _ => false,
    }
}

fn listed(list: &[u8], mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    each(list, |kind, value| kind != NFTA_LIST_ELEM || holds(value))
}

/// Whether the bytes are attributes, of each of which something holds.
fn each<'a>(bytes: &'a [u8], mut holds: impl FnMut(u16, &'a [u8]) -> bool) -> bool {
    checked(bytes).is_some_and(|all| all.iter().all(|found| holds(found.kind, found.value)))
}

fn is_attribute(value: &[u8]) -> bool {
    attributes(value).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![4 + value.len() as u8, 0, kind, 0];
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn rule(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let parts = [attribute(1, name.as_bytes()), attribute(2, &attribute(kind, data))].concat();
        [vec![0; NFGENMSG], attribute(4, &attribute(1, &parts))].concat()
    }

    #[test]
    fn an_attribute_in_an_attribute_has_a_length_that_fits() {
        let (right, wrong) = (attribute(1, &[7; 4]), [0xff, 0xff, 1, 0, 7, 7, 7, 7]);
        for (name, kind) in [("cmp\0", 3), ("bitwise\0", 4), ("bitwise", 7), ("immediate\0", 2)] {
            assert!(is_well_formed(NFT_MSG_NEWRULE, &rule(name, kind, &right)), "{name}");
            for wrong in [&wrong[..], &[2, 0, 1, 0], &[], &[8, 0, 1]] {
                assert!(
                    !is_well_formed(NFT_MSG_NEWRULE, &rule(name, kind, wrong)),
                    "{name} {wrong:?}"
                );
            }
        }
        let element = |kind: u8, data: &[u8]| {
            let list = attribute(1, &attribute(kind, data));
            is_well_formed(NFT_MSG_NEWSETELEM, &[vec![0; NFGENMSG], attribute(3, &list)].concat())
        };
        assert!(element(1, &right) && !element(1, &wrong) && !element(2, &[]));
        assert!(is_well_formed(NFT_MSG_NEWRULE, &rule("meta", 3, &wrong)));
    }

    #[test]
    fn only_answers_are_read() {
        assert!(is_well_formed(2, &[]) && is_well_formed(NFT_MSG_NEWGEN, &[]));
        assert!(!is_well_formed(NFT_MSG_NEWRULE + 1, &[]) && !is_well_formed(1 << 8, &[]));
    }
}
