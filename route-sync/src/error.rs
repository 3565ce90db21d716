//! Why the daemon does not run.

use std::io;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one does.
    #[error("another route-sync runs here: it holds {0}/route-sync.lock")]
    Running(String),
    /// Netlink.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Netlink of nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
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
