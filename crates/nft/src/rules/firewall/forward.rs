//! The rules of ours in other programs' chains of hook forward.
//!
//! - iptables-nft's chain FORWARD in `ip filter` or `ip6 filter`, as the reference has it: first a
//!   jump to CNI-FORWARD, which jumps to the administrator's chain and then accepts what is marked.
//!   They are made where they do not exist.
//! - Any other base chain that denies what none of its rules accepted, by its policy or by a last
//!   rule: one rule before that, so that all rules of the chain's owner go first.
//!
//! ```text
//! table ip filter {
//!     chain FORWARD { type filter hook forward priority filter; policy drop;
//!         counter jump CNI-FORWARD comment "CNI firewall plugin rules"
//!     }
//!     chain CNI-FORWARD {
//!         counter jump CNI-ADMIN comment "CNI firewall plugin admin overrides"
//!         meta mark & 0x00001000 == 0x00001000 counter accept comment "ferrule.firewall: packets of pods"
//!     }
//!     chain CNI-ADMIN { }
//! }
//! ```

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    DataAttribute, Expressions, Immediate, Register, Verdict, VerdictAttribute,
};

use super::marks::{ACCEPT, is_marked};
use crate::Nft;
use crate::kernel::answer::ChainState;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::expr::nat::counter;
use crate::kernel::expr::{Ip, NF_ACCEPT, Rule, expr, verdict};
use crate::kernel::foreign::{At, Foreign};
use crate::kernel::ruling::{End, Ruling, denial};
use crate::rules::tables::INET;

pub(super) const FILTER: &str = "filter";
const FORWARD: &str = "FORWARD";
pub(super) const CNI_FORWARD: &str = "CNI-FORWARD";
// The reference's comments.
const TO_CNI: &str = "CNI firewall plugin rules";
const TO_ADMIN: &str = "CNI firewall plugin admin overrides";
/// The comment of our own rule.
const OURS: &str = "ferrule.firewall: packets of pods";
/// The tables of iptables-nft that have a chain FORWARD of type filter.
const OF_IPTABLES: [&str; 3] = ["filter", "mangle", "security"];

/// How a rule in a table of iptables-nft asks for the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By iptables' extension `mark`, which every iptables-nft can list. Of nf_tables' own expression
    /// 1.8.7 knows nothing: it lists and saves the rule as one that accepts every packet.
    Iptables,
    /// By nf_tables' own.
    Native,
}

/// How chains of others differ from what pods need.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) differences: Vec<String>,
    /// Why the kernel would refuse to change one.
    pub(super) refused: Option<String>,
}

fn jump(chain: &str) -> Rule {
    let to = vec![VerdictAttribute::Code(Verdict::Jump), VerdictAttribute::Chain(chain.to_owned())];
    let jump = Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(to)),
    ]);
    vec![counter(), expr(jump)]
}

/// `-m mark --mark 0x1000/0x1000`: struct xt_mark_mtinfo1 of revision 1, padded to 8 bytes.
fn is_marked_for_iptables() -> Rule {
    const NFTA_MATCH_NAME: u16 = 1;
    const NFTA_MATCH_REV: u16 = 2;
    const NFTA_MATCH_INFO: u16 = 3;
    let bits = ACCEPT.to_ne_bytes();
    let info = [&bits[..], &bits, &[0; 8]].concat();
    vec![expr(Expressions::Other {
        expression_type: "match".to_owned(),
        attributes: vec![
            DefaultNla::new(NFTA_MATCH_NAME, b"mark\0".to_vec()),
            DefaultNla::new(NFTA_MATCH_REV, 1_u32.to_be_bytes().to_vec()),
            DefaultNla::new(NFTA_MATCH_INFO, info),
        ],
    })]
}

fn accept_marked(form: Form) -> Rule {
    let mut rule = match form {
        Form::Iptables => is_marked_for_iptables(),
        Form::Native => is_marked(),
    };
    rule.extend([counter(), verdict(NF_ACCEPT)]);
    rule
}

fn is_ours(rule: &Ruling) -> bool {
    rule.comment.as_deref() == Some(OURS)
}

/// Whether a rule does what ours is for, in whichever form.
fn accepts_marked(rule: &Ruling) -> bool {
    let asks = rule.asks(&is_marked()) || rule.asks(&is_marked_for_iptables());
    asks && rule.end == End::Accept
}

