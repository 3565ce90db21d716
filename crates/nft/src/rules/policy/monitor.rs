//! What other programs change in the table.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink::{Protocol, Reply, find};

use super::frame::{FAMILIES, POLICY, names};
use crate::Nft;
use crate::kernel::error::Result;
use crate::kernel::well_formed::{NF_TABLES, NFGENMSG};

/// include/uapi/linux/netfilter/nfnetlink.h
const NFNLGRP_NFTABLES: u32 = 7;
/// Receive buffer in bytes, of which the kernel makes twice as many.
const SPACE: usize = 4 << 20;

/// What others changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// A pod was held, or its elements were removed. A put compares these with the kernel always.
    pub pods: bool,
    /// Anything else: what was put before is not what the kernel holds.
    pub table: bool,
}

impl Changes {
    /// Whether there are any.
    #[must_use]
    pub fn any(self) -> bool {
        self.pods || self.table
    }
}

/// Receives the changes that other sockets than one make to table `inet ferrule-policy`, in the network
/// namespace of the thread that opened it. Its descriptor is readable when something came.
pub struct PolicyMonitor {
    monitor: netlink::Monitor,
    own: u32,
}

impl PolicyMonitor {
    /// Opens it, nonblocking. Every later change by another socket than that of `nft` is received.
    ///
    /// # Errors
    /// No netfilter netlink, or no descriptors left.
    pub fn open(nft: &Nft) -> Result<PolicyMonitor> {
        let what = "listen to changes of nf_tables";
        let monitor =
            netlink::Monitor::open(Protocol::Netfilter, &[NFNLGRP_NFTABLES], SPACE, what)?;
        Ok(PolicyMonitor { monitor, own: nft.socket.port() })
    }

    /// Reads all that is there.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self) -> Result<Changes> {
        let mut changes = Changes::default();
        let own = self.own;
        let overrun = self.monitor.read(|message| {
            if message.port != own {
                note(&mut changes, &message);
            }
            ControlFlow::Continue(())
        })?;
        if overrun {
            changes = Changes { pods: true, table: true };
        }
        Ok(changes)
    }
}

impl AsFd for PolicyMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

impl AsRawFd for PolicyMonitor {
    fn as_raw_fd(&self) -> RawFd {
        self.monitor.as_raw_fd()
    }
}

fn note(changes: &mut Changes, message: &Reply<'_>) {
    // enum nf_tables_msg_types: each three are NEW, GET and DEL. The name of the table is attribute 1
    // of all but NEWGEN (15), that of the set attribute 2 of elements (12 to 14).
    let (subsystem, kind) = (message.kind >> 8, message.kind & 0xff);
    let of_family = message.body.first() == Some(&u8::from(POLICY.family));
    if subsystem != NF_TABLES || kind == 15 || !of_family {
        return;
    }
    let text = |wanted: u16| {
        let value = find(message.body.get(NFGENMSG..)?, wanted)?;
        Some(value.strip_suffix(&[0]).unwrap_or(value))
    };
    if text(1) != Some(POLICY.name.as_bytes()) {
        return;
    }
    let is = |name: &str| text(2) == Some(name.as_bytes());
    let of_pods = FAMILIES.map(names).into_iter();
    let of_pods = of_pods.flat_map(|names| [names.ingress, names.egress, names.own]);
    let others = FAMILIES.map(names).into_iter();
    let mut others = others.flat_map(|names| [names.cut, names.drops, names.trials]);
    if !(12..=14).contains(&kind) {
        changes.table = true;
    } else if of_pods.clone().any(|set| is(set.name)) {
        changes.pods = true;
    } else if !others.any(|set| is(set.name)) {
        changes.table = true;
    }
}
