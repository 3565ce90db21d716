//! Notifications of the kernel.

use crate::error::{Error, Result};
use crate::reply::{Reply, replies};
use crate::socket::{Protocol, uninterrupted};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Bytes of one notification at most; of a link with many virtual functions they are many.
const BUFFER: usize = 64 << 10;

/// A nonblocking socket in multicast groups of one network namespace: that of the thread that
/// opened it. Its descriptor is readable when something came.
pub struct Monitor {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
    what: &'static str,
}

impl Monitor {
    /// Opens it: every later change of the groups is received, so a dump after this misses none.
    /// `space` is that of its receive buffer in bytes, of which the kernel makes twice as many.
    /// `what` it does, in words.
    ///
    /// # Errors
    /// A kernel without the protocol, or no descriptors left.
    pub fn open(
        protocol: Protocol,
        groups: &[u32],
        space: usize,
        what: &'static str,
    ) -> Result<Monitor> {
        let open = || -> io::Result<netlink_sys::Socket> {
            let (socket, _) = protocol.connect()?;
            // Beyond net.core.rmem_max with CAP_NET_ADMIN only; without it what there is must do.
            let _ = setsockopt(&socket, sockopt::RcvBufForce, &space);
            socket.set_non_blocking(true)?;
            for group in groups {
                socket.add_membership(*group)?;
            }
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::io(what, &error))?;
        Ok(Monitor { socket, buffer: Vec::with_capacity(BUFFER), what })
    }

    /// Gives each notification that came to `take`, in their order, until `take` breaks or there
    /// is nothing more; then the descriptor becomes readable with the next change. True: some were
    /// lost for want of space.
    ///
    /// After that the kernel drops everything until the space is empty (net/netlink/af_netlink.c,
    /// netlink_overrun). So what was left is thrown away: a dump after it misses nothing.
    ///
    /// # Errors
    /// The socket's.
    pub fn read(&mut self, mut take: impl FnMut(Reply<'_>) -> ControlFlow<()>) -> Result<bool> {
        let mut overrun = false;
        loop {
            let received = uninterrupted(|| {
                self.buffer.clear();
                self.socket.recv(&mut self.buffer, libc::MSG_TRUNC)
            });
            match received {
                Ok(length) if length > self.buffer.len() => overrun = true,
                Ok(_) if overrun => {}
                Ok(_) => {
                    // All of a datagram is taken: its rest would be lost.
                    let stop = |stop, reply| stop | take(reply).is_break();
                    if replies(&self.buffer).fold(false, stop) {
                        return Ok(false);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => overrun = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(overrun),
                Err(error) => return Err(Error::io(self.what, &error)),
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
