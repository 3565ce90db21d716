//! What of a peer's routes is not used, and why, with what to do.

use super::driver::Speaker;
use super::neighbor::Neighbor;
use super::report::UnusableReport;
use crate::clock::now;
use crate::report::Problem;
use bgp_speaker::codec::Update;
use bgp_speaker::rib::Via;
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use tracing::warn;

impl Neighbor {
    /// Logs what is wrong with an UPDATE, unless the last line was the same; all are counted.
    pub(super) fn note_faults(&mut self, update: &Update) {
        let Some(fault) = update.faults.first() else { return };
        let outcome = match update.treated_as_withdraw {
            true => "its routes are withdrawn",
            false if !update.disabled.is_empty() => "its family is disabled",
            false => "ignored",
        };
        let text = format!("an UPDATE is malformed, {outcome}: {}", update.faults.join("; "));
        if self.is_news(&text)
            && let Some(end) = self.lines.line()
        {
            warn!(peer = %self.config.address, "{text}{end}");
        }
        self.fault = Some(fault.clone());
        if !update.disabled.is_empty() {
            self.disabled_since = now();
        }
    }

    /// Families that are ignored in this session, and why, with the remedy.
    pub(super) fn disabled(&self) -> BTreeMap<String, String> {
        let up = self.session.established().is_some();
        let disabled = self.session.disabled().iter().filter(|_| up);
        let explain = |why: &String| {
            format!(
                "{why}: its routes of this family are ignored until the session is new; correct \
                 the next hop or the prefixes at the peer, then restart the session there"
            )
        };
        disabled.map(|(family, why)| (family.to_string(), explain(why))).collect()
    }

    /// The same as problems.
    pub(super) fn impaired(&self) -> Vec<Problem> {
        let problem = |(family, error): (String, String)| Problem {
            what: format!("{family} of bgp peer {}", self.config.address),
            error,
            since: self.disabled_since,
        };
        self.disabled().into_iter().map(problem).collect()
    }
}

/// Next hops of a peer that are reported as not used.
const SHOWN: usize = 100;

impl Speaker {
    /// Prefixes of a peer that are not used for their next hop.
    pub(super) fn unusable(&self, peer: IpAddr) -> Vec<UnusableReport> {
        let report = |(via, prefixes): (&Via, &BTreeSet<IpNetwork>)| {
            let example = *prefixes.first()?;
            let why = self.table.unusable(&self.bgp, self.rib.path(peer, &example)?)?;
            Some(UnusableReport {
                next_hop: via.address,
                prefixes: prefixes.len() as u64,
                example,
                why: why.to_string(),
            })
        };
        self.rib.by_next_hop(peer).filter_map(report).take(SHOWN).collect()
    }
}
