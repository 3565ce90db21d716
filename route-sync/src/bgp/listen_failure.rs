//! An address that cannot be listened on.

use std::time::Instant;

/// Why peers cannot connect to an address of the configuration.
pub(super) struct ListenFailure {
    /// The address, and the kernel's error.
    pub error: String,
    /// Seconds since 1970.
    pub since: u64,
    /// When it is tried again.
    pub again: Instant,
}
