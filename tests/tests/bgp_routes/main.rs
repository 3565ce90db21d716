//! route-sync with BGP against BIRD 2 and FRR: fabrics of namespaces, pods, and the packets between
//! them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod across;
mod bird;
mod flood;
mod frr;
mod hostile;
mod md5;
mod pair;
mod plugin;
mod policies;
mod raw_peer;
mod reflector;
mod refused;
mod sessions;
mod speaker;
mod stream;
mod tors;
mod tunnel;
mod two_octets;
mod upkeep;
