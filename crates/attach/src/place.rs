//! Which of the two network namespaces of an attachment.

/// Whose network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The node's: the one that the plugin runs in.
    Host,
    /// The pod's.
    Pod,
}
