//! nf_tables as the kernel has it, whatever it is for: sets, maps, chains and rules, batches behind
//! the generation of the ruleset, questions by key, dumps.

pub(crate) mod answer;
pub(crate) mod batch;
pub(crate) mod change;
pub(crate) mod comment;
pub(crate) mod counted;
pub(crate) mod error;
pub(crate) mod expr;
pub(crate) mod foreign;
pub(crate) mod query;
pub(crate) mod raw;
pub(crate) mod ruling;
pub(crate) mod set;
pub(crate) mod socket;
pub(crate) mod survey;
pub(crate) mod well_formed;

#[cfg(test)]
mod tests;
