//! Which neighbours a monitor receives.

use crate::neighbour::{RTM_DELNEIGH, RTM_NEWNEIGH};
use netlink::{Error, Result};
use socket2::{SockFilter, SockRef};
use std::io;
use std::os::fd::OwnedFd;

/// Limits the neighbours and FDB entries that a [`super::Monitor`] receives to those of one link.
/// The kernel drops the others before they wake anybody: a pod makes as many neighbours of its
/// bridge as it likes.
pub struct NeighbourFilter {
    pub(super) socket: OwnedFd,
}

/// Offsets in a notification, in bytes: nlmsg_type of nlmsghdr, ndm_ifindex of the ndmsg behind it.
const TYPE: u32 = 4;
const IFINDEX: u32 = 20;

impl NeighbourFilter {
    /// From now on those of this link alone are received; of `None` none are.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn only(&self, link: Option<u32>) -> Result<()> {
        let program = program(link.unwrap_or_default());
        attach(&self.socket, &program)
            .map_err(|error| Error::io("filter the neighbours that are received", &error))
    }
}

/// What loads take from the message are big-endian numbers, and netlink's are the host's.
fn program(link: u32) -> [libc::sock_filter; 7] {
    let [new, del] = [RTM_NEWNEIGH, RTM_DELNEIGH].map(|kind| u32::from(kind.to_be()));
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let (load, give) = (libc::BPF_LD | libc::BPF_ABS, libc::BPF_RET | libc::BPF_K);
    [
        step(load | libc::BPF_H, 0, 0, TYPE),
        step(equal, 1, 0, new),
        step(equal, 0, 2, del),
        step(load | libc::BPF_W, 0, 0, IFINDEX),
        step(equal, 0, 1, link.to_be()),
        step(give, 0, 0, u32::MAX),
        step(give, 0, 0, 0),
    ]
}

/// Drops what a program refuses before it is queued on a socket.
pub(crate) fn attach(socket: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let step = |s: &libc::sock_filter| SockFilter::new(s.code, s.jt, s.jf, s.k);
    let program: Vec<_> = program.iter().map(step).collect();
    SockRef::from(socket).attach_filter(&program)
}
