//! The daemon's lock: `<run-dir>/route-sync.lock`, flocked for the daemon's life. Whether a
//! daemon runs is told by the lock, never by a process ID.

use fs2::FileExt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

const NAME: &str = "route-sync.lock";
/// Who asks whether it is held holds it shared for microseconds ([`Lock::is_held`]); a daemon that
/// starts meanwhile tries so often, with such a pause in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// The lock, held until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; `None` when another daemon holds it. The folder is made when it is missing.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take(run_dir: &Path) -> io::Result<Option<Lock>> {
        fs::create_dir_all(run_dir)?;
        let file =
            File::options().create(true).truncate(false).write(true).open(run_dir.join(NAME))?;
        for _ in 0..TRIES {
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Some(Lock { _file: file })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a daemon holds it. It makes nothing.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn is_held(run_dir: &Path) -> io::Result<bool> {
        let file = match File::open(run_dir.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Shared, so that two that ask at once do not see each other.
        match FileExt::try_lock_shared(&file) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_and_others_see_that() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        assert!(!Lock::is_held(&run_dir).unwrap());
        assert!(!run_dir.exists());
        let lock = Lock::take(&run_dir).unwrap().unwrap();
        assert!(Lock::is_held(&run_dir).unwrap());
        assert!(Lock::take(&run_dir).unwrap().is_none());
        drop(lock);
        assert!(!Lock::is_held(&run_dir).unwrap());
        assert!(Lock::take(&run_dir).unwrap().is_some());
    }

    /// A plugin's STATUS at the instant of the daemon's start.
    #[test]
    fn one_who_asks_does_not_keep_the_daemon_out() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lock::take(dir.path()).unwrap());
        let asks = File::open(dir.path().join(NAME)).unwrap();
        FileExt::try_lock_shared(&asks).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(PAUSE * 3);
                drop(asks);
            });
            assert!(Lock::take(dir.path()).unwrap().is_some());
        });
    }
}
