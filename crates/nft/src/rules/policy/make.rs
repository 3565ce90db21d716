//! Making the parts of the table that do not depend on any policy.

use super::chains;
use super::frame::{FAMILIES, FORWARD, names};
use crate::kernel::batch::Batch;
use crate::kernel::expr::Rule;
use crate::kernel::set::Set;

/// All sets and maps that are always there.
pub(crate) fn sets() -> impl Iterator<Item = Set<'static>> {
    FAMILIES.into_iter().flat_map(|family| {
        let names = names(family);
        [names.ingress, names.egress, names.own, names.cut, names.drops, names.trials]
    })
}

/// The regular chains that are always there, each with its rules.
pub(crate) fn regular() -> Vec<(&'static str, Vec<Rule>)> {
    let of_family = |family| {
        let names = names(family);
        [
            (names.new, chains::new(family)),
            (names.held, chains::held(family)),
            (names.denied, chains::denied(family)),
            (names.denied_icmp, chains::denied_icmp(family)),
            (names.tried, chains::tried(family)),
            (names.tried_icmp, chains::tried_icmp(family)),
        ]
    };
    FAMILIES.into_iter().flat_map(of_family).collect()
}

/// Adds all of it to a batch; parts of it may be there.
pub(crate) fn add(batch: &mut Batch) {
    batch.add_table();
    sets().for_each(|set| batch.add_set(&set));
    batch.add_base_chain(&FORWARD);
    let regular = regular();
    for (name, _) in &regular {
        batch.add_chain(name, "");
    }
    let forward = (FORWARD.name, chains::forward());
    for (name, rules) in regular.iter().chain([&forward]) {
        batch.flush_chain(name);
        batch.add_rules(name, rules);
    }
}
