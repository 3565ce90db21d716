//! Network namespaces, entered only through a guard.

use netlink::{Error, Result};
use nix::sched::{CloneFlags, setns};
use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

/// An open network namespace.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    name: String,
}

impl NetNs {
    /// Opens the namespace at a path.
    ///
    /// # Errors
    /// The path cannot be opened.
    pub fn open(path: &Path) -> Result<NetNs> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(NetNs { file, name }),
            Err(error) => Err(Error::io(format!("open network namespace {name}"), &error)),
        }
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// /proc is not mounted.
    pub fn current() -> Result<NetNs> {
        NetNs::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The descriptor's number, as netlink's `IFLA_NET_NS_FD` wants it.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` inside. The thread is back in its own namespace afterwards, also when `work`
    /// panics. If the kernel refuses the way back, again and again, everything that followed would
    /// change the wrong namespace: then the error says so, and what this thread asks of the kernel
    /// from then on through this crate, but on sockets that are open, fails with the same error.
    ///
    /// # Errors
    /// The namespace cannot be entered (it needs CAP_SYS_ADMIN), `work`'s, or the way back.
    pub fn enter<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        /// For a panic of `work`.
        struct Back(NetNs);
        impl Drop for Back {
            fn drop(&mut self) {
                // The next call reports it.
                let _ = self.0.go_back();
            }
        }
        not_astray()?;
        let back = Back(NetNs::current()?);
        setns(self.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| {
            let reason = match errno {
                nix::errno::Errno::EINVAL => "it is not a network namespace",
                _ => "",
            };
            Error::of(format!("enter network namespace {}", self.name), errno as i32, reason)
        })?;
        let done = work();
        drop(back);
        not_astray()?;
        done
    }

    fn go_back(&self) -> Result<()> {
        let mut errno = nix::errno::Errno::UnknownErrno;
        for _ in 0..WAYS_BACK {
            match setns(self.as_fd(), CloneFlags::CLONE_NEWNET) {
                Ok(()) => return Ok(()),
                Err(refused) => errno = refused,
            }
        }
        ASTRAY.set(Some(errno as i32));
        not_astray()
    }
}

/// How often the way back is tried.
const WAYS_BACK: usize = 3;

thread_local! {
    /// The kernel's reason, in a thread that is in another network namespace than it began in.
    static ASTRAY: Cell<Option<i32>> = const { Cell::new(None) };
}

/// Fails in a thread that could not leave a network namespace that it had entered.
///
/// # Errors
/// The kernel's reason why [`NetNs::enter`] found no way back.
pub fn not_astray() -> Result<()> {
    match ASTRAY.get() {
        None => Ok(()),
        Some(errno) => Err(Error::of(
            "return to the node's own network namespace",
            errno,
            "this call does nothing more, since it would change the pod's; DEL removes what it left",
        )),
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
