//! `status` as tables.

use crate::report::{DropReport, PodReport, Report};
use daemon::table::{columns, plain};
use std::fmt::Write;

/// Whether all is as it should be.
pub fn is_well(report: &Report) -> bool {
    report.synced && report.problems.is_empty()
}

/// A report for people.
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    let state = match (report.synced, report.missing.as_slice()) {
        (true, _) => "in force".to_owned(),
        (false, []) => "not in force: see the problems".to_owned(),
        (false, missing) => format!("waiting for {}", missing.join(", ")),
    };
    // Writing to a String never fails.
    let _ =
        writeln!(text, "node {}, source {}: {state}", plain(&report.node), plain(&report.source));
    let [profiles, sets, elements] = report.objects;
    let _ = writeln!(
        text,
        "{} policies, {} pods, {} of them here; {profiles} chains, {sets} sets, {elements} elements; \
         strict {}",
        report.policies,
        report.pods,
        report.local.len(),
        if report.strict { "on" } else { "off" },
    );
    if report.held > 0 {
        let _ = writeln!(text, "{} addresses are held until their pod is known", report.held);
    }
    let restricted = |pod: &&PodReport| !(pod.ingress.is_empty() && pod.egress.is_empty());
    let head = ["POD", "ADDRESSES", "INGRESS", "EGRESS"].map(str::to_owned);
    let list = |names: &[String]| match names {
        [] => "open".to_owned(),
        all => plain(&all.join(", ")),
    };
    let rows = report.local.iter().filter(restricted).map(|pod| {
        [plain(&pod.name), pod.addresses.join(" "), list(&pod.ingress), list(&pod.egress)]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    if rows.len() > 1 {
        text.push('\n');
        columns(&mut text, rows.iter());
    }
    for problem in &report.problems {
        let _ = writeln!(text, "problem: {}", plain(problem));
    }
    text
}

/// What was dropped, for people.
pub fn drops(drops: &[DropReport]) -> String {
    if drops.is_empty() {
        return "nothing was dropped in the last ten minutes\n".to_owned();
    }
    let head = ["PACKETS", "FLOW", "FROM", "TO", "WHY"].map(str::to_owned);
    let rows = drops.iter().map(|it| {
        let reason = if it.dry_run { format!("dry run, {}", it.reason) } else { it.reason.clone() };
        [
            it.packets.to_string(),
            it.what.clone(),
            plain(&it.source),
            plain(&it.destination),
            plain(&reason),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let mut text = String::new();
    columns(&mut text, rows.iter());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_page() {
        let pod = |name: &str, ingress: &[&str]| PodReport {
            name: name.to_owned(),
            addresses: vec!["10.0.0.1".to_owned()],
            ingress: ingress.iter().map(|it| (*it).to_owned()).collect(),
            egress: Vec::new(),
        };
        let report = Report {
            node: "n1".to_owned(),
            source: "kubernetes".to_owned(),
            synced: true,
            strict: true,
            pods: 3,
            policies: 1,
            local: vec![pod("shop/web", &["NetworkPolicy shop/web"]), pod("shop/db", &[])],
            objects: [2, 3, 4],
            problems: vec!["it is late".to_owned()],
            ..Report::default()
        };
        let expected = "\
node n1, source kubernetes: in force
1 policies, 3 pods, 2 of them here; 2 chains, 3 sets, 4 elements; strict on

POD       ADDRESSES  INGRESS                 EGRESS
shop/web  10.0.0.1   NetworkPolicy shop/web  open
problem: it is late
";
        assert_eq!(table(&report), expected);
        assert!(!is_well(&report));
        let waiting = Report { missing: vec!["pods".to_owned()], ..Report::default() };
        assert!(table(&waiting).contains("waiting for pods"));
    }

    #[test]
    fn drops_are_a_table() {
        assert!(drops(&[]).starts_with("nothing was dropped"));
        let dropped = DropReport {
            source: "10.0.0.1 (pod a/b)".to_owned(),
            destination: "10.0.0.2 (no pod)".to_owned(),
            what: "TCP 80".to_owned(),
            packets: 7,
            reason: "egress: no rule".to_owned(),
            dry_run: true,
        };
        let text = drops(&[dropped]);
        assert!(
            text.ends_with(
                "7        TCP 80  10.0.0.1 (pod a/b)  10.0.0.2 (no pod)  dry run, egress: no rule\n"
            ),
            "{text}"
        );
    }
}