/// Whether another program's base chain is one that is not looked at here.
fn is_apart(table: &Foreign, chain: &str) -> bool {
    let ours = table.family == INET.family && table.name == INET.name;
    let iptables = table.family != NetfilterProtoFamily::Inet && table.name == FILTER;
    ours || iptables && chain == FORWARD
}

fn form_in(table: &Foreign, form: Form) -> Form {
    let of_iptables =
        table.family != NetfilterProtoFamily::Inet && OF_IPTABLES.contains(&table.name.as_str());
    if of_iptables { form } else { Form::Native }
}

impl Nft {
    /// What is missing in chains of others for packets of a family; the batch gets what adds it.
    pub(super) fn forward_differences(
        &mut self,
        batch: &mut Batch,
        ip: Ip,
        admin: &str,
        form: Form,
    ) -> Result<Differences> {
        let mut found = Differences::default();
        self.iptables_differences(batch, &mut found, ip, admin, form)?;
        for (table, chain) in self.other_chains(ip)? {
            self.chain_denies(batch, &mut found, &table, &chain, form)?;
        }
        Ok(found)
    }

    /// The base chains of others by which forwarded packets of a family go, but iptables' FORWARD.
    fn other_chains(&mut self, ip: Ip) -> Result<Vec<(Foreign, ChainState)>> {
        let family = Foreign::of_iptables(ip, FILTER).family;
        let mut chains = Vec::new();
        for family in [family, NetfilterProtoFamily::Inet] {
            for state in self.forward_chains(family)? {
                let table = Foreign { family, name: state.table.clone() };
                let name = state.name.clone().unwrap_or_default();
                if !is_apart(&table, &name) {
                    chains.push((table, state));
                }
            }
        }
        Ok(chains)
    }

    fn iptables_differences(
        &mut self,
        batch: &mut Batch,
        found: &mut Differences,
        ip: Ip,
        admin: &str,
        form: Form,
    ) -> Result<()> {
        let table = Foreign::of_iptables(ip, FILTER);
        let title = table.title();
        let steps = batch.steps().len();
        let mut missing =
            |what: &str| found.differences.push(format!("{what} of table {title} is missing"));
        if !self.has_foreign_chain(&table, FORWARD)? {
            missing("chain FORWARD");
            batch.add_foreign_table(&table);
            batch.add_foreign_base_chain(&table, FORWARD);
        }
        for chain in [CNI_FORWARD, admin] {
            if !self.has_foreign_chain(&table, chain)? {
                missing(&format!("chain {chain}"));
                batch.add_foreign_chain(&table, chain);
            }
        }
        let rules = self.rulings(&table, CNI_FORWARD)?;
        let accepts = rules.iter().position(accepts_marked);
        let asks = rules.iter().position(|rule| rule.jumps_to(admin));
        if asks.is_none() || accepts < asks && accepts.is_some() {
            missing(&format!("the jump to {admin} at the head of chain {CNI_FORWARD}"));
            batch.add_foreign_rule(&table, CNI_FORWARD, At::First, (jump(admin), TO_ADMIN));
        }
        if accepts.is_none() {
            missing(&format!("our rule in chain {CNI_FORWARD}"));
            let rule = (accept_marked(form), OURS);
            batch.add_foreign_rule(&table, CNI_FORWARD, At::Last, rule);
        }
        self.jump_differences(batch, found, &table)?;
        if batch.steps().len() > steps {
            self.refusal(found, &table, FORWARD)?;
        }
        Ok(())
    }

    /// The jump to CNI-FORWARD must stand in FORWARD before whatever denies all.
    fn jump_differences(
        &mut self,
        batch: &mut Batch,
        found: &mut Differences,
        table: &Foreign,
    ) -> Result<()> {
        let rules = self.rulings(table, FORWARD)?;
        let at = rules.iter().position(|rule| rule.jumps_to(CNI_FORWARD));
        let before = &rules[..at.unwrap_or(0)];
        let denied = denial(before, &mut |chain| self.rulings(table, chain))?.is_some();
        if at.is_some() && !denied {
            return Ok(());
        }
        let title = table.title();
        found.differences.push(match at {
            None => {
                format!("the jump to {CNI_FORWARD} in chain {FORWARD} of table {title} is missing")
            }
            Some(_) => format!(
                "the jump to {CNI_FORWARD} in chain {FORWARD} of table {title} is never reached"
            ),
        });
        if let Some(rule) = at.and_then(|at| rules.get(at)) {
            batch.del_foreign_rule(table, FORWARD, rule.handle);
        }
        batch.add_foreign_rule(table, FORWARD, At::First, (jump(CNI_FORWARD), TO_CNI));
        Ok(())
    }

