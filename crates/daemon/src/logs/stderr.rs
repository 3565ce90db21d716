//! stderr that never waits for its reader: a line that does not fit is dropped and counted.

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// PIPE_BUF: a write of at most so many bytes enters a pipe whole or not at all (pipe(7)).
const WHOLE: usize = 4096;

static DROPPED: AtomicU64 = AtomicU64::new(0);
static REPORTED: AtomicU64 = AtomicU64::new(0);
static STDERR: LazyLock<Stderr> = LazyLock::new(Stderr::open);

/// Lines that were dropped since the start.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Lines that were dropped since the last call.
pub(super) fn newly_dropped() -> u64 {
    let dropped = dropped();
    dropped.saturating_sub(REPORTED.swap(dropped, Ordering::Relaxed))
}

/// Writes one line, or drops it.
pub(super) fn line(line: &[u8]) {
    let (line, end) = match line.get(..WHOLE - 4) {
        Some(most) if line.len() > WHOLE => (most, &b"...\n"[..]),
        _ => (line, &b""[..]),
    };
    if !STDERR.takes(&[line, end].concat()) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// How stderr is written without waiting.
enum Stderr {
    /// A pipe or terminal, opened again: O_NONBLOCK belongs to the open file, which other processes
    /// that write to it share.
    Own(File),
    /// A socket, such as the journal's.
    Socket,
    /// A file, or what cannot be opened again: poll(2) answers first whether it takes a line.
    Shared,
}

impl Stderr {
    fn open() -> Stderr {
        let stderr = "/proc/self/fd/2";
        let Ok(about) = std::fs::metadata(stderr) else { return Stderr::Shared };
        let kind = about.file_type();
        if kind.is_socket() {
            return Stderr::Socket;
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Stderr::Shared;
        }
        let no_wait = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let file = File::options().write(true).custom_flags(no_wait).open(stderr);
        file.map_or(Stderr::Shared, Stderr::Own)
    }

    /// Whether the whole line was written. One that was cut off lacks its end of line.
    fn takes(&self, line: &[u8]) -> bool {
        let stderr = io::stderr();
        loop {
            let written = match self {
                Stderr::Own(file) => (&*file).write(line),
                Stderr::Socket => {
                    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                    send(stderr.as_raw_fd(), line, flags).map_err(io::Error::from)
                }
                Stderr::Shared => {
                    let mut asked = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut asked, PollTimeout::ZERO) {
                        Ok(1) => stderr.lock().write(line),
                        _ => return false,
                    }
                }
            };
            match written {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return written.is_ok_and(|length| length == line.len()),
            }
        }
    }
}
