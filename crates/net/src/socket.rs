//! A blocking rtnetlink socket, and the verbs it carries out.

use crate::answer::{Answer, HEADER};
use crate::error::{Error, Result};
use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

mod batch;

/// Multicast groups of include/uapi/linux/rtnetlink.h.
pub(crate) const RTNLGRP_LINK: u32 = 1;
pub(crate) const RTNLGRP_IPV6_IFADDR: u32 = 9;

/// A request to the kernel and the parser of its replies.
///
/// It holds the message's bytes, and the parser gets a reply's: a type that could be any message
/// of rtnetlink would bring the code for all of them into every executable, a quarter of its size.
pub struct Verb<T> {
    /// Message type, RTM_*.
    kind: u16,
    body: Vec<u8>,
    /// Flags beside NLM_F_REQUEST.
    flags: u16,
    /// What a reply means, by its type and body; `None` when it is not about what was asked.
    parse: fn(u16, &[u8]) -> Option<T>,
    /// The request in words, for errors.
    what: String,
}

impl Verb<()> {
    /// A change, answered by an acknowledgement only.
    pub(crate) fn change(kind: u16, message: &impl Emitable, flags: u16, what: String) -> Verb<()> {
        Verb::new(kind, message, flags | NLM_F_ACK, |_, _| None, what)
    }
}

impl<T> Verb<T> {
    /// A question.
    pub(crate) fn new(
        kind: u16,
        message: &impl Emitable,
        flags: u16,
        parse: fn(u16, &[u8]) -> Option<T>,
        what: String,
    ) -> Verb<T> {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Verb { kind, body, flags, parse, what }
    }

    /// The exact bytes that go to the kernel: a header (struct nlmsghdr) and the message.
    pub fn to_bytes(&self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend((self.flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.body);
        bytes
    }

    /// Adds what a datagram of the kernel says to the answer to the request of that sequence
    /// number.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR for a dump that another's change interrupted.
    pub fn read(&self, datagram: &[u8], sequence: u32, answer: &mut Answer<T>) -> Result<()> {
        let single = self.flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
        answer.read(datagram, sequence, &self.what, single, self.parse)
    }
}

/// A blocking rtnetlink socket of one network namespace: that of the thread that opened it.
pub struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// A notification came in between the replies to a request.
    notified: bool,
}

/// The kernel sizes the parts of a dump by the reader's buffer, up to this
/// (net/netlink/af_netlink.c, netlink_dump).
const BUFFER: usize = 32 << 10;

/// How often a dump that another's change interrupted is repeated.
const DUMP_TRIES: usize = 10;

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No netlink, or no descriptors left.
    pub fn open() -> Result<Socket> {
        let open = || -> io::Result<netlink_sys::Socket> {
            let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            // Without it the kernel ignores the filters of a dump.
            socket.set_netlink_get_strict_chk(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| Error::io("open a netlink socket", &error))?;
        Ok(Socket { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER), notified: false })
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

    /// Waits until what a verb asks for is as wanted, woken by the kernel's notifications of
    /// links and IPv6 addresses, and returns it. `what` is waited for, in words.
    ///
    /// # Errors
    /// The kernel's; ETIMEDOUT; ENODEV when it goes.
    pub fn wait<T>(
        &mut self,
        verb: &Verb<T>,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T> {
        self.until(patience, what, |socket| match socket.get(verb)? {
            None => Err(Error::of(&verb.what, libc::ENODEV, "")),
            Some(found) => Ok(Some(found).filter(&wanted)),
        })
    }

    /// As [`Socket::wait`], for all that a verb lists; returns the last list.
    ///
    /// # Errors
    /// The kernel's; ETIMEDOUT.
    pub fn wait_all<T>(
        &mut self,
        verb: &Verb<T>,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<T>> {
        self.until(patience, what, |socket| {
            let found = socket.list(verb)?;
            Ok(wanted(&found).then_some(found))
        })
    }

    fn until<R>(
        &mut self,
        patience: Duration,
        what: &str,
        mut ask: impl FnMut(&mut Socket) -> Result<Option<R>>,
    ) -> Result<R> {
        if let Some(found) = ask(self)? {
            return Ok(found);
        }
        let io = |error: io::Error| Error::io(what, &error);
        let deadline = Instant::now() + patience;
        // A notification lost for want of space is no loss: those that fill the space wake us.
        self.socket.set_no_enobufs(true).map_err(io)?;
        self.socket.add_membership(RTNLGRP_LINK).map_err(io)?;
        self.socket.add_membership(RTNLGRP_IPV6_IFADDR).map_err(io)?;
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
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout).map_err(|errno| io(errno.into()))? == 0 {
                let reason = format!("it took longer than {patience:?}");
                break Err(Error::of(what, libc::ETIMEDOUT, reason));
            }
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).map_err(io)?;
        };
        self.socket.drop_membership(RTNLGRP_LINK).map_err(io)?;
        self.socket.drop_membership(RTNLGRP_IPV6_IFADDR).map_err(io)?;
        found
    }

    fn exchange<T>(&mut self, verb: &Verb<T>, mut take: impl FnMut(T)) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let io = |error: io::Error| Error::io(&verb.what, &error);
        self.socket.send(&verb.to_bytes(self.sequence), 0).map_err(io)?;
        let mut answer = Answer::default();
        while !answer.complete {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).map_err(io)?;
            let read = verb.read(&self.buffer, self.sequence, &mut answer);
            self.notified |= answer.notified;
            read?;
            answer.found.drain(..).for_each(&mut take);
        }
        Ok(())
    }
}
