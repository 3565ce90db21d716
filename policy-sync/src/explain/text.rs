//! An explanation as text.

use super::report::{Explanation, Side};
use crate::model::{Namespaces, Peer};
use std::fmt::Write;

/// An explanation for people.
pub fn text(it: &Explanation) -> String {
    let verdict = if it.passes { "passes" } else { "is dropped" };
    let Explanation { source, destination, what, .. } = it;
    let mut text = format!("{what} from {source} to {destination} {verdict}.\n");
    if it.own {
        text.push_str("It is a pod's traffic with itself, which no policy restricts.\n");
        return text;
    }
    side(&mut text, "Egress of the source", &it.egress);
    side(&mut text, "Ingress of the destination", &it.ingress);
    text
}

fn side(text: &mut String, what: &str, side: &Side) {
    let verdict = if side.passes { "passes" } else { "dropped" };
    // Writing to a String never fails.
    let _ = writeln!(text, "{what}: {verdict}; {}.", side.reason);
    match side.selected.as_slice() {
        [] => {}
        names => drop(writeln!(text, "  selected by {}", names.join(", "))),
    }
    if side.would_drop {
        text.push_str("  dropped if the policies in dry run were enforced\n");
    }
    if side.elsewhere {
        text.push_str("  decided on the node that the pod runs on\n");
    }
}

/// A peer in words.
pub fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Block(block) => block.text.clone(),
        Peer::Pods(pods) => {
            let namespaces = match &pods.namespaces {
                Namespaces::One(name) => format!("of namespace {name}"),
                Namespaces::Matching(selector) if selector.is_all() => "of all namespaces".into(),
                Namespaces::Matching(selector) => format!("of namespaces with {selector}"),
            };
            match pods.pods.is_all() {
                true => format!("pods {namespaces}"),
                false => format!("pods with {} {namespaces}", pods.pods),
            }
        }
    }
}
