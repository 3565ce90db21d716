//! What may be deleted yet, and why not. Right after its start the daemon knows too little to distinguish
//! what an earlier run left and is still right from what must go: it learns the node set, this node's
//! place in it, and the routes of BGP peers one after the other. [`Convergence`] receives each of these
//! facts when it is learned, and decides from them alone.

use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use std::fmt;

/// The node set that is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Set {
    /// None was received.
    #[default]
    None,
    /// An earlier run's, which the source may contradict.
    Kept,
    /// One that the source sent in this run.
    Current,
}

/// What is known of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThisNode {
    /// It is not in the node set, or has no pod CIDR there yet.
    #[default]
    Unlisted,
    /// It is in the node set, and the link with its address is not found.
    Unplaced,
    /// All that the desired state depends on.
    Known,
}

/// The BGP peers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Peers {
    /// Not every peer has sent all its routes. What is here was received in this run; any other route
    /// that BGP made is an earlier run's, and a peer may still announce it.
    Sending(BTreeSet<IpNetwork>),
    /// Every peer has, or the time for it is over.
    Complete,
}

/// Something of the daemon's that exists in the kernel and is not desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// It follows from a node set: a route, a neighbour, an FDB entry.
    OfNodes,
    /// The route to this prefix was made for BGP; `announced`: a peer announces it now.
    OfBgp {
        /// Its destination.
        prefix: IpNetwork,
        /// It is announced, and not desired for another reason.
        announced: bool,
    },
}

/// Why a leftover stays for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// There is no node set of this run.
    NoCurrentSet,
    /// This node is not in the set, or none of its links has its address.
    NodeUnknown,
    /// A peer may still announce it.
    PeersSending,
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stays::NoCurrentSet => "the source has sent no node set in this run",
            Stays::NodeUnknown => "too little of this node is known",
            Stays::PeersSending => "not every BGP peer has sent its routes",
        })
    }
}

/// What a full pass has achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Achieved {
    /// The tunnel's device is up, or none is wanted.
    pub tunnel: bool,
    /// The guard that belongs to it is in force, or none is needed.
    pub guard: bool,
}

/// How far the daemon has come since its start.
#[derive(Clone, Debug)]
pub struct Convergence {
    set: Set,
    node: ThisNode,
    /// BGP is configured.
    speaks: bool,
    peers: Peers,
    /// A peer has sent all its routes, or has had some for a while.
    has_routes: bool,
    synced: bool,
}

impl Convergence {
    /// Nothing is known yet. `speaks`: BGP is configured.
    pub fn new(speaks: bool) -> Convergence {
        Convergence {
            set: Set::None,
            node: ThisNode::Unlisted,
            speaks,
            peers: Peers::Sending(BTreeSet::new()),
            has_routes: false,
            synced: false,
        }
    }

    /// A node set is in force; `kept`: an earlier run's.
    pub fn set_received(&mut self, kept: bool) {
        self.set = if kept { Set::Kept } else { Set::Current };
    }

    /// What the desired state shows of this node.
    pub fn node_is(&mut self, node: ThisNode) {
        self.node = node;
    }

    /// Whether BGP is configured.
    pub fn speaks(&mut self, speaks: bool) {
        self.speaks = speaks;
    }

    /// Peers have announced or withdrawn this prefix.
    pub fn prefix_received(&mut self, prefix: IpNetwork) {
        if let Peers::Sending(received) = &mut self.peers {
            received.insert(prefix);
        }
    }

    /// A peer has sent all its routes, or has had some for a while; whether that is new.
    pub fn has_routes(&mut self) -> bool {
        !std::mem::replace(&mut self.has_routes, true)
    }

    /// Every peer has sent its routes, or the time for it is over; whether that is new.
    pub fn peers_complete(&mut self) -> bool {
        std::mem::replace(&mut self.peers, Peers::Complete) != Peers::Complete
    }

    /// Whether there is a node set. Without one nothing is changed in the kernel.
    pub fn has_set(&self) -> bool {
        self.set != Set::None
    }

    /// Whether all is known that the desired state depends on: devices that it lacks may go, its
    /// guard may replace the one in force, and node.json can be written.
    pub fn knows_node(&self) -> bool {
        self.has_set() && self.node == ThisNode::Known
    }

    /// Whether the desired state shows what a single change of BGP takes. Otherwise routes exist that
    /// are not in it, and only a full pass sees them.
    pub fn allows_single_changes(&self) -> bool {
        self.has_set() && self.node != ThisNode::Unlisted
    }

    /// Whether an address that an earlier pod CIDR left may go.
    pub fn deletes_addresses(&self) -> bool {
        self.set == Set::Current
    }

    /// Whether a leftover may be deleted.
    ///
    /// # Errors
    /// Why it stays.
    pub fn deletes(&self, leftover: Leftover) -> Result<(), Stays> {
        match leftover {
            Leftover::OfBgp { prefix, .. } if self.waits_for(prefix) => Err(Stays::PeersSending),
            // What a peer has withdrawn leads nowhere, whatever the node set is.
            Leftover::OfBgp { announced: false, .. } => Ok(()),
            Leftover::OfBgp { .. } | Leftover::OfNodes if self.set != Set::Current => {
                Err(Stays::NoCurrentSet)
            }
            Leftover::OfBgp { .. } | Leftover::OfNodes if self.node != ThisNode::Known => {
                Err(Stays::NodeUnknown)
            }
            Leftover::OfBgp { .. } | Leftover::OfNodes => Ok(()),
        }
    }

    /// Whether a route that BGP made is an earlier run's that a peer may still announce. It is not
    /// replaced by one of the node set either.
    pub fn waits_for(&self, prefix: IpNetwork) -> bool {
        match &self.peers {
            Peers::Sending(received) => self.speaks && !received.contains(&prefix),
            Peers::Complete => false,
        }
    }

    /// Notes a full pass; whether the daemon is in step for the first time. Entries that the kernel
    /// refuses do not count: a node whose one peer is broken has its pods and all other peers.
    pub fn passed(&mut self, achieved: Achieved) -> bool {
        let routes = self.has_routes || !self.speaks;
        let first = !self.synced
            && achieved == Achieved { tunnel: true, guard: true }
            && self.knows_node()
            && routes;
        self.synced |= first;
        first
    }

    /// Whether a complete node set was carried out once since the start.
    pub fn is_synced(&self) -> bool {
        self.synced
    }
}

#[cfg(test)]
mod tests;
