//! A child process that finishes what its parent need not wait for.

use netlink::{Error, Result};
use nix::unistd::{ForkResult, close, fork, pipe2, setsid, write};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Runs `work` and then `linger` in a child process that may outlive this one. What the child
/// reports is read from the returned pipe: the bytes that `work` returns, then end of file; end of
/// file alone also if the child is killed. `linger` gets what else `work` returns.
///
/// The child keeps none of this process's descriptors but those of `keep`: a runtime waits for end
/// of file on the standard ones, and another call for the lock of a record. It is in a session of
/// its own, so that what ends the runtime's process group does not end it.
///
/// # Errors
/// The kernel allows no further process or descriptor.
pub(crate) fn spawn<T>(
    keep: &[BorrowedFd<'_>],
    work: impl FnOnce() -> (Vec<u8>, T),
    linger: impl FnOnce(T),
) -> Result<OwnedFd> {
    let failed = |errno: nix::Error| Error::of("start a process", errno as i32, "");
    let (reader, writer) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed)?;
    let mut kept: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    kept.push(writer.as_raw_fd());
    #[expect(unsafe_code, reason = "nix has no safe fork")]
    // SAFETY: the plugins have one thread, so no lock of the allocator or of std is held by another
    // that the child lacks; `work` and what follows run in the child as they would here.
    let forked = unsafe { fork() }.map_err(failed)?;
    match forked {
        ForkResult::Parent { .. } => Ok(reader),
        ForkResult::Child => {
            let _ = setsid();
            close_others(&kept);
            let (report, rest) = work();
            let _ = write(writer.as_fd(), &report);
            drop(writer);
            linger(rest);
            // Without destructors: the parent's objects name descriptors that are closed here.
            std::process::exit(0);
        }
    }
}

/// Closes every descriptor but those kept.
fn close_others(kept: &[RawFd]) {
    let open = |name: &std::ffi::OsStr| name.to_str().and_then(|number| number.parse().ok());
    let listed = fs::read_dir("/proc/self/fd").map(|entries| {
        entries.flatten().filter_map(|entry| open(&entry.file_name())).collect::<Vec<RawFd>>()
    });
    // Without /proc: a plugin has opened no more than these.
    let all = listed.unwrap_or_else(|_| (0..256).collect());
    for descriptor in all.into_iter().filter(|descriptor| !kept.contains(descriptor)) {
        let _ = close(descriptor);
    }
}
