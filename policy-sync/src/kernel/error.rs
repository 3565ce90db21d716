//! What the kernel refuses.

/// Why the kernel does not hold what is desired.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// rtnetlink or conntrack.
    #[error("cannot {}: {}", .0.what, .0.cause())]
    Net(#[from] net::Error),
}
