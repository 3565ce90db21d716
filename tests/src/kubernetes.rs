//! A real Kubernetes cluster, made by `scripts/kubernetes`: one for all tests of a process.
//!
//! Tests that only use it share it ([`shared`]); one that stops parts of it has it to itself
//! ([`alone`]). Each works in a namespace of its own ([`Scope`]).

pub mod cluster;
pub mod scope;

pub use cluster::{Kubernetes, NODES, OUTSIDE, Stopped, alone, shared};
pub use scope::{Pod, Scope};
