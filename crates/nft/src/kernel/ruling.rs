//! What a rule of another program does, as far as it matters where a rule of ours goes.

use netlink::{attributes, checked, find};

use crate::kernel::comment;
use crate::kernel::expr::Rule;
use crate::kernel::expr::bytes;
use crate::kernel::raw::alike;

const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// NFTA_MATCH_NAME and NFTA_TARGET_NAME.
const NFTA_EXTENSION_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;

// Verdicts (linux/netfilter.h, enum nft_verdicts).
const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;
const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
const NFT_RETURN: i32 = -5;

/// What becomes of a packet that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on, or something that this code does not know.
    Other,
    Accept,
    /// Dropped or rejected.
    Deny,
    /// Back to where the chain was entered from.
    Return,
    /// To a chain, and back.
    Jump(String),
    /// To a chain for good.
    Goto(String),
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) handle: u64,
    /// Of the rule, or of iptables' extension `comment`.
    pub(crate) comment: Option<String>,
    /// The expressions that a packet must match, as bytes; empty: every packet does.
    pub(crate) conditions: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Ruling {
    /// Of the attributes of a rule; None where these are none.
    pub(super) fn read(rule: &[u8]) -> Option<Ruling> {
        checked(rule)?;
        let handle = find(rule, NFTA_RULE_HANDLE)?.try_into().map(u64::from_be_bytes).ok()?;
        let own = find(rule, NFTA_RULE_USERDATA).and_then(comment::from_userdata);
        let mut ruling = Ruling { handle, comment: own, conditions: Vec::new(), end: End::Other };
        for (_, expression) in attributes(find(rule, NFTA_RULE_EXPRESSIONS).unwrap_or_default()) {
            ruling.take(expression);
        }
        Some(ruling)
    }

    fn take(&mut self, expression: &[u8]) {
        let data = find(expression, NFTA_EXPR_DATA).unwrap_or_default();
        match text(expression, NFTA_EXPR_NAME).as_str() {
            "counter" | "log" => {}
            "reject" => self.end = End::Deny,
            "immediate" => self.end = end(data),
            "target" => match text(data, NFTA_EXTENSION_NAME).as_str() {
                "REJECT" => self.end = End::Deny,
                "LOG" | "NFLOG" => {}
                _ => self.end = End::Other,
            },
            "match" if text(data, NFTA_EXTENSION_NAME) == "comment" => {
                self.comment.get_or_insert(text(data, NFTA_MATCH_INFO));
            }
            _ => self.conditions.push(expression.to_vec()),
        }
    }

    /// Whether a packet must match just what a rule asks for.
    pub(crate) fn asks(&self, rule: &Rule) -> bool {
        let wanted = bytes(rule);
        let wanted: Vec<_> = attributes(&wanted).map(|(_, expression)| expression).collect();
        let same = |(wanted, found): (&&[u8], &Vec<u8>)| alike(wanted, found);
        wanted.len() == self.conditions.len() && wanted.iter().zip(&self.conditions).all(same)
    }

    /// Where every packet goes that comes to this rule.
    fn always(&self) -> Option<&End> {
        self.conditions.is_empty().then_some(&self.end)
    }

    /// Whether every packet jumps to that chain.
    pub(crate) fn jumps_to(&self, chain: &str) -> bool {
        matches!(self.always(), Some(End::Jump(to)) if to == chain)
    }

    /// Whether every packet jumps to a chain.
    pub(crate) fn jumps(&self) -> bool {
        matches!(self.always(), Some(End::Jump(_)))
    }
}

