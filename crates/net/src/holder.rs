//! Sockets whose close would wait, held open by a process that no caller waits for.
//!
//! Closing any NETLINK_NETFILTER socket waits, with the ruleset of its network namespace locked,
//! until what was deleted there is freed: an RCU grace period, 12 ms after a deletion by whatever
//! process (net/netfilter/nf_tables_api.c, nft_rcv_nl_event). Meanwhile no other process can change
//! the ruleset. So the child of [`crate::delete`] holds such a socket, and other calls that end in
//! this time give it theirs, by a connection to a name that belongs to the network namespace. It
//! closes all once none came for a while.

use crate::child;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt,
    sendmsg, socket, sockopt,
};
use nix::unistd::geteuid;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// An abstract name: each network namespace has its own, and it ends with the socket (unix(7)).
const NAME: &[u8] = b"ferrule-holds-sockets";

/// How long no socket may have come before all are closed, in milliseconds. What was deleted is
/// freed 17 ms later, or after two grace periods where the kernel was freeing something already.
const QUIET: u16 = 50;

/// How many are held at most; a soft RLIMIT_NOFILE is 1024.
const MOST: usize = 512;

/// Takes sockets from other processes of the network namespace.
pub(crate) struct Holder(UnixListener);

impl Holder {
    /// Makes this process the one that holds sockets; `None` if there is another.
    pub(crate) fn start() -> Option<Holder> {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME).ok()?).ok()?;
        listener.set_nonblocking(true).ok()?;
        Some(Holder(listener))
    }

    /// Returns when no socket came for a while, or too many did; at once if none came until now.
    /// All are closed with what it returns.
    ///
    /// A connection is not read: what was sent on it is held with it.
    pub(crate) fn hold(self) -> Vec<UnixStream> {
        self.hold_after(0)
    }

    /// As [`Holder::hold`], where the first socket may take so many milliseconds to come.
    fn hold_after(self, mut patience: u16) -> Vec<UnixStream> {
        let mut held = Vec::new();
        for _ in 0..MOST {
            if !self.is_asked_within(patience) {
                break;
            }
            let connection = self.0.accept().map(|(connection, _)| connection);
            held.extend(connection.ok().filter(is_ours));
            patience = QUIET;
        }
        held
    }

    /// Whether a process connects.
    fn is_asked_within(&self, milliseconds: u16) -> bool {
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, milliseconds) {
                Err(Errno::EINTR) => {}
                ready => return ready.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

/// Gives a socket to the process of this network namespace that holds such ones, if there is one:
/// then the caller's own close is none, and waits for nothing. Whether there is. Never blocks.
pub fn hand_over(held: BorrowedFd<'_>) -> bool {
    crate::not_astray().is_ok() && send(held).is_ok()
}

/// Leaves sockets, by one of which something was deleted, to a process that no other waits for: the one
/// that holds such ones, or a new one. Where there can be none, the caller's close waits.
pub fn leave(held: &[BorrowedFd<'_>]) {
    let (Some(first), false) = (held.first(), crate::not_astray().is_err()) else { return };
    if hand_over(*first) {
        held.iter().skip(1).for_each(|one| {
            hand_over(*one);
        });
        return;
    }
    let work = || (Vec::new(), Holder::start());
    let linger = |holder: Option<Holder>| drop(holder.map(|holder| holder.hold_after(QUIET)));
    // Nobody reads what it reports.
    drop(child::spawn(held, work, linger));
}

fn send(held: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connection = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(connection.as_raw_fd(), &UnixAddr::new_abstract(NAME)?)?;
    if !is_ours(&connection) {
        return Err(Errno::EPERM);
    }
    let rights = [held.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    let byte = [IoSlice::new(b"h")];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<UnixAddr>(connection.as_raw_fd(), &byte, &message, flags, None).map(drop)
}

/// Whether the process at the other end is of our user: any may take an abstract name.
fn is_ours(connection: &impl AsFd) -> bool {
    getsockopt(connection, sockopt::PeerCredentials)
        .is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::process::{Child, Command, Stdio};

    /// In milliseconds: none but what a test waits for.
    const PATIENCE: u16 = 60_000;

    /// In a network namespace of its own, which vanishes with the thread.
    fn in_netns(test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
            test();
        });
        thread.join().unwrap();
    }

    /// socat, from its first address to the second, as the user `nobody`.
    fn of_nobody(from: &str, to: &str) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "socat", "-dd", "-u"]);
        command.args([from, to]).stderr(Stdio::piped()).spawn().expect("setpriv and socat")
    }

    #[test]
    fn a_connection_of_ours_is_held() {
        in_netns(|| {
            let holder = Holder::start().unwrap();
            let (mut reader, writer) = pipe().unwrap();
            assert!(hand_over(writer.as_fd()));
            drop(writer);
            let held = holder.hold_after(PATIENCE);
            assert_eq!(held.len(), 1);
            drop(held);
            // Nothing is written: this returns at the end of file.
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        });
    }

    #[test]
    fn a_connection_of_another_user_is_not_held() {
        in_netns(|| {
            let holder = Holder::start().unwrap();
            let mut other = of_nobody("/dev/null", "ABSTRACT-CONNECT:ferrule-holds-sockets");
            assert!(holder.hold_after(PATIENCE).is_empty());
            other.wait().unwrap();
        });
    }

    /// It may have taken the name to be given sockets that change the ruleset.
    #[test]
    fn no_socket_is_handed_to_a_process_of_another_user() {
        in_netns(|| {
            let mut other = of_nobody("ABSTRACT-LISTEN:ferrule-holds-sockets", "/dev/null");
            let lines = BufReader::new(other.stderr.take().unwrap()).lines();
            let listens = lines.map_while(Result::ok).any(|line| line.contains("listening on"));
            assert!(listens);
            let (mut reader, writer) = pipe().unwrap();
            assert!(!hand_over(writer.as_fd()));
            drop(writer);
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
            other.kill().unwrap();
            other.wait().unwrap();
        });
    }
}
