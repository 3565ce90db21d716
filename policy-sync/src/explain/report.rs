//! An explanation, as JSON has it.

use serde::{Deserialize, Serialize};

/// What becomes of a flow, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Where it comes from: an address, and the pod that has it.
    pub source: String,
    /// Where it goes.
    pub destination: String,
    /// Protocol and port, in words.
    pub what: String,
    /// It passes.
    pub passes: bool,
    /// It is a pod's traffic with itself, which no policy restricts.
    pub own: bool,
    /// The policies that select the source, and what they do.
    pub egress: Side,
    /// The policies that select the destination, and what they do.
    pub ingress: Side,
}

/// What the policies of one end do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The policies that select the pod and concern the direction, as they are asked.
    pub selected: Vec<String>,
    /// The decision in words.
    pub reason: String,
    /// The flow passes this end.
    pub passes: bool,
    /// Another node decides this end: the pod does not run here.
    pub elsewhere: bool,
    /// Policies in dry run would drop the flow.
    pub would_drop: bool,
}
