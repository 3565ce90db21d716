//! A blocking netlink socket.

use crate::error::{Error, Result};
use crate::reply::replies;
use crate::verb::{Answer, Verb};
use netlink_sys::SocketAddr;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A protocol of netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// rtnetlink: NETLINK_ROUTE.
    Route,
    /// nf_tables and conntrack: NETLINK_NETFILTER.
    Netfilter,
}

impl Protocol {
    /// A socket of the protocol in the network namespace of the calling thread, which receives
    /// from the kernel alone; and its port.
    pub(crate) fn connect(self) -> io::Result<(netlink_sys::Socket, u32)> {
        let mut socket = netlink_sys::Socket::new(match self {
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
        })?;
        let address = socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok((socket, address.port_number()))
    }

    fn open(self) -> io::Result<(netlink_sys::Socket, u32)> {
        let (socket, port) = self.connect()?;
        // Refusals carry the kernel's words, and not the whole request once more.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        if self == Protocol::Route {
            // Without it the kernel ignores the filters of a dump.
            socket.set_netlink_get_strict_chk(true)?;
        }
        Ok((socket, port))
    }
}

/// A blocking socket of one network namespace: that of the thread that opened it.
pub struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    /// A notification came in between the replies to a request.
    notified: bool,
}

/// The kernel sizes the parts of a dump by the reader's buffer, up to this
/// (net/netlink/af_netlink.c, netlink_dump).
const BUFFER: usize = 32 << 10;

/// How often a dump that another program's change interrupted is repeated.
const DUMP_TRIES: usize = 10;

