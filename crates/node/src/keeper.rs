//! Whether a daemon keeps what node.json says.

use crate::lock::{self, Lock};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The daemon's socket in its run directory.
pub const SOCKET: &str = "route-sync.sock";
/// Where plugins keep their records, in the run directory.
const ATTACHMENTS: &str = "attachments";
/// What asks the daemon's loop for a sign of life, a line.
pub const ALIVE: &str = "alive";
/// How long a daemon may take to answer; a full pass over 5,000 nodes takes 0.1 s.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// How often a daemon records that it is alive ([`Lock::beat`]).
pub const BEAT: Duration = Duration::from_secs(60);
/// After so long without a daemon its routes count as outdated: nodes have joined and left.
pub const STALE: Duration = Duration::from_secs(3600);

/// Who keeps the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// A daemon whose loop answers.
    Lives,
    /// A daemon that has the lock, and does not answer.
    Hangs,
    /// No daemon, for less than [`STALE`], and pods are connected: the routes are probably right, and
    /// traffic flows.
    Left,
    /// No daemon for [`STALE`] or longer; or none, and no pod is connected that could lose traffic.
    Gone,
}

impl Keeper {
    /// Looks at the lock, and asks who has it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn of(run_dir: &Path) -> io::Result<Keeper> {
        if Lock::is_held(run_dir)? {
            return Ok(if answers(run_dir) { Keeper::Lives } else { Keeper::Hangs });
        }
        let stale = lock::age(run_dir).is_none_or(|age| age >= STALE);
        Ok(if stale || !has_pods(run_dir) { Keeper::Gone } else { Keeper::Left })
    }
}

/// Whether plugins have records of attachments.
fn has_pods(run_dir: &Path) -> bool {
    run_dir.join(ATTACHMENTS).read_dir().is_ok_and(|mut records| records.next().is_some())
}

/// Whatever is answered, also by a daemon of before, is a sign of life. One that has the lock and
/// no socket yet begins.
fn answers(run_dir: &Path) -> bool {
    let ask = || -> io::Result<usize> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let asks = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // EAGAIN: the queue of those who wait for a daemon that hangs is full.
        match connect(asks.as_raw_fd(), &UnixAddr::new(&run_dir.join(SOCKET))?) {
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(1),
            connected => connected?,
        }
        let mut stream = UnixStream::from(asks);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.write_all(format!("{ALIVE}\n").as_bytes())?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::time::SystemTime;

    #[test]
    fn those_who_answer_live_and_others_hang_or_are_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Gone);
        let held = Lock::take(dir.path()).unwrap().unwrap();
        held.beat().unwrap();
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Lives, "it begins");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| listener.accept().unwrap().0.write_all(b"ok\n").unwrap());
            assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Lives);
        });
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Hangs, "no process accepts");
        drop(held);
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Gone, "no pod is connected");
        std::fs::create_dir(dir.path().join(ATTACHMENTS)).unwrap();
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Gone, "no pod is connected");
        std::fs::write(dir.path().join(ATTACHMENTS).join("bridge-1"), "{}").unwrap();
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Left);
        let lock = std::fs::File::options().write(true).open(dir.path().join("route-sync.lock"));
        lock.unwrap().set_modified(SystemTime::now() - STALE).unwrap();
        assert_eq!(Keeper::of(dir.path()).unwrap(), Keeper::Gone);
    }
}
