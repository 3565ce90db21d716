//! What is kept of a path's attributes: what decides, loops are found by, or `status` shows, in a
//! bounded number. One UPDATE can carry 4 KB of them for one prefix (RFC 4271 section 4.1), and a
//! peer may announce as many prefixes as its limit allows.

use super::policy::too_long;
use super::{Path, Peer, Via};
use crate::codec::{Attributes, GRACEFUL_SHUTDOWN};
use std::sync::Arc;

/// Of the communities of either kind the first so many are kept, GRACEFUL_SHUTDOWN among them.
pub const COMMUNITIES_MAX: usize = 16;

/// Leaves communities out where there are more than are kept; gives whether there were.
fn shorten(attributes: &mut Attributes) -> bool {
    let Attributes { communities, large_communities: large, .. } = attributes;
    let more = communities.len() > COMMUNITIES_MAX || large.len() > COMMUNITIES_MAX;
    if let Some(at) = communities.iter().position(|community| *community == GRACEFUL_SHUTDOWN)
        && at >= COMMUNITIES_MAX
    {
        communities.swap(at, 0);
    }
    communities.truncate(COMMUNITIES_MAX);
    communities.shrink_to_fit();
    large.truncate(COMMUNITIES_MAX);
    large.shrink_to_fit();
    more
}

impl Peer {
    /// The path of an announcement, shared with the one before if it is the same.
    pub(super) fn path(&mut self, via: Via, attributes: &Attributes) -> Arc<Path> {
        // A clone has no spare capacity.
        let mut path = Path { source: self.source, via, attributes: attributes.clone() };
        self.shortened += u64::from(shorten(&mut path.attributes));
        match &self.last {
            Some(last) if **last == path => Arc::clone(last),
            _ => {
                let path = Arc::new(path);
                self.last = too_long(&path.attributes).is_ok().then(|| Arc::clone(&path));
                path
            }
        }
    }
}
