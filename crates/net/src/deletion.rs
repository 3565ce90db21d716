//! Deleting a link without waiting for its last readers.
//!
//! RTM_DELLINK is acknowledged after 14 to 35 ms: once RTNL is released, the sender waits in
//! rcu_barrier (net/core/dev.c, netdev_run_todo). By then the link and its peer have been unlisted,
//! their names are free, and RTM_DELLINK has gone to RTNLGRP_LINK, all within 0.8 ms. So a child
//! process sends the request and waits, and the caller returns with the notification.

use crate::child;
use crate::holder::{Holder, hand_over};
use crate::link::{self, Link, RTM_DELLINK};
use crate::socket::{RTNLGRP_LINK, Socket};
use netlink::{Error, Monitor, Protocol, Result, u32_of};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};

/// Receive buffer in bytes. After a loss the kernel is asked.
const SPACE: usize = 256 << 10;

/// Deletes a link and returns once it is out of sight, its names and addresses free; of a veth pair
/// both ends. One that is gone is no error. The child process keeps the descriptors of `lingering`
/// until the kernel is done, and takes others ([`crate::hand_over`]): those of NETLINK_NETFILTER,
/// whose close would wait as long.
///
/// # Errors
/// The kernel's.
pub fn delete(link: &Link, lingering: &[BorrowedFd<'_>]) -> Result<()> {
    let what = "listen for the end of a link";
    let Ok(mut monitor) = Monitor::open(Protocol::Route, &[RTNLGRP_LINK], SPACE, what) else {
        return send(link);
    };
    let work = || {
        let holder = holder(lingering);
        (send(link).err().map_or(Vec::new(), encode), holder)
    };
    let linger = |holder: Option<Holder>| drop(holder.map(Holder::hold));
    let pipe = child::spawn(lingering, work, linger);
    let deleted = match pipe {
        Ok(pipe) => ended(&mut monitor, &mut File::from(pipe), link),
        Err(_) => Ok(Outcome::Unknown),
    };
    match deleted {
        // No process could be started, or it was killed.
        Ok(Outcome::Unknown) => send(link),
        Ok(Outcome::Gone) => Ok(()),
        Ok(Outcome::Refused(error)) => Err(error),
        Err(error) => send(link).map_err(|second| {
            let reason = format!("{}; before: {error}", second.reason);
            Error { reason, ..second }
        }),
    }
}

/// Holds sockets that would wait when they are closed; where another process does, that one gets
/// these.
fn holder(lingering: &[BorrowedFd<'_>]) -> Option<Holder> {
    if lingering.is_empty() {
        return None;
    }
    let holder = Holder::start();
    if holder.is_none() {
        for one in lingering {
            hand_over(*one);
        }
    }
    holder
}

/// Deletes a link and waits for the acknowledgement.
fn send(link: &Link) -> Result<()> {
    match Socket::open()?.set(&link::del(link.index, &link.name)) {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}

enum Outcome {
    Gone,
    Refused(Error),
    Unknown,
}

/// How often the wait may be ended by nothing before the link is deleted without a child.
const IDLE_WAKEUPS: u32 = 64;

/// Waits for the notification, or for the child's end.
fn ended(monitor: &mut Monitor, pipe: &mut File, link: &Link) -> Result<Outcome> {
    let mut idle = 0;
    while idle < IDLE_WAKEUPS {
        let reported = wait(monitor, pipe)?;
        let (mut gone, mut seen) = (false, false);
        let lost = monitor.read(|reply| {
            seen = true;
            gone |= reply.kind == RTM_DELLINK && is_of(reply.body, link.index);
            ControlFlow::Continue(())
        })?;
        if gone || (lost && is_gone(link)?) {
            return Ok(Outcome::Gone);
        }
        if reported {
            return outcome(pipe, link);
        }
        idle = if seen { 0 } else { idle + 1 };
    }
    Ok(Outcome::Unknown)
}

/// Waits until there is something to read; whether in the pipe.
fn wait(monitor: &Monitor, pipe: &File) -> Result<bool> {
    let mut fds = [
        PollFd::new(monitor.as_fd(), PollFlags::POLLIN),
        PollFd::new(pipe.as_fd(), PollFlags::POLLIN),
    ];
    match poll(&mut fds, PollTimeout::NONE) {
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(Error::of("wait for the end of a link", errno as i32, "")),
        Ok(_) => Ok(fds[1].any().unwrap_or(false)),
    }
}

/// What the child reported: nothing when it succeeded or was killed.
fn outcome(pipe: &mut File, link: &Link) -> Result<Outcome> {
    let mut report = Vec::new();
    pipe.read_to_end(&mut report).map_err(|error| Error::io("read a pipe", &error))?;
    match decode(&report, link) {
        Some(error) => Ok(Outcome::Refused(error)),
        None if is_gone(link)? => Ok(Outcome::Gone),
        None => Ok(Outcome::Unknown),
    }
}

/// Whether a report of a link (struct ifinfomsg) is about that index. A port that leaves its bridge
/// is reported as a link of AF_BRIDGE that is gone (net/bridge/br_netlink.c, br_ifinfo_notify).
fn is_of(body: &[u8], index: u32) -> bool {
    body.first() == Some(&(libc::AF_UNSPEC as u8)) && body.get(4..8).and_then(u32_of) == Some(index)
}

fn is_gone(link: &Link) -> Result<bool> {
    Ok(Socket::open()?.get(&link::by_index(link.index))?.is_none())
}

/// An error as bytes: the errno, then the kernel's words.
fn encode(error: Error) -> Vec<u8> {
    [&error.errno.to_ne_bytes()[..], error.reason.as_bytes()].concat()
}

fn decode(report: &[u8], link: &Link) -> Option<Error> {
    let (errno, reason) = report.split_at_checked(4)?;
    let errno = i32::from_ne_bytes(errno.try_into().ok()?);
    let reason = String::from_utf8_lossy(reason).into_owned();
    Some(Error::of(format!("delete link {}", link.name), errno, reason))
}
