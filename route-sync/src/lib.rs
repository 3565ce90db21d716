//! One daemon for each node: it installs the routes to every other node's pod CIDRs, and keeps them.
//! They lead directly to a node that is on a link of this one, through VXLAN to any other, or where
//! BGP peers say.
//!
//! A source sends the node set ([`source`]) → what must exist is a pure function of it
//! ([`routes::plan`], with [`tunnel`] and `guard`) → the difference from the kernel is applied
//! ([`sync`]), at the start and at every notification of the kernel. [`convergence`] decides what may
//! be deleted yet.

pub mod bgp;
pub mod cleanup;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod convergence;
pub mod daemon;
pub mod duties;
pub mod error;
pub mod facts;
mod failure;
mod guard;
pub mod metrics;
mod node_object;
pub mod prefix;
mod probe;
pub mod problems;
pub mod query;
pub mod report;
pub mod routes;
pub mod source;
pub mod status;
pub mod sync;
pub mod tunnel;
pub mod uninstall;
pub mod view;
pub mod work;
