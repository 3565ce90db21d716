//! route-sync, as it sees itself.

use super::tunnel::is_duplicate;
use crate::check::Check;
use crate::facts::Facts;
use crate::facts::daemon::{CONFIG, Status};
use crate::finding::Finding;
use crate::output::age;
use node::Keeper;
use std::time::{SystemTime, UNIX_EPOCH};

/// No daemon.
pub const DOWN: Check = Check {
    id: "route-sync-down",
    symptom: "Pods of nodes that joined lately cannot be reached, or new pods do not start on this node",
    cause: "route-sync does not run, or hangs. The routes that it made stay, and no node that joins or leaves is followed.",
    remedy: "Start it: `systemctl restart route-sync`, and read its log: `journalctl -u route-sync`.",
    run: down,
};

fn down(facts: &Facts) -> Vec<Finding> {
    let daemon = &facts.daemon;
    let because = if daemon.configured {
        format!("the node has {CONFIG}")
    } else {
        "the node has node.json, which a daemon wrote".to_owned()
    };
    let finding = match &daemon.keeper {
        _ if !daemon.is_expected() => return vec![],
        Ok(Keeper::Lives) | Err(_) => return vec![],
        Ok(Keeper::Hangs) => Finding::certain("route-sync holds its lock and does not answer")
            .because("it was asked on its socket and said nothing for 3 seconds"),
        Ok(Keeper::Left) => {
            Finding::certain("route-sync does not run; it ended less than an hour ago")
        }
        Ok(Keeper::Gone) => Finding::certain("route-sync does not run"),
    };
    vec![
        finding
            .because(because)
            .mend("systemctl restart route-sync")
            .mend("journalctl -u route-sync -n 50"),
    ]
}

/// Symptom 4.
pub const NO_POD_CIDR: Check = Check {
    id: "no-pod-cidr",
    symptom: "New pods do not start on this node: it has no range for pods (podCIDR)",
    cause: "The node set does not list this node, or lists it without a pod CIDR. In Kubernetes the controller manager \
            gives each Node its podCIDR, if it runs with --allocate-node-cidrs and --cluster-cidr.",
    remedy: "Give the node a pod CIDR: in the node list, or by `kubeadm init --pod-network-cidr`, or by the controller \
             manager's flags --allocate-node-cidrs=true --cluster-cidr=RANGE.",
    run: no_pod_cidr,
};

fn no_pod_cidr(facts: &Facts) -> Vec<Finding> {
    let Some(status) = facts.daemon.status() else { return vec![] };
    let is_local = status.cidrs.iter().any(|entry| entry.path == "local");
    if is_local || status.source.since.is_none() || !facts.daemon.pod_cidrs().is_empty() {
        return vec![];
    }
    let finding = Finding::certain(format!("node {} has no pod CIDR", status.node)).because(
        format!("the source is {}, with {} nodes", status.source.name, status.source.nodes),
    );
    let own = format!("node {}", status.node);
    let why = status.problems.iter().filter(|problem| problem.what == own);
    let finding = why.fold(finding, |finding, problem| {
        finding.because(format!("route-sync: {}", problem.error))
    });
    vec![finding
        .mend(format!("give {} pod-cidrs in the node list, or its Node object a podCIDR", status.node))
        .mend("of Kubernetes: kube-controller-manager --allocate-node-cidrs=true --cluster-cidr=RANGE")]
}

/// Symptom 25.
pub const SOURCE: Check = Check {
    id: "source-lost",
    symptom: "Nodes that joined or left are not followed: the token expired, the clock is wrong, the API server is gone",
    cause: "The source of the node set fails: a file with errors, or an API server that does not answer or refuses. The \
            last good set stays in force.",
    remedy: "Mend what the error names: the file, the network to the API server, the clock, the service account's token.",
    run: source,
};

