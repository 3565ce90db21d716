//! What Ferrule keeps in nf_tables: a file for each feature.

pub(crate) mod invalid;
pub(crate) mod macspoof;
pub(crate) mod masquerade;
pub(crate) mod monitor;
pub(crate) mod neighbours;
pub(crate) mod node;
pub(crate) mod owned;
pub(crate) mod reference;
pub(crate) mod rpfilter;
pub(crate) mod rule;
pub(crate) mod tables;
