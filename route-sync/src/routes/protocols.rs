//! Whose routes are whose: protocol numbers and metrics.

/// The routing protocol number of all routes that come from a node set: `ferrule-node`.
pub const PROTOCOL: u8 = node::PROTOCOL;
/// That of what is learned by BGP: `ferrule-bgp`.
pub const LEARNED: u8 = 119;
/// That of the plugins' routes to their pods: `ferrule-pod`. They are never touched.
pub const POD: u8 = 117;

/// Whether the daemon makes routes of this protocol.
pub fn is_ours(protocol: u8) -> bool {
    protocol == PROTOCOL || protocol == LEARNED
}

/// The metric of a blackhole: worse than any other route of the same prefix, above all the
/// connected route of the bridge. At metric 0 one of the two would keep the other out.
pub const BLACKHOLE: u32 = 1_000_000;