fn source(facts: &Facts) -> Vec<Finding> {
    let Some(status) = facts.daemon.status() else { return vec![] };
    let Some(error) = &status.source.error else { return vec![] };
    let what = format!("the source of the node set fails: {}", status.source.name);
    let finding = Finding::certain(what).because(error.clone());
    let finding = match status.source.since {
        Some(since) => finding
            .because(format!("the set in force came {} ago", age(now().saturating_sub(since)))),
        None => finding.because("it has sent no set since the start"),
    };
    let finding =
        if status.source.kept { finding.because("the set is an earlier run's") } else { finding };
    vec![finding.mend("route-sync status   # after mending it: the line \"failing\" is gone")]
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// What no other check explains.
pub const PROBLEMS: Check = Check {
    id: "route-sync-problems",
    symptom: "Pods of some nodes cannot be reached",
    cause: "route-sync cannot install a route, a device or a rule, or the node set contradicts itself. It says why, and \
            tries again with growing pauses.",
    remedy: "Do what each line says; `route-sync status` shows all of them.",
    run: problems,
};

fn problems(facts: &Facts) -> Vec<Finding> {
    let Some(status) = facts.daemon.status() else { return vec![] };
    let finding = |what: String, error: &str| {
        Finding::certain(what).because(format!("route-sync: {error}")).mend("route-sync status")
    };
    let wrong =
        status.problems.iter().filter(|problem| !is_told(status, &problem.what, &problem.error));
    let wrong = wrong.map(|problem| {
        finding(format!("route-sync reports a problem of {}", problem.what), &problem.error)
    });
    let entries = status.cidrs.iter().filter(|entry| entry.state != "synced");
    let entries = entries.map(|entry| {
        let of =
            if entry.node.is_empty() { "BGP".to_owned() } else { format!("node {}", entry.node) };
        let what = format!("the route to {} of {of} is {}", entry.cidr, entry.state);
        finding(what, entry.error.as_deref().unwrap_or("no reason"))
    });
    wrong.chain(entries).collect()
}

/// Another check tells of it.
fn is_told(status: &Status, what: &str, error: &str) -> bool {
    what.starts_with("pods of node ") || is_duplicate(error) || {
        let has_no_cidr = !status.cidrs.iter().any(|entry| entry.path == "local");
        has_no_cidr && what == format!("node {}", status.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::daemon::{Entry, Problem};
    use crate::facts::nothing;

    fn with(status: Status) -> Facts {
        let mut facts = nothing();
        facts.daemon.status = Ok(Some(status));
        facts.daemon.keeper = Ok(Keeper::Lives);
        facts
    }

    fn local() -> Entry {
        Entry {
            node: "one".to_owned(),
            cidr: "10.244.1.0/24".parse().unwrap(),
            path: "local".to_owned(),
            via: None,
            state: "synced".to_owned(),
            error: None,
        }
    }

    #[test]
    fn a_daemon_that_is_expected_and_gone_is_told() {
        let mut facts = nothing();
        assert_eq!(down(&facts), []);
        facts.daemon.configured = true;
        assert_eq!(down(&facts)[0].what, "route-sync does not run");
        facts.daemon.keeper = Ok(Keeper::Hangs);
        assert_eq!(down(&facts)[0].what, "route-sync holds its lock and does not answer");
        facts.daemon.keeper = Ok(Keeper::Lives);
        assert_eq!(down(&facts), []);
    }

    #[test]
    fn a_node_that_the_set_does_not_list_is_told() {
        let mut status = Status { node: "one".to_owned(), ..Status::default() };
        assert_eq!(no_pod_cidr(&with(status.clone())), [], "the source has sent nothing yet");
        status.source.since = Some(1);
        let problem = Problem { what: "node one".to_owned(), error: "not in the set".to_owned() };
        status.problems = vec![problem];
        let found = no_pod_cidr(&with(status.clone()));
        assert_eq!(found[0].what, "node one has no pod CIDR");
        assert_eq!(found[0].evidence[1], "route-sync: not in the set");
        assert_eq!(problems(&with(status.clone())), [], "told once");
        status.cidrs = vec![local()];
        assert_eq!(no_pod_cidr(&with(status)), []);
    }

    #[test]
    fn a_source_that_fails_is_told() {
        let mut status = Status::default();
        assert_eq!(source(&with(status.clone())), []);
        status.source.error = Some("401 Unauthorized".to_owned());
        assert_eq!(source(&with(status))[0].evidence[0], "401 Unauthorized");
    }

    #[test]
    fn entries_and_problems_are_told_in_route_syncs_words() {
        let refused =
            Entry { state: "refused".to_owned(), error: Some("it overlaps".to_owned()), ..local() };
        let problem = Problem { what: "nftables".to_owned(), error: "no".to_owned() };
        let status =
            Status { cidrs: vec![local(), refused], problems: vec![problem], ..Status::default() };
        let found: Vec<String> = problems(&with(status)).into_iter().map(|one| one.what).collect();
        assert_eq!(
            found,
            [
                "route-sync reports a problem of nftables",
                "the route to 10.244.1.0/24 of node one is refused"
            ]
        );
    }
}
