use super::*;
use crate::report::{Path, Problem, SourceReport};
use proptest::prelude::*;

/// The frozen JSON: scripts read these fields. Add to them; change and remove none.
const FIXTURE: &str = include_str!("../../fixtures/status.json");

/// A report with every kind of path and state.
pub(crate) fn report() -> Report {
    let entry =
        |node: &str, cidr: &str, path, via: Option<&str>, state, error: Option<&str>| Entry {
            node: node.to_owned(),
            cidr: cidr.parse().unwrap(),
            path,
            via: via.map(|via| via.parse().unwrap()),
            state,
            since: 1_700_000_000,
            error: error.map(str::to_owned),
        };
    let (synced, other) = (State::Synced, Some("192.0.2.13"));
    let refused = "it overlaps 10.244.2.0/24 of worker-2; give each node CIDRs of its own";
    Report {
        version: "0.1.0".to_owned(),
        node: "worker-1".to_owned(),
        mode: "auto".to_owned(),
        synced: true,
        source: SourceReport {
            name: "file /etc/ferrule/nodes.toml".to_owned(),
            nodes: 4,
            since: Some(1_700_000_000),
            kept: false,
            error: Some("line 3: unknown field `typo`".to_owned()),
        },
        cidrs: vec![
            entry("worker-1", "10.244.1.0/24", Path::Local, None, synced, None),
            entry("worker-2", "10.244.2.0/24", Path::Direct, Some("192.0.2.12"), synced, None),
            entry("worker-3", "10.244.3.0/24", Path::Vxlan, other, State::Failing, Some("EINVAL")),
            entry("worker-3", "fd00:10:244:3::/64", Path::Vxlan, other, State::Conflict, Some("x")),
            entry("worker-4", "10.244.2.0/25", Path::None, None, State::Refused, Some(refused)),
        ],
        problems: vec![Problem {
            what: "vxlan fvxlan.100".to_owned(),
            error: "vxlan.calico holds VNI 100 and port 4789".to_owned(),
            since: 1_700_000_060,
        }],
        remarks: vec!["masquerade is off".to_owned()],
        probe: None,
        conflist: None,
    }
}

#[test]
fn the_fields_of_the_json_are_frozen() {
    let fixture: serde_json::Value = serde_json::from_str(FIXTURE).unwrap();
    assert_eq!(serde_json::to_value(report()).unwrap(), fixture);
    assert_eq!(serde_json::from_str::<Report>(FIXTURE).unwrap(), report());
}

#[test]
fn the_table_is_aligned() {
    let expected = "\
node     worker-1 (route-sync 0.1.0)
mode     auto
source   file /etc/ferrule/nodes.toml: 4 nodes for 2h05m
         failing: line 3: unknown field `typo`
synced   yes
remark   masquerade is off

NODE      CIDR                PATH                  STATE     SINCE  LAST ERROR
worker-1  10.244.1.0/24       local                 synced    2h05m  -
worker-2  10.244.2.0/24       direct via 192.0.2.12  synced    2h05m  -
worker-3  10.244.3.0/24       vxlan via 192.0.2.13  failing   2h05m  EINVAL
worker-3  fd00:10:244:3::/64  vxlan via 192.0.2.13  conflict  2h05m  x
worker-4  10.244.2.0/25       none                  refused   2h05m  it overlaps 10.244.2.0/24 of worker-2; give each node CIDRs of its own

PROBLEM           SINCE  ERROR
vxlan fvxlan.100  2h04m  vxlan.calico holds VNI 100 and port 4789
";
    let expected = expected
        .replace("local                 ", "local                  ")
        .replace("192.0.2.13  ", "192.0.2.13   ")
        .replace("none                  ", "none                   ")
        .replace("PATH                  ", "PATH                   ");
    assert_eq!(table(&report(), 1_700_000_000 + 7500), expected);
}

#[test]
fn anything_amiss_is_not_well() {
    let mut well = report();
    well.cidrs.truncate(2);
    well.problems.clear();
    well.source.error = None;
    assert!(is_well(&well));
    assert!(!is_well(&Report { synced: false, ..well.clone() }));
    assert!(!is_well(&Report { problems: report().problems, ..well.clone() }));
    assert!(!is_well(&Report { source: report().source, ..well.clone() }));
    for entry in report().cidrs.split_off(2) {
        assert!(!is_well(&Report { cidrs: vec![entry], ..well.clone() }));
    }
}

proptest! {
    #[test]
    fn any_report_is_a_table(
        texts in prop::collection::vec(any::<String>(), 5),
        node in any::<String>(),
        since in any::<u64>(),
        now in any::<u64>(),
        synced in any::<bool>(),
        count in 0_usize..5,
    ) {
        let mut report = report();
        report.synced = synced;
        report.source.since = synced.then_some(since);
        report.source.name.clone_from(&texts[1]);
        report.cidrs.truncate(count);
        for entry in &mut report.cidrs {
            entry.node.clone_from(&node);
            entry.since = since;
            entry.error = Some(texts[2].clone());
        }
        report.problems[0].what.clone_from(&texts[3]);
        report.problems[0].error.clone_from(&texts[4]);
        let lines = table(&report, now).split('\n').count();
        prop_assert_eq!(lines, 10 + if count > 0 { count + 2 } else { 0 });
    }
}
