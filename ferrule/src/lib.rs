//! `ferrule`, for the person at a node: it reads, and changes nothing.
//!
//! `doctor` gathers [`facts`], each of which may be missing with the reason, and hands them to the
//! [`checks`], pure functions that return [`finding`]s. `ls`, `trace` and `support` show the same
//! facts in other ways.

pub mod attachments;
pub mod check;
pub mod checks;
pub mod cli;
pub mod explain;
pub mod facts;
pub mod finding;
pub mod ls;
pub mod output;
pub mod places;
pub mod report;
pub mod support;
pub mod trace;
