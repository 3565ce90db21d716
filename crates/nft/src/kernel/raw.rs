//! Rules compared as the bytes that the kernel dumps. Parsing one is slow: of each list in it
//! netlink-packet-netfilter (0.4.0) writes all bytes out as text, for an error that does not come.
//! Of two chains with seven rules that was half of a CHECK, 0.8 ms.

use netlink::{Attribute, checked};

use crate::kernel::expr::{Rule, bytes};

const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;

/// The name of the chain that a rule is in, and its expressions, of the rule's attributes; None:
/// these are no attributes.
pub(crate) fn rule(attributes: &[u8]) -> Option<(String, Vec<u8>)> {
    let all = checked(attributes)?;
    let value = |kind: u16| {
        let found = all.iter().find(|attribute| attribute.kind == kind);
        found.map(|attribute| attribute.value).unwrap_or_default()
    };
    let chain = value(NFTA_RULE_CHAIN);
    let chain = String::from_utf8_lossy(chain.strip_suffix(&[0]).unwrap_or(chain));
    Some((chain.into_owned(), value(NFTA_RULE_EXPRESSIONS).to_vec()))
}

/// Whether what was found does the same as the rule: the same attributes in the order in which the
/// kernel dumps them, but for those that only some kernels dump and that say the default, zero. What
/// a counter counted makes no difference.
pub(crate) fn same(rule: &Rule, found: &[u8]) -> bool {
    let wanted = bytes(rule);
    let (Some(wanted), Some(found)) = (checked(&wanted), checked(found)) else { return false };
    let alike = |(one, other): (&Attribute<'_>, &Attribute<'_>)| {
        is_counter(one) && is_counter(other) || alike(one.value, other.value)
    };
    wanted.len() == found.len() && wanted.iter().zip(&found).all(alike)
}

fn is_counter(expression: &Attribute<'_>) -> bool {
    let attributes = checked(expression.value).unwrap_or_default();
    attributes.first().is_some_and(|name| name.kind == NFTA_EXPR_NAME && name.value == b"counter\0")
}

pub(super) fn alike(wanted: &[u8], found: &[u8]) -> bool {
    match (checked(wanted), checked(found)) {
        (Some(wanted), Some(found)) => lists_alike(&wanted, &found),
        _ => false,
    }
}

fn lists_alike(wanted: &[Attribute<'_>], found: &[Attribute<'_>]) -> bool {
    match (wanted, found) {
        ([], []) => true,
        ([one, wanted @ ..], [other, found @ ..]) if one.kind == other.kind => {
            // Not all of the kernel's that are nested say so.
            let same = match one.nested {
                true => alike(one.value, other.value),
                false => one.value == other.value,
            };
            same && lists_alike(wanted, found)
        }
        (_, [other, found @ ..]) if is_default(other) => lists_alike(wanted, found),
        ([one, wanted @ ..], _) if is_default(one) => lists_alike(wanted, found),
        _ => false,
    }
}

fn is_default(attribute: &Attribute<'_>) -> bool {
    let value = attribute.value;
    !attribute.nested && !value.is_empty() && value.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::expr::{self, Ip};
    use crate::rules::rule;
    use netlink_packet_netfilter::nftables::{Expressions, Lookup, Register};
    use proptest::prelude::*;

    #[test]
    fn a_rule_is_itself_and_no_other() {
        let rules = [
            rule::vmap_source(Ip::V4, "masq4"),
            rule::vmap_source(Ip::V4, "masq6"),
            rule::vmap_source(Ip::V6, "masq4"),
            rule::return_to("10.1.0.0/24".parse().unwrap()),
            rule::return_to("10.1.0.0/20".parse().unwrap()),
            rule::return_to("0.0.0.0/0".parse().unwrap()),
            rule::masquerade(),
            rule::drop_foreign_source("a", "b"),
            rule::drop_foreign_source("b", "a"),
        ];
        for (i, one) in rules.iter().enumerate() {
            for (j, other) in rules.iter().enumerate() {
                assert_eq!(same(one, &bytes(other)), i == j, "{one:?} {other:?}");
            }
            assert!(!same(one, &bytes(&one[1..].to_vec())));
            assert!(!same(&one[1..].to_vec(), &bytes(one)));
        }
    }

    #[test]
    fn defaults_that_only_some_kernels_dump_make_no_difference() {
        let rule = rule::vmap_source(Ip::V4, "masq4");
        let mut other = rule.clone();
        other[3] = expr::expr(Expressions::Lookup(vec![
            Lookup::Set("masq4".to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::DestinationRegister(Register::Verdict),
        ]));
        assert!(same(&rule, &bytes(&other)) && same(&other, &bytes(&rule)));
        let Some(lookup) = other.get_mut(3) else { panic!() };
        *lookup = expr::lookup("masq4", Register::Reg1, true);
        assert!(!same(&rule, &bytes(&other)), "inverted");
    }

    #[test]
    fn what_was_counted_makes_no_difference() {
        let rule = vec![expr::nat::counter(), expr::masquerade(false)];
        let mut found = bytes(&rule);
        let zero = found.windows(8).position(|word| word == [0; 8]).unwrap();
        found[zero + 7] = 1;
        assert!(same(&rule, &found));
        assert!(!same(&rule[1..].to_vec(), &found) && !same(&rule, &bytes(&rule[..1].to_vec())));
    }

    proptest! {
        #[test]
        fn noise_is_no_rule_of_ours(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!same(&rule::vmap_source(Ip::V4, "masq4"), &bytes));
            super::rule(&bytes);
        }
    }
}
