//! What changes in table `inet ferrule`, as the kernel tells it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use netlink_packet_core::NlasIterator;
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::{Error, Result};
use crate::masquerade::TABLE;
use crate::rpfilter::LINKS;
use crate::sound::NF_TABLES;

/// include/uapi/linux/netfilter/nfnetlink.h
const NFNLGRP_NFTABLES: u32 = 7;
/// Receive buffer in bytes, of which the kernel makes twice as many.
const SPACE: usize = 4 << 20;
const BUFFER: usize = 64 << 10;
/// Bytes of struct nlmsghdr, and with struct nfgenmsg.
const HEADER: usize = 16;
const HEADERS: usize = 20;

/// Hears of changes to what [`crate::Nft::put_node_rules`] keeps, in the network namespace of the
/// thread that opened it. Its descriptor is readable when something came. It tells of one's own
/// changes too: a put after those finds nothing to do.
#[derive(Debug)]
pub struct Monitor {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Opens it, nonblocking. Every later change is told.
    ///
    /// # Errors
    /// [`Error::Socket`]: no netfilter netlink, or no descriptors left.
    pub fn open() -> Result<Self> {
        let open = || -> io::Result<netlink_sys::Socket> {
            let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
            // Beyond net.core.rmem_max with CAP_NET_ADMIN only; without it what there is must do.
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &SPACE);
            socket.bind_auto()?;
            // From now on only the kernel is heard, no other process.
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            socket.add_membership(NFNLGRP_NFTABLES)?;
            Ok(socket)
        };
        let socket = open().map_err(failed)?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Reads all that is there. True: something in the table other than what comes and goes with
    /// pods was made, altered or deleted, or more happened than there was space for.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn read(&mut self) -> Result<bool> {
        let mut changed = false;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) => changed |= length > self.buffer.len() || concerns(&self.buffer),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn failed(source: io::Error) -> Error {
    Error::Socket { what: "listen to changes of nf_tables".to_owned(), source }
}

/// Whether one of the messages is about more than pods. One that cannot be read is.
fn concerns(mut bytes: &[u8]) -> bool {
    while let Some(header) = bytes.get(..HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(message) = bytes.get(..length).filter(|of| of.len() >= HEADERS) else {
            return true;
        };
        if message_concerns(u16::from_ne_bytes([header[4], header[5]]), message) {
            return true;
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

fn message_concerns(kind: u16, message: &[u8]) -> bool {
    // enum nf_tables_msg_types: each three are NEW, GET and DEL. The name of the table is
    // attribute 1 of all but NEWGEN.
    let (subsystem, kind) = (kind >> 8, kind & 0xff);
    let name = match kind {
        15 => return false,
        3..=5 => Some(3),   // NFTA_CHAIN_NAME
        6..=8 => Some(2),   // NFTA_RULE_CHAIN
        12..=14 => Some(2), // NFTA_SET_ELEM_LIST_SET
        _ => None,
    };
    if subsystem != NF_TABLES || message[HEADER] != u8::from(TABLE.family) {
        return false;
    }
    let text = |wanted: u16| {
        let mut found = NlasIterator::new(&message[HEADERS..]).map_while(std::result::Result::ok);
        let nla = found.find(|nla| nla.kind() == wanted)?;
        let value = nla.value();
        Some(value.strip_suffix(&[0]).unwrap_or(value).to_vec())
    };
    if text(1).as_deref() != Some(TABLE.name.as_bytes()) {
        return false;
    }
    let of_pods = |name: Vec<u8>| match kind {
        12..=14 => name == b"masq4" || name == b"masq6" || name == LINKS.name.as_bytes(),
        _ => name.starts_with(b"masq-"),
    };
    !name.and_then(text).is_some_and(of_pods)
}
