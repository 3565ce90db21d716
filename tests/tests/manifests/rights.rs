//! What RBAC grants beside what the code asks for.

use std::collections::BTreeSet;

use ferrule_tests::bins::workspace;
use serde_json::Value;

use crate::text::{of_kind, read};

/// A request of route-sync: role, API group, resource, verb, and the source that makes it, with a line of
/// it.
const USED: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("ClusterRole", "", "nodes", "list", PULL, "Call::get(\"list\", T::RESOURCE"),
    ("ClusterRole", "", "nodes", "watch", PULL, "Call::get(\"watch\", T::RESOURCE"),
    (
        "ClusterRole",
        "",
        "nodes/status",
        "patch",
        CONDITION,
        "verb: \"patch\", resource, part: \"status\"",
    ),
    ("Role", "events.k8s.io", "events", "create", EVENTS, "request(&client, \"create\""),
    ("Role", "events.k8s.io", "events", "patch", EVENTS, "request(&client, \"patch\""),
];
const PULL: &str = "crates/kube/src/watch/pull.rs";
const CONDITION: &str = "crates/kube/src/condition.rs";
const EVENTS: &str = "crates/kube/src/events.rs";

type Right = (String, String, String, String);

/// What the rules of a role grant.
fn granted(role: &str) -> BTreeSet<Right> {
    let document = of_kind(&read("ferrule.yaml"), role);
    let mut rights = BTreeSet::new();
    let (mut groups, mut resources) = (vec![], vec![]);
    for line in document.lines() {
        let Some((key, list)) = line.trim_start_matches([' ', '-']).split_once(": ") else {
            continue;
        };
        match key {
            "apiGroups" => groups = words(list),
            "resources" => resources = words(list),
            "verbs" => {
                for (group, resource) in
                    groups.iter().flat_map(|g| resources.iter().map(move |r| (g, r)))
                {
                    let right = |verb| (role.to_owned(), group.clone(), resource.clone(), verb);
                    rights.extend(words(list).into_iter().map(right));
                }
            }
            _ => {}
        }
    }
    rights
}

fn words(list: &str) -> Vec<String> {
    let list: Vec<Value> = serde_json::from_str(list).unwrap();
    list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_right_is_used_and_every_request_is_granted() {
    let granted: BTreeSet<Right> = ["ClusterRole", "Role"].into_iter().flat_map(granted).collect();
    let used = USED.iter().map(|(role, group, resource, verb, ..)| {
        ((*role).to_owned(), (*group).to_owned(), (*resource).to_owned(), (*verb).to_owned())
    });
    let used: BTreeSet<Right> = used.collect();
    let idle: Vec<&Right> = granted.difference(&used).collect();
    let missing: Vec<&Right> = used.difference(&granted).collect();
    assert!(
        idle.is_empty() && missing.is_empty(),
        "granted and unused: {idle:#?}, missing: {missing:#?}"
    );
    for (_, _, resource, verb, file, line) in USED {
        let source = std::fs::read_to_string(workspace().join(file)).unwrap();
        assert!(source.contains(line), "{verb} {resource}: {file} has no {line:?} any more");
    }
}
