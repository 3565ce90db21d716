//! What every program has in nf_tables, as far as it decides whether pods' packets are forwarded and
//! translated: read, never changed.

use std::collections::BTreeMap;

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
};

use crate::Nft;
use crate::kernel::answer::{Answer, ChainState};
use crate::kernel::batch::POLICY_ACCEPT;
use crate::kernel::error::Result;
use crate::kernel::foreign::Foreign;
use crate::kernel::ruling::{Ruling, denial};

/// A table of any program, of the families `ip`, `ip6` and `inet`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenTable {
    /// `ip`, `ip6` or `inet`.
    pub family: &'static str,
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<SeenChain>,
}

/// A chain of any program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenChain {
    /// Its name.
    pub name: String,
    /// For a base chain where packets enter it, as `nft` names it: `forward`; otherwise empty.
    pub hook: &'static str,
    /// For a base chain its type: `filter`, `nat`, `route`.
    pub kind: String,
    /// A packet that none of its rules accepts is dropped, by its policy or by a last rule. Known of
    /// base chains of hook forward.
    pub denies: bool,
    /// Rules in it, and jumps to it.
    pub uses: u32,
    /// The expressions of each rule as bytes; read where the table has a base chain of hook forward
    /// or postrouting.
    pub rules: Vec<Vec<u8>>,
}

impl SeenTable {
    /// "ip filter", as `nft` prints it.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.family, self.name)
    }

    /// Whether a rule of it translates the source of packets: `masquerade`, or iptables' target.
    #[must_use]
    pub fn masquerades(&self) -> bool {
        self.mentions(b"masq\0") || self.mentions(b"MASQUERADE\0")
    }

    /// Whether a rule of it holds these bytes: a link's name, a network's address.
    #[must_use]
    pub fn mentions(&self, bytes: &[u8]) -> bool {
        let holds = |rule: &Vec<u8>| rule.windows(bytes.len().max(1)).any(|part| part == bytes);
        self.chains.iter().any(|chain| chain.rules.iter().any(holds))
    }
}

const FAMILIES: [(NetfilterProtoFamily, &str); 3] = [
    (NetfilterProtoFamily::IPv4, "ip"),
    (NetfilterProtoFamily::IPv6, "ip6"),
    (NetfilterProtoFamily::Inet, "inet"),
];

fn hook(state: &ChainState) -> &'static str {
    let number = state.hook.iter().find_map(|hook| match hook {
        Hook::Number(HookNumber::Inet(number)) => Some(*number),
        _ => None,
    });
    match number {
        Some(InetHookNumber::PreRouting) => "prerouting",
        Some(InetHookNumber::LocalIn) => "input",
        Some(InetHookNumber::Forward) => "forward",
        Some(InetHookNumber::LocalOut) => "output",
        Some(InetHookNumber::PostRouting) => "postrouting",
        Some(_) => "other",
        None => "",
    }
}

impl Nft {
    /// Every table of the families of IP with its chains, our own among them. Dumps: what changes
    /// meanwhile may be missed.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn survey(&mut self) -> Result<Vec<SeenTable>> {
        let mut tables = Vec::new();
        for (family, title) in FAMILIES {
            for (name, chains) in self.chains_by_table(family)? {
                let of = Foreign { family, name };
                let chains = self.seen_chains(&of, chains)?;
                tables.push(SeenTable { family: title, name: of.name, chains });
            }
        }
        Ok(tables)
    }

    fn chains_by_table(
        &mut self,
        family: NetfilterProtoFamily,
    ) -> Result<BTreeMap<String, Vec<ChainState>>> {
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let mut tables = BTreeMap::<String, Vec<ChainState>>::new();
        for answer in self.socket.dump("list chains", family, question)? {
            if let Answer::Chain(state) = answer {
                tables.entry(state.table.clone()).or_default().push(state);
            }
        }
        Ok(tables)
    }

    fn seen_chains(&mut self, of: &Foreign, states: Vec<ChainState>) -> Result<Vec<SeenChain>> {
        let concerns = |state: &ChainState| ["forward", "postrouting"].contains(&hook(state));
        let mut rules = match states.iter().any(concerns) {
            true => self.rules_by_chain(of)?,
            false => BTreeMap::new(),
        };
        let mut chains = Vec::new();
        for state in states {
            let name = state.name.clone().unwrap_or_default();
            let hook = hook(&state);
            let denies = hook == "forward" && self.denies(of, &state, &name)?;
            let rules = rules.remove(&name).unwrap_or_default();
            let kind = state.kind.unwrap_or_default();
            chains.push(SeenChain { name, hook, kind, denies, uses: state.uses, rules });
        }
        Ok(chains)
    }

    fn rules_by_chain(&mut self, of: &Foreign) -> Result<BTreeMap<String, Vec<Vec<u8>>>> {
        let attributes = vec![RuleAttribute::Table(of.name.clone())];
        let question = NfTablesMessage::GetRule(RuleMessage { attributes });
        let what = format!("list the rules of table {}", of.title());
        let mut chains = BTreeMap::<String, Vec<Vec<u8>>>::new();
        for (chain, rule) in self.socket.rules(&what, of.family, question)? {
            chains.entry(chain).or_default().push(rule);
        }
        Ok(chains)
    }

    fn denies(&mut self, of: &Foreign, state: &ChainState, name: &str) -> Result<bool> {
        if state.policy.is_some_and(|policy| policy != POLICY_ACCEPT) {
            return Ok(true);
        }
        let rules: Vec<Ruling> = self.rulings(of, name)?;
        Ok(denial(&rules, &mut |chain: &str| self.rulings(of, chain))?.is_some())
    }
}
