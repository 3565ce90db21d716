//! Why the daemon does not run.

use std::io;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one does.
    #[error("another policy-sync runs here: it holds {0}/policy-sync.lock")]
    Running(String),
    /// nf_tables, conntrack or links.
    #[error(transparent)]
    Kernel(#[from] crate::kernel::Error),
    /// The operating system.
    #[error("{what}: {error}")]
    Io {
        /// What was attempted.
        what: String,
        /// The cause.
        error: io::Error,
    },
}

/// The operating system's error of an attempt.
pub fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Io { what: what.to_owned(), error }
}
