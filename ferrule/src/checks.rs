//! Every check, and what they find together.

mod addresses;
mod attachments;
mod configuration;
mod conntrack;
mod daemon;
mod forwarding;
mod others;
mod routes;
mod services;
mod tunnel;

use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;

/// Whether another program's chains drop what pods send.
pub const FORWARD_DROPS: Check = forwarding::DROPS;

/// All checks, in the order in which a pod's life depends on what they look at.
pub const ALL: &[Check] = &[
    configuration::CONFLIST,
    configuration::OTHER_FIRST,
    configuration::EXECUTABLES,
    daemon::DOWN,
    daemon::NO_POD_CIDR,
    daemon::SOURCE,
    addresses::EXHAUSTED,
    addresses::BRIDGE_ADDRESS,
    addresses::OVERLAP,
    addresses::FOREIGN_ADDRESS,
    attachments::ORPHANS,
    attachments::LOST_RULES,
    forwarding::SWITCHES,
    forwarding::DROPS,
    forwarding::ONE_WAY,
    routes::MASQUERADE,
    routes::STALE,
    routes::SILENT,
    routes::NETWORKD,
    tunnel::DUPLICATE,
    tunnel::TAKEN,
    tunnel::MTU,
    tunnel::CHECKSUMS,
    services::SAME_NODE,
    services::DEAD_POD,
    conntrack::FULL,
    conntrack::INSERT_FAILED,
    others::MIXED_IPTABLES,
    others::LEFTOVERS,
    daemon::PROBLEMS,
];

/// What every check finds, the most certain first.
#[must_use]
pub fn run(facts: &Facts) -> Vec<(&'static Check, Finding)> {
    let of = |check: &'static Check| (check.run)(facts).into_iter().map(move |one| (check, one));
    let mut found: Vec<(&Check, Finding)> = ALL.iter().flat_map(of).collect();
    found.sort_by_key(|(_, finding)| finding.certainty);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::nothing;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_texts_are_sentences() {
        let names: BTreeSet<&str> = ALL.iter().map(|check| check.id).collect();
        assert_eq!(names.len(), ALL.len());
        for check in ALL {
            assert!(check.cause.ends_with('.') && check.remedy.ends_with('.'), "{}", check.id);
            assert!(!check.symptom.ends_with('.'), "{}", check.id);
        }
    }

    #[test]
    fn a_node_without_a_network_is_told_so_alone() {
        let found = run(&nothing());
        let ids: Vec<&str> = found.iter().map(|(check, _)| check.id).collect();
        assert_eq!(ids, ["conflist"]);
    }

    #[test]
    fn what_could_not_be_read_is_no_finding() {
        let mut facts = nothing();
        let unread = || Err("no".to_owned());
        facts.conflists = unread().map(|()| vec![]);
        facts.network = unread().map(|()| crate::facts::kernel::Network::default());
        facts.filter = unread().map(|()| crate::facts::filter::Filter::default());
        facts.records = unread().map(|()| vec![]);
        facts.leases = unread().map(|()| vec![]);
        facts.flows = unread().map(|()| vec![]);
        facts.release = Err("no".to_owned());
        facts.daemon.node = unread().map(|()| None);
        assert!(run(&facts).is_empty());
        assert!(facts.unread().len() > 5);
    }
}
