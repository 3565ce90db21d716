//! What a watch sends.

use std::sync::Arc;

/// What a watch sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// Every object there is, by namespace and name. It differs from the set before, or follows a
    /// failure.
    Set(Vec<Arc<T>>),
    /// Why there is no newer set, and what to do; the last one stays in force. It differs from the
    /// last failure, or follows a set.
    Failed(String),
}
