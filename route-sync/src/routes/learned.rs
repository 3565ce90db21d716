//! Routes that were learned by BGP.

use ipnetwork::IpNetwork;
use net::route::Hop;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kernel's hops of a route, ascending.
pub type Hops = Arc<[Hop]>;

/// Routes that were learned, as far as they lead somewhere: prefix → hops.
pub type Learned = BTreeMap<IpNetwork, Hops>;
