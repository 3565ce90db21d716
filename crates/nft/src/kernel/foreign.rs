//! Tables of other programs: the few changes that are made in them, and questions about them.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, InetHookNumber, NfTablesMessage, RuleAttribute,
    RuleMessage, TableAttribute, TableMessage,
};

use crate::Nft;
use crate::kernel::answer::{Answer, ChainState, TableState};
use crate::kernel::batch::{Batch, POLICY_ACCEPT, Step};
use crate::kernel::comment;
use crate::kernel::error::Result;
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::ruling::Ruling;

/// A table that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) family: NetfilterProtoFamily,
    pub(crate) name: String,
}

/// Where a rule goes in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    First,
    Last,
    /// Before the rule of that handle.
    Before(u64),
}

impl Foreign {
    /// A table that iptables-nft calls so.
    pub(crate) fn of_iptables(ip: Ip, name: &str) -> Foreign {
        let family = match ip {
            Ip::V4 => NetfilterProtoFamily::IPv4,
            Ip::V6 => NetfilterProtoFamily::IPv6,
        };
        Foreign { family, name: name.to_owned() }
    }

    /// "ip filter", as `nft` prints it.
    pub(crate) fn title(&self) -> String {
        let family = match self.family {
            NetfilterProtoFamily::IPv4 => "ip",
            NetfilterProtoFamily::IPv6 => "ip6",
            _ => "inet",
        };
        format!("{family} {}", self.name)
    }

    fn in_chain(&self, chain: &str) -> Vec<RuleAttribute> {
        vec![RuleAttribute::Table(self.name.clone()), RuleAttribute::Chain(chain.to_owned())]
    }

    fn chain(&self, chain: &str) -> Vec<ChainAttribute> {
        vec![ChainAttribute::Table(self.name.clone()), ChainAttribute::Name(chain.to_owned())]
    }
}

impl Batch {
    fn elsewhere(&mut self, of: &Foreign, what: String, flags: u16, message: NfTablesMessage) {
        let elsewhere = Some((of.family, of.title()));
        self.push_step(Step { what: what.into(), elsewhere, flags, message });
    }

    /// Adds a table as iptables-nft does; it may exist.
    pub(crate) fn add_foreign_table(&mut self, table: &Foreign) {
        let attributes = vec![TableAttribute::Name(table.name.clone())];
        let message = NfTablesMessage::NewTable(TableMessage { attributes });
        self.elsewhere(table, "add the table".to_owned(), NLM_F_CREATE, message);
    }

    /// Adds iptables' chain FORWARD.
    pub(crate) fn add_foreign_base_chain(&mut self, table: &Foreign, chain: &str) {
        let hook = vec![Hook::Number(HookNumber::Inet(InetHookNumber::Forward)), Hook::Priority(0)];
        let mut attributes = table.chain(chain);
        attributes.extend([
            ChainAttribute::Hook(hook),
            ChainAttribute::Policy(POLICY_ACCEPT),
            ChainAttribute::Type("filter".to_owned()),
        ]);
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        self.elsewhere(table, format!("add chain {chain}"), NLM_F_CREATE, message);
    }

    /// Adds a chain; it may exist.
    pub(crate) fn add_foreign_chain(&mut self, table: &Foreign, chain: &str) {
        let attributes = table.chain(chain);
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        self.elsewhere(table, format!("add chain {chain}"), NLM_F_CREATE, message);
    }

    /// Deletes a chain with its rules; EBUSY when something jumps to it.
    pub(crate) fn del_foreign_chain(&mut self, table: &Foreign, chain: &str) {
        let attributes = table.chain(chain);
        let message = NfTablesMessage::DeleteChain(ChainMessage { attributes });
        self.elsewhere(table, format!("delete chain {chain}"), 0, message);
    }

    /// Adds a rule with a comment.
    pub(crate) fn add_foreign_rule(
        &mut self,
        table: &Foreign,
        chain: &str,
        at: At,
        (rule, text): (Rule, &str),
    ) {
        let mut attributes = table.in_chain(chain);
        attributes.push(RuleAttribute::Expressions(rule));
        attributes.push(RuleAttribute::UserData(comment::to_userdata(text)));
        if let At::Before(handle) = at {
            attributes.push(RuleAttribute::Position(handle));
        }
        let append = if at == At::Last { NLM_F_APPEND } else { 0 };
        let message = NfTablesMessage::NewRule(RuleMessage { attributes });
        let what = format!("add rule to chain {chain}");
        self.elsewhere(table, what, NLM_F_CREATE | append, message);
    }

    /// Deletes one rule.
    pub(crate) fn del_foreign_rule(&mut self, table: &Foreign, chain: &str, handle: u64) {
        let mut attributes = table.in_chain(chain);
        attributes.push(RuleAttribute::Handle(handle));
        let message = NfTablesMessage::DeleteRule(RuleMessage { attributes });
        self.elsewhere(table, format!("delete rule {handle} of chain {chain}"), 0, message);
    }
}

impl Nft {
    /// The base chains of a family by which forwarded packets go. A dump, as [`Self::chains`].
    pub(crate) fn forward_chains(
        &mut self,
        family: NetfilterProtoFamily,
    ) -> Result<Vec<ChainState>> {
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let dump = self.socket.dump("list the chains of hook forward", family, question)?;
        let forward = Hook::Number(HookNumber::Inet(InetHookNumber::Forward));
        let chains = dump.into_iter().filter_map(|answer| match answer {
            Answer::Chain(state) => Some(state).filter(|state| state.hook.contains(&forward)),
            _ => None,
        });
        Ok(chains.collect())
    }

    /// What the rules of a chain do; none when it does not exist. A dump.
    pub(crate) fn rulings(&mut self, table: &Foreign, chain: &str) -> Result<Vec<Ruling>> {
        let what = format!("list chain {chain} of table {}", table.title());
        let attributes = table.in_chain(chain);
        let question = NfTablesMessage::GetRule(RuleMessage { attributes });
        self.socket.rulings(&what, table.family, question)
    }

    pub(crate) fn foreign_table(&mut self, table: &Foreign) -> Result<Option<TableState>> {
        let what = format!("look up table {}", table.title());
        let attributes = vec![TableAttribute::Name(table.name.clone())];
        let question = NfTablesMessage::GetTable(TableMessage { attributes });
        Ok(match self.socket.get(&what, table.family, question)? {
            Some(Answer::Table(state)) => Some(state),
            _ => None,
        })
    }

    pub(crate) fn has_foreign_chain(&mut self, table: &Foreign, chain: &str) -> Result<bool> {
        let what = format!("look up chain {chain} of table {}", table.title());
        let attributes = table.chain(chain);
        let question = NfTablesMessage::GetChain(ChainMessage { attributes });
        Ok(self.socket.get(&what, table.family, question)?.is_some())
    }
}
