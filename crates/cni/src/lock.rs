//! flock(2), through fs2 by name: since Rust 1.89 `file.lock_exclusive()` and the like would bind
//! to methods of std.

use fs2::FileExt;
use std::fs::File;
use std::io;

/// Waits for the exclusive lock. It goes when the last descriptor of this opening is closed, so
/// also when the process is killed.
pub fn exclusive(file: &File) -> io::Result<()> {
    let mut done = FileExt::lock_exclusive(file);
    for _ in 0..INTERRUPTIONS {
        match &done {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                done = FileExt::lock_exclusive(file);
            }
            _ => break,
        }
    }
    done
}

/// More signals than any caller sends to a plugin that waits for a lock.
const INTERRUPTIONS: usize = 1000;

/// Takes the exclusive lock if it is free; says whether it was.
pub fn try_exclusive(file: &File) -> io::Result<bool> {
    match FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock back for every descriptor of this opening, those that other processes inherited
/// among them.
pub fn unlock(file: &File) -> io::Result<()> {
    FileExt::unlock(file)
}
