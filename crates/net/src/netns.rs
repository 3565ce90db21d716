//! Network namespaces, entered only through a guard.

use netlink::{Error, Result};
use nix::sched::{CloneFlags, setns};
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
    /// panics; if the kernel should refuse the way back, that is a panic of its own, since
    /// everything that followed would change the wrong namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered (it needs CAP_SYS_ADMIN), or `work`'s.
    pub fn enter<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        struct Back(NetNs);
        impl Drop for Back {
            fn drop(&mut self) {
                if let Err(errno) = setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET) {
                    let cause = std::io::Error::from(errno);
                    panic!("the way back to the own network namespace is refused: {cause}");
                }
            }
        }
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
        done
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
