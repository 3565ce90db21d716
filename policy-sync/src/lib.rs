//! One daemon for each node: it keeps in nf_tables what NetworkPolicy and ClusterNetworkPolicy say of the pods of this node.
//!
//! A [`source`] sends complete sets of objects → [`follow`] finds what changed in them → [`state`] keeps what must be in the
//! kernel, a pure function of the objects → the difference from the kernel is applied, at each change and at each
//! notification of the kernel. [`explain`] says why a flow passes or is dropped.

pub mod check;
pub mod cleanup;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod error;
pub mod evaluate;
pub mod explain;
pub mod follow;
pub mod kernel;
pub mod metrics;
pub mod model;
pub mod query;
pub mod question;
pub mod report;
pub mod source;
pub mod state;
pub mod status;
pub mod sync;
