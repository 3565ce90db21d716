//! The reference as oracle: every scenario of its own test suites for bridge, host-local, static, tuning,
//! portmap, bandwidth, firewall and sbr, run by ours and by the reference in every version of the specification that both speak. Any
//! difference in what can be seen fails, unless `differences` has a row for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod bandwidth;
mod bench;
mod bridge_config;
mod bridge_layer2;
mod bridge_layer3;
mod chained;
mod differences;
mod errors;
mod errors_policy_sync;
mod errors_route_sync;
mod firewall;
mod fixtures;
mod gc_status;
mod host_local;
mod host_local_config;
mod host_local_requests;
mod keys;
mod networkd;
mod nodes;
mod portmap;
mod sbr;
mod state;
mod static_ipam;
mod tuning;

use std::collections::BTreeSet;

/// A row that names no scenario excuses nothing, and would go unnoticed.
#[test]
fn every_row_belongs_to_a_scenario() {
    let all = [
        bandwidth::NAMES,
        bridge_config::NAMES,
        bridge_layer2::NAMES,
        bridge_layer3::NAMES,
        firewall::NAMES,
        gc_status::NAMES,
        host_local::NAMES,
        host_local_config::NAMES,
        host_local_requests::NAMES,
        portmap::NAMES,
        sbr::NAMES,
        static_ipam::NAMES,
        tuning::NAMES,
    ];
    let names: BTreeSet<&str> = all.into_iter().flatten().copied().collect();
    assert_eq!(names.len(), all.iter().map(|group| group.len()).sum::<usize>(), "a name twice");
    assert!(
        names.contains(differences::WITNESS),
        "no scenario has to use the rows of every scenario"
    );
    let rows = differences::DIFFERENCES.iter();
    let lost: Vec<_> = rows
        .filter(|row| row.scenario != differences::EVERY && !names.contains(row.scenario))
        .collect();
    assert!(lost.is_empty(), "rows of no scenario: {lost:#?}");
    let bare = differences::DIFFERENCES.iter().find(|row| row.reason.len() < 20);
    assert!(bare.is_none(), "a row without a reason: {bare:?}");
    // An answer that differs, or what is left, is right or wrong.
    let taste = |row: &&differences::Row| row.right == differences::Right::Either;
    let mut tastes = differences::DIFFERENCES.iter().filter(taste);
    let answer = tastes.find(|row| !row.at.contains("sysctls"));
    assert!(answer.is_none(), "either is right: {answer:?}");
}
