//! Ferrule's nftables tables over netlink: sets, maps and chains, never a spawned `nft`.
//!
//! Everything of ours is in two tables, `inet ferrule` ([`Masquerade`], [`Rpfilter`],
//! [`NodeRules`]) and `bridge ferrule` ([`Macspoof`]), and in three of route-sync's named
//! `ferrule-neighbours` ([`Nft::limit_neighbours`]). Pods are elements of maps and sets, so a
//! packet costs one lookup however many pods there are; each element carries a comment that says
//! whose it is, and only an element with the caller's own comment is ever deleted.
//!
//! A change is one batch, which nf_tables applies as a whole or not at all, so nothing half-made
//! is ever left, and a removed last pod leaves the node's ruleset as it was before the first.
//!
//! ```no_run
//! # fn main() -> nft::Result<()> {
//! let mut nft = nft::Nft::open()?;
//! let m = nft::Masquerade {
//!     network: "pods".to_owned(),
//!     address: [10, 1, 0, 5].into(),
//!     subnet: ipnetwork::IpNetwork::new([10, 1, 0, 0].into(), 24).expect("a valid prefix"),
//!     exclude: Vec::new(),
//!     comment: "3f9a… pods c0ffee eth0".to_owned(),
//! };
//! nft.add_masquerade(&m)?;
//! assert!(nft.check_masquerade(&m)?.is_empty());
//! nft.del_masquerade(m.address, &m.comment)?;
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

mod kernel;
mod rules;

pub use kernel::answer::{Answer, ChainState, ElementState, FoundRule, TableState};
pub use kernel::comment::{COMMENT_MAX, fit};
pub use kernel::error::{Error, Result};
pub use kernel::query::Marked;
pub use kernel::socket::read;
pub use kernel::survey::{SeenChain, SeenTable};
pub use rules::*;

use std::os::fd::BorrowedFd;

/// Our tables in one network namespace, through one netlink socket.
///
/// It holds no state of the ruleset: every call asks the kernel.
///
/// Dropping it closes the socket, and closing any NETLINK_NETFILTER socket waits, with the
/// ruleset of the network namespace locked, until what was deleted in it is freed
/// (nft_rcv_nl_event), an RCU grace period: 12 ms right after a `del_…`, 0.01 ms some 17 ms
/// later, whichever process deleted. So leave the descriptor to a process that no caller waits for
/// where something may have been deleted.
#[derive(Debug)]
pub struct Nft {
    socket: kernel::socket::Socket,
}

impl Nft {
    /// Opens a socket in the network namespace that the thread is in; it stays there even when
    /// the thread moves on.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] on a kernel without netfilter netlink. That nf_tables itself is
    /// missing shows with the first call.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: kernel::socket::Socket::open()? })
    }

    /// Its sockets: one, and where a kernel does not count the elements of a set (Linux 6.12 and
    /// older) others, which only wait to be closed.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.socket.descriptors()
    }

    /// Whether the kernel has nf_tables at all.
    ///
    /// # Errors
    /// [`Error::is_unsupported`] when it has not.
    pub fn probe(&mut self) -> Result<()> {
        self.generation().map(drop)
    }
}
