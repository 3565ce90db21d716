//! Which Events the daemon's report is worth: a pure function of it.

use crate::report::{Entry, Problem, Report, State};
use kube_source::events::{Occurrence, Regarding};

/// What is wrong, as Events; what is only slow or in between is none.
pub(super) fn occurrences(report: &Report, regarding: &Regarding) -> Vec<Occurrence> {
    let event = |reason: &str, note: String| Occurrence {
        regarding: regarding.clone(),
        warning: true,
        reason: reason.to_owned(),
        action: "SyncRoutes".to_owned(),
        note,
    };
    let of_cidrs = report.cidrs.iter().filter_map(|entry| {
        let reason = reason_of_cidr(entry)?;
        let error = entry.error.as_deref().unwrap_or("no reason is known");
        Some(event(reason, format!("{} of node {}: {error}", entry.cidr, entry.node)))
    });
    let of_problems = report.problems.iter().map(|problem| {
        event(reason_of_problem(problem), format!("{}: {}", problem.what, problem.error))
    });
    of_cidrs.chain(of_problems).collect()
}

fn reason_of_cidr(entry: &Entry) -> Option<&'static str> {
    match entry.state {
        State::Synced => None,
        State::Refused => Some("PodCIDRRefused"),
        State::Conflict => Some("RouteConflict"),
        State::Failing => Some("RouteFailed"),
    }
}

fn reason_of_problem(problem: &Problem) -> &'static str {
    let about = |beginnings: &[&str]| beginnings.iter().any(|it| problem.what.starts_with(it));
    if about(&["node "]) {
        "NodeRefused"
    } else if about(&["pods of node ", "BGP peer ", "bgp peer "]) {
        "PeerUnreachable"
    } else if about(&["conflist", "executables", "other networks"]) {
        "RuntimeNetwork"
    } else {
        "NetworkProblem"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::report;

    #[test]
    fn what_is_wrong_is_an_event_with_its_remedy() {
        let regarding = Regarding::node("worker-1", "uid-1");
        let mut report = report();
        let problem =
            |what: &str| Problem { what: what.to_owned(), error: "x".to_owned(), since: 0 };
        report.problems.extend(["node worker-7", "pods of node worker-8", "conflist"].map(problem));
        let events = occurrences(&report, &regarding);
        let reasons: Vec<&str> = events.iter().map(|event| event.reason.as_str()).collect();
        assert_eq!(
            reasons,
            [
                "RouteFailed",
                "RouteConflict",
                "PodCIDRRefused",
                "NetworkProblem",
                "NodeRefused",
                "PeerUnreachable",
                "RuntimeNetwork",
            ]
        );
        assert_eq!(
            events[2].note,
            "10.244.2.0/25 of node worker-4: it overlaps 10.244.2.0/24 of worker-2; give each node \
             CIDRs of its own"
        );
        assert!(events.iter().all(|event| event.warning && event.regarding == regarding));
        report.cidrs.clear();
        report.problems.clear();
        assert_eq!(occurrences(&report, &regarding), []);
    }
}
