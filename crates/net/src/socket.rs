//! A blocking rtnetlink socket.

use crate::{Error, Result, Verb};
use netlink::Protocol;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Multicast groups of include/uapi/linux/rtnetlink.h.
pub(crate) const RTNLGRP_LINK: u32 = 1;
pub(crate) const RTNLGRP_IPV6_IFADDR: u32 = 9;

/// What [`Socket::wait`] is woken by.
const WAKING: [u32; 2] = [RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR];

/// A blocking rtnetlink socket of one network namespace: that of the thread that opened it.
pub struct Socket(netlink::Socket);

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No netlink, no descriptors left, or a thread in the wrong namespace ([`crate::not_astray`]).
    pub fn open() -> Result<Socket> {
        crate::not_astray()?;
        netlink::Socket::open(Protocol::Route).map(Socket)
    }

    /// As [`netlink::Socket::set`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, verb: &Verb<()>) -> Result<()> {
        self.0.set(verb)
    }

    /// As [`netlink::Socket::set_each`].
    ///
    /// # Errors
    /// The socket's. What was then done is not known.
    pub fn set_each(&mut self, verbs: &[Verb<()>]) -> Result<Vec<Result<()>>> {
        self.0.set_each(verbs)
    }

    /// As [`netlink::Socket::get`].
    ///
    /// # Errors
    /// The kernel's, but for "not there".
    pub fn get<T>(&mut self, verb: &Verb<T>) -> Result<Option<T>> {
        self.0.get(verb)
    }

    /// As [`netlink::Socket::list`].
    ///
    /// # Errors
    /// The kernel's; EINTR when it was interrupted every time.
    pub fn list<T>(&mut self, verb: &Verb<T>) -> Result<Vec<T>> {
        self.0.list(verb)
    }

    /// As [`netlink::Socket::fold`].
    ///
    /// # Errors
    /// As [`Socket::list`].
    pub fn fold<T, R: Default>(
        &mut self,
        verb: &Verb<T>,
        take: impl FnMut(&mut R, T),
    ) -> Result<R> {
        self.0.fold(verb, take)
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
        self.0.wait(&WAKING, what, patience, |socket| match socket.get(verb)? {
            None => Err(Error::of(what, libc::ENODEV, "")),
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
        self.0.wait(&WAKING, what, patience, |socket| {
            let found = socket.list(verb)?;
            Ok(wanted(&found).then_some(found))
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