    /// Whether a base chain denies what none of its rules accepted, and our rule is not before that.
    fn chain_denies(
        &mut self,
        batch: &mut Batch,
        found: &mut Differences,
        table: &Foreign,
        state: &ChainState,
        form: Form,
    ) -> Result<()> {
        let chain = state.name.clone().unwrap_or_default();
        let rules = self.rulings(table, &chain)?;
        let denied = denial(&rules, &mut |chain| self.rulings(table, chain))?;
        let dropped = state.policy == Some(0);
        let (at, end) = match denied {
            Some(denied) => {
                (rules.get(denied).map_or(At::Last, |rule| At::Before(rule.handle)), denied)
            }
            None if dropped => (At::Last, rules.len()),
            None => return Ok(()),
        };
        if rules.iter().take(end).any(|rule| is_ours(rule) && accepts_marked(rule)) {
            return Ok(());
        }
        let title = table.title();
        found.differences.push(format!(
            "chain {chain} of table {title} denies what no rule accepts, and our rule in it is missing"
        ));
        for rule in rules.iter().filter(|rule| is_ours(rule)) {
            batch.del_foreign_rule(table, &chain, rule.handle);
        }
        let rule = (accept_marked(form_in(table, form)), OURS);
        batch.add_foreign_rule(table, &chain, at, rule);
        self.refusal(found, table, &chain)
    }

    /// A table with an owner is changed by its owner alone (nft_table_lookup, EPERM).
    fn refusal(&mut self, found: &mut Differences, table: &Foreign, chain: &str) -> Result<()> {
        let state = self.foreign_table(table)?;
        if let Some(owner) = state.and_then(|state| state.owner) {
            let title = table.title();
            found.refused = Some(format!(
                "chain {chain} of table {title} denies what pods forward, and process {owner} alone \
                 may change it (flag owner): have that program accept packets with the mark \
                 {ACCEPT:#x}/{ACCEPT:#x}, or the pods' subnet"
            ));
        }
        Ok(())
    }

    /// Adds to the batch what removes our rules from others' chains, and the reference's frame where
    /// nothing else is in it. The administrator's chain stays.
    pub(super) fn del_forward_rules(&mut self, batch: &mut Batch) -> Result<()> {
        for ip in [Ip::V4, Ip::V6] {
            let table = Foreign::of_iptables(ip, FILTER);
            let rules = self.rulings(&table, CNI_FORWARD)?;
            if rules.iter().any(is_ours) {
                self.del_cni_forward(batch, &table, &rules, &is_ours)?;
            }
        }
        let families =
            [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6, NetfilterProtoFamily::Inet];
        for family in families {
            for state in self.forward_chains(family)? {
                let table = Foreign { family, name: state.table };
                let chain = state.name.unwrap_or_default();
                if is_apart(&table, &chain) {
                    continue;
                }
                for rule in self.rulings(&table, &chain)?.iter().filter(|rule| is_ours(rule)) {
                    batch.del_foreign_rule(&table, &chain, rule.handle);
                }
            }
        }
        Ok(())
    }

    /// Removes rules of CNI-FORWARD, and the chain with the jump to it where no other rule is left
    /// but jumps to administrators' chains.
    pub(super) fn del_cni_forward(
        &mut self,
        batch: &mut Batch,
        table: &Foreign,
        rules: &[Ruling],
        ended: &dyn Fn(&Ruling) -> bool,
    ) -> Result<()> {
        if !rules.iter().all(|rule| ended(rule) || rule.jumps()) {
            for rule in rules.iter().filter(|rule| ended(rule)) {
                batch.del_foreign_rule(table, CNI_FORWARD, rule.handle);
            }
            return Ok(());
        }
        for rule in self.rulings(table, FORWARD)?.iter().filter(|r| r.jumps_to(CNI_FORWARD)) {
            batch.del_foreign_rule(table, FORWARD, rule.handle);
        }
        batch.del_foreign_chain(table, CNI_FORWARD);
        Ok(())
    }
}
