//! What changes in table `inet ferrule` and in those of [`super::neighbours`], as the kernel reports
//! it.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink::{Protocol, Reply, find};

use crate::kernel::error::Result;
use crate::kernel::well_formed::{NF_TABLES, NFGENMSG};
use crate::rules::tables::{
    EXCLUDE_PREFIX, HOSTPORT_PREFIX, INET, NEIGHBOURS, PREFIXES_OF_PODS, SETS_OF_PODS,
};

/// include/uapi/linux/netfilter/nfnetlink.h
const NFNLGRP_NFTABLES: u32 = 7;
/// Receive buffer in bytes, of which the kernel makes twice as many.
const SPACE: usize = 4 << 20;

/// Receives changes to what [`crate::Nft::put_node_rules`] and [`crate::Nft::limit_neighbours`]
/// keep, in the network namespace of the thread that opened it. Its descriptor is readable when
/// something came. Its own process's changes are among them: a put after those finds nothing to do.
pub struct Monitor(netlink::Monitor);

impl Monitor {
    /// Opens it, nonblocking. Every later change is received.
    ///
    /// # Errors
    /// No netfilter netlink, or no descriptors left.
    pub fn open() -> Result<Self> {
        let what = "listen to changes of nf_tables";
        let groups = [NFNLGRP_NFTABLES];
        Ok(Self(netlink::Monitor::open(Protocol::Netfilter, &groups, SPACE, what)?))
    }

    /// Reads all that is there. True: something in the table other than what comes and goes with
    /// pods was made, altered or deleted, or more happened than there was space for.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> Result<bool> {
        let mut changed = false;
        let overrun = self.0.read(|message| {
            changed |= concerns(&message);
            ControlFlow::Continue(())
        })?;
        Ok(changed || overrun)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Whether a message is about more than pods.
fn concerns(message: &Reply<'_>) -> bool {
    // enum nf_tables_msg_types: each three are NEW, GET and DEL. The name of the table is
    // attribute 1 of all but NEWGEN.
    let (subsystem, kind) = (message.kind >> 8, message.kind & 0xff);
    let name = match kind {
        15 => return false,
        3..=5 => Some(3),   // NFTA_CHAIN_NAME
        9..=11 => Some(2),  // NFTA_SET_NAME
        6..=8 => Some(2),   // NFTA_RULE_CHAIN
        12..=14 => Some(2), // NFTA_SET_ELEM_LIST_SET
        _ => None,
    };
    if subsystem != NF_TABLES {
        return false;
    }
    let text = |wanted: u16| {
        let value = find(message.body.get(NFGENMSG..)?, wanted)?;
        Some(value.strip_suffix(&[0]).unwrap_or(value))
    };
    if text(1) == Some(NEIGHBOURS.as_bytes()) {
        return true;
    }
    let of_family = message.body.first() == Some(&u8::from(INET.family));
    if !of_family || text(1) != Some(INET.name.as_bytes()) {
        return false;
    }
    let of_pods = |name: &[u8]| match kind {
        9..=14
            if [EXCLUDE_PREFIX, HOSTPORT_PREFIX].iter().any(|p| name.starts_with(p.as_bytes())) =>
        {
            true
        }
        9..=11 => false,
        12..=14 => SETS_OF_PODS.iter().any(|set| name == set.name.as_bytes()),
        _ => PREFIXES_OF_PODS.iter().any(|prefix| name.starts_with(prefix.as_bytes())),
    };
    !name.and_then(text).is_some_and(of_pods)
}
