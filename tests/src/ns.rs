//! A network namespace with a mount namespace of its own, held by file descriptors alone.
//!
//! A thread of this process enters them, and what the thread spawns or opens belongs there:
//! no helper process, no bind mount, no `ip netns add`, no unsafe code.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// A network and a mount namespace. Both are gone when this is dropped and no process is left in
/// them.
pub struct Namespace {
    net: File,
    mnt: File,
}

impl Namespace {
    /// New namespaces: an own /sys, nothing configured; `prepare` runs inside and may mount more.
    pub fn new(prepare: impl FnOnce() + Send) -> Self {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
                .expect("new namespaces: the suites need root (CAP_SYS_ADMIN)");
            mount(
                None::<&str>,
                "/",
                None::<&str>,
                MsFlags::MS_REC | MsFlags::MS_PRIVATE,
                None::<&str>,
            )
            .expect("make mounts private");
            umount2("/sys", MntFlags::MNT_DETACH).expect("unmount /sys");
            mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>)
                .expect("mount the namespace's own /sys");
            prepare();
            Self { net: own("net"), mnt: own("mnt") }
        })
    }

    /// Runs `work` on a thread inside; sockets and processes made there stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            self.join();
            work()
        })
    }

    /// Moves the calling thread into the namespaces for the rest of its life.
    pub fn join(&self) {
        unshare(CloneFlags::CLONE_FS).expect("unshare fs");
        setns(&self.net, CloneFlags::CLONE_NEWNET).expect("enter the netns");
        setns(&self.mnt, CloneFlags::CLONE_NEWNS).expect("enter the mount namespace");
    }

    /// Another holder of the same namespaces.
    pub fn duplicate(&self) -> Self {
        let again = |file: &File| file.try_clone().expect("duplicate a namespace's descriptor");
        Self { net: again(&self.net), mnt: again(&self.mnt) }
    }

    /// A path to the netns that any process of this machine can open while this lives.
    pub fn net_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.net.as_raw_fd()))
    }

    /// The inode of the netns, by which /proc/PID/ns/net names it.
    pub fn net_inode(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        self.net.metadata().expect("stat the netns").ino()
    }
}

fn own(kind: &str) -> File {
    File::open(format!("/proc/thread-self/ns/{kind}")).expect("open the new namespace")
}

/// Runs `work` on a thread of its own, so that namespaces entered there end with it.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
