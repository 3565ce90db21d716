//! One daemon for each node: it installs the routes to every other node's pod CIDRs, plainly where
//! the other node is on the link, through VXLAN where it is not or as BGP tells, and keeps them.
//!
//! A source ([`source`]) tells the node set → what shall exist is a pure function of it
//! ([`desired`]) → the difference from the kernel is applied ([`sync`]), at first and at every
//! event of the kernel.

pub mod bgp;
pub mod cleanup;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
pub mod convergence;
pub mod daemon;
pub mod error;
pub mod facts;
mod failure;
mod guard;
pub mod metrics;
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
pub mod view;
pub mod work;