/// A text that a NUL ends.
fn text(attributes: &[u8], kind: u16) -> String {
    let bytes = find(attributes, kind).unwrap_or_default();
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// What an expression `immediate` does, of its attributes.
fn end(data: &[u8]) -> End {
    let value = find(data, NFTA_IMMEDIATE_DATA).unwrap_or_default();
    let verdict = find(value, NFTA_DATA_VERDICT).unwrap_or_default();
    let code = find(verdict, NFTA_VERDICT_CODE).and_then(|code| code.try_into().ok());
    match code.map(i32::from_be_bytes) {
        Some(NF_DROP) => End::Deny,
        Some(NF_ACCEPT) => End::Accept,
        Some(NFT_RETURN) => End::Return,
        Some(NFT_JUMP) => End::Jump(text(verdict, NFTA_VERDICT_CHAIN)),
        Some(NFT_GOTO) => End::Goto(text(verdict, NFTA_VERDICT_CHAIN)),
        _ => End::Other,
    }
}

/// How deep chains may lead to each other (NFT_JUMP_STACK_SIZE).
const DEPTH: u32 = 16;

/// The first rule that denies every packet that comes to it, by itself or by the chain that it leads
/// to. `chain` gives a chain's rules.
pub(crate) fn denial<E>(
    rules: &[Ruling],
    chain: &mut dyn FnMut(&str) -> Result<Vec<Ruling>, E>,
) -> Result<Option<usize>, E> {
    denial_within(rules, chain, DEPTH)
}

fn denial_within<E>(
    rules: &[Ruling],
    chain: &mut dyn FnMut(&str) -> Result<Vec<Ruling>, E>,
    depth: u32,
) -> Result<Option<usize>, E> {
    for (i, rule) in rules.iter().enumerate() {
        let denies = match rule.always() {
            Some(End::Deny) => true,
            Some(End::Jump(to) | End::Goto(to)) if depth > 0 => {
                let inner = chain(to)?;
                !returns(&inner) && denial_within(&inner, chain, depth - 1)?.is_some()
            }
            // What comes behind is never reached.
            Some(End::Accept | End::Return) => return Ok(None),
            _ => false,
        };
        if denies {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Whether some packets may leave a chain before its end and go on behind it.
fn returns(rules: &[Ruling]) -> bool {
    let leaves = |rule: &Ruling| matches!(rule.end, End::Return | End::Goto(_));
    rules.iter().any(|rule| !rule.conditions.is_empty() && leaves(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(conditional: bool, end: End) -> Ruling {
        let conditions = if conditional { vec![vec![0]] } else { Vec::new() };
        Ruling { handle: 0, comment: None, conditions, end }
    }

    fn first(rules: &[Ruling]) -> Option<usize> {
        let mut chain = |name: &str| {
            Ok::<_, ()>(match name {
                "denies" => {
                    vec![rule(true, End::Accept), rule(true, End::Deny), rule(false, End::Deny)]
                }
                "returns" => vec![rule(true, End::Return), rule(false, End::Deny)],
                "itself" => vec![rule(false, End::Jump("itself".to_owned()))],
                _ => Vec::new(),
            })
        };
        denial(rules, &mut chain).unwrap()
    }

    #[test]
    fn a_rule_without_conditions_that_drops_denies_all() {
        let drops = [rule(true, End::Deny), rule(true, End::Accept), rule(false, End::Deny)];
        assert_eq!(first(&drops), Some(2));
        assert_eq!(first(&drops[..2]), None);
        assert_eq!(first(&[rule(false, End::Accept), rule(false, End::Deny)]), None);
        assert_eq!(first(&[rule(false, End::Other), rule(false, End::Deny)]), Some(1));
    }

    #[test]
    fn a_jump_to_a_chain_that_denies_all_denies_all() {
        let jump = |to: &str| rule(false, End::Jump(to.to_owned()));
        assert_eq!(first(&[jump("empty"), jump("denies")]), Some(1));
        assert_eq!(first(&[rule(true, End::Jump("denies".to_owned()))]), None);
        assert_eq!(first(&[jump("returns")]), None, "some packets come back");
        assert_eq!(first(&[jump("itself")]), None);
        assert_eq!(first(&[rule(false, End::Goto("denies".to_owned()))]), Some(0));
    }
}