/// Bytes in one send that fit into a socket's send buffer as it is by default
/// (net.core.wmem_default, 208 KiB, of which bookkeeping takes a part).
const USUAL: usize = 128 << 10;

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// A kernel without the protocol (EPROTONOSUPPORT), or no descriptors left.
    pub fn open(protocol: Protocol) -> Result<Socket> {
        let what = match protocol {
            Protocol::Route => "open a netlink socket",
            Protocol::Netfilter => "open a netfilter netlink socket",
        };
        let (socket, port) = protocol.open().map_err(|error| Error::io(what, &error))?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Socket { socket, port, sequence: 0, buffer, notified: false })
    }

    /// Its port: what notifications of changes name that it made.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, verb: &Verb<()>) -> Result<()> {
        self.exchange(verb, |()| ())
    }

    /// Asks for one thing; `None` when it is not there.
    ///
    /// # Errors
    /// The kernel's, but for "not there".
    pub fn get<T>(&mut self, verb: &Verb<T>) -> Result<Option<T>> {
        let mut found = None;
        match self.exchange(verb, |reply| found = found.take().or(Some(reply))) {
            Err(error) if error.is_gone() => Ok(None),
            done => done.map(|()| found),
        }
    }

    /// Asks for all; a dump that was interrupted is repeated.
    ///
    /// # Errors
    /// The kernel's; EINTR when it was interrupted every time.
    pub fn list<T>(&mut self, verb: &Verb<T>) -> Result<Vec<T>> {
        self.fold(verb, Vec::push)
    }

    /// As [`Socket::list`], for thousands: each one is taken as it comes, and all are never held
    /// at once. A dump that was interrupted is taken again from the default.
    ///
    /// # Errors
    /// As [`Socket::list`].
    pub fn fold<T, R: Default>(
        &mut self,
        verb: &Verb<T>,
        mut take: impl FnMut(&mut R, T),
    ) -> Result<R> {
        for _ in 0..DUMP_TRIES {
            let mut all = R::default();
            match self.exchange(verb, |found| take(&mut all, found)) {
                Err(error) if error.errno == libc::EINTR => {}
                done => return done.map(|()| all),
            }
        }
        Err(Error::of(&verb.what, libc::EINTR, "other changes interrupted every dump"))
    }

    /// Repeats a question until its answer is as wanted, woken by the notifications of the
    /// multicast groups. `what` is waited for, in words.
    ///
    /// # Errors
    /// The question's; ETIMEDOUT after `patience`.
    pub fn wait<R>(
        &mut self,
        groups: &[u32],
        what: &str,
        patience: Duration,
        mut ask: impl FnMut(&mut Socket) -> Result<Option<R>>,
    ) -> Result<R> {
        if let Some(found) = ask(self)? {
            return Ok(found);
        }
        let io = |error: io::Error| Error::io(what, &error);
        let deadline = Instant::now() + patience;
        // A notification lost for want of space is no loss: those that fill the space wake us.
        self.socket.set_no_enobufs(true).map_err(io)?;
        for group in groups {
            self.socket.add_membership(*group).map_err(io)?;
        }
        let found = loop {
            // Asked again only after joining, or a change in between would be missed; and once
            // more when a notification came with the answer, which may be older.
            self.notified = false;
            if let Some(found) = ask(self)? {
                break Ok(found);
            }
            if self.notified {
                continue;
            }
            if !self.is_readable(deadline).map_err(io)? {
                let reason = format!("it took longer than {patience:?}");
                break Err(Error::of(what, libc::ETIMEDOUT, reason));
            }
            self.receive(what)?;
        };
        for group in groups {
            self.socket.drop_membership(*group).map_err(io)?;
        }
        found
    }

    /// Whether something can be received before the deadline.
    fn is_readable(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        Ok(uninterrupted(|| Ok(poll(&mut fds, timeout)?))? > 0)
    }

    /// Sends a request and gives each thing that its replies say to `take`.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR at the end of a dump that was interrupted.
    pub fn exchange<T>(&mut self, verb: &Verb<T>, mut take: impl FnMut(T)) -> Result<()> {
        let sequence = self.next_sequence();
        self.send(&verb.to_bytes(sequence), &verb.what)?;
        let mut answer = Answer::default();
        while !answer.complete {
            self.receive(&verb.what)?;
            // A notification of nf_tables has the sequence number of whoever caused it.
            if replies(&self.buffer).any(|reply| reply.port != 0 && reply.port != self.port) {
                self.notified = true;
                continue;
            }
            let read = verb.read(&self.buffer, sequence, &mut answer);
            self.notified |= answer.notified;
            read?;
            answer.found.drain(..).for_each(&mut take);
        }
        Ok(())
    }

    /// As [`Socket::exchange`], but reads so many datagrams of the answer at most; whether they were all of
    /// it. If not, the kernel goes on with the dump until the socket is closed, and the socket can ask
    /// nothing more.
    ///
    /// # Errors
    /// As [`Socket::exchange`].
    pub fn exchange_beginning<T>(
        &mut self,
        verb: &Verb<T>,
        datagrams: u32,
        mut take: impl FnMut(T),
    ) -> Result<bool> {
        let sequence = self.next_sequence();
        self.send(&verb.to_bytes(sequence), &verb.what)?;
        let mut answer = Answer::default();
        for _ in 0..datagrams {
            self.receive(&verb.what)?;
            verb.read(&self.buffer, sequence, &mut answer)?;
            answer.found.drain(..).for_each(&mut take);
            if answer.complete {
                break;
            }
        }
        Ok(answer.complete)
    }

    /// The number of the next request; 0 is what notifications carry.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Sends one datagram of requests. `what` it does, in words.
    ///
    /// # Errors
    /// The socket's; EMSGSIZE where a large one finds no room and the process has not
    /// CAP_NET_ADMIN over the machine.
    pub fn send(&self, bytes: &[u8], what: &str) -> Result<()> {
        if bytes.len() > USUAL {
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(2 * bytes.len()));
        }
        let sent = uninterrupted(|| self.socket.send(bytes, 0));
        sent.map(drop).map_err(|error| Error::io(what, &error))
    }

    /// Waits for a datagram and gives it.
    ///
    /// # Errors
    /// The socket's; EMSGSIZE for a datagram larger than the kernel makes.
    pub fn receive(&mut self, what: &str) -> Result<&[u8]> {
        self.fill(0).map_err(|error| Error::io(what, &error))?;
        Ok(&self.buffer)
    }

    /// A datagram that waits in the socket; `None`: none does. The kernel handles a request within
    /// [`Socket::send`], so every answer but a dump's later parts is there already.
    ///
    /// # Errors
    /// As [`Socket::receive`].
    pub fn receive_waiting(&mut self, what: &str) -> Result<Option<&[u8]>> {
        match self.fill(libc::MSG_DONTWAIT) {
            Ok(()) => Ok(Some(&self.buffer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Error::io(what, &error)),
        }
    }

    /// Receives one datagram into the buffer.
    fn fill(&mut self, flags: libc::c_int) -> io::Result<()> {
        let length = uninterrupted(|| {
            self.buffer.clear();
            // `BufMut for Vec` offers its spare capacity, BUFFER bytes.
            self.socket.recv(&mut self.buffer, flags | libc::MSG_TRUNC)
        })?;
        if length > self.buffer.len() {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        Ok(())
    }
}

/// How often a system call that a signal interrupted is made again: a call that fails so for ever
/// ends.
const INTERRUPTIONS: u32 = 100;

pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..INTERRUPTIONS {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    call()
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
