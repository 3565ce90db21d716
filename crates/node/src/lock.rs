//! A daemon's lock: `<run-dir>/route-sync.lock`, flocked for the daemon's life. The lock alone says
//! whether a daemon runs, never a process ID.

use crate::files;
use fs2::FileExt;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

const NAME: &str = "route-sync.lock";
/// Who asks whether it is held holds it shared for microseconds ([`Lock::is_held`]); a daemon that
/// starts meanwhile tries so often, with such a pause in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// The lock, held until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes route-sync's lock; `None` when another daemon holds it. The folder is made when it is
    /// missing.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take(run_dir: &Path) -> io::Result<Option<Lock>> {
        Lock::take_named(run_dir, NAME)
    }

    /// As [`Lock::take`], of another daemon's lock: `policy-sync.lock`.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take_named(run_dir: &Path, name: &str) -> io::Result<Option<Lock>> {
        files::folder(run_dir)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(files::PRIVATE);
        let (file, meta) = files::open_own(&run_dir.join(name), &mut options)?;
        // Made by an earlier daemon, or with another umask.
        if meta.mode() & 0o7777 != files::PRIVATE {
            file.set_permissions(Permissions::from_mode(files::PRIVATE))?;
        }
        for _ in 0..TRIES {
            match FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Some(Lock { file })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Leaves word that the daemon lives: the time of the file.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn beat(&self) -> io::Result<()> {
        self.file.set_modified(SystemTime::now())
    }

    /// Whether route-sync holds its lock. No file is made.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn is_held(run_dir: &Path) -> io::Result<bool> {
        let file = match files::open_own(&run_dir.join(NAME), File::options().read(true)) {
            Ok((file, _)) => file,
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

/// How long ago a daemon left word the last time; `None`: none ever did.
pub(crate) fn age(run_dir: &Path) -> Option<Duration> {
    let beat = run_dir.join(NAME).metadata().ok()?.modified().ok()?;
    // A clock that was set back since then says nothing.
    Some(SystemTime::now().duration_since(beat).unwrap_or_default())
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
        let _other = Lock::take_named(&run_dir, "policy-sync.lock").unwrap().unwrap();
        assert!(Lock::take_named(&run_dir, "policy-sync.lock").unwrap().is_none());
        let lock = Lock::take(&run_dir).unwrap().unwrap();
        assert!(Lock::is_held(&run_dir).unwrap());
        assert!(Lock::take(&run_dir).unwrap().is_none());
        drop(lock);
        assert!(!Lock::is_held(&run_dir).unwrap());
        assert!(Lock::take(&run_dir).unwrap().is_some());
    }

    /// flock(2) needs a descriptor for reading alone.
    #[test]
    fn no_other_user_can_open_it_even_where_one_could_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let _lock = Lock::take(dir.path()).unwrap().unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn what_is_no_file_in_its_place_is_named_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (lock, other) = (dir.path().join(NAME), dir.path().join("other"));
        std::fs::write(&other, "").unwrap();
        std::fs::set_permissions(&other, Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&other, &lock).unwrap();
        let refused = format!("{} is no regular file: remove it", lock.display());
        let refuses = || {
            assert_eq!(Lock::take(dir.path()).unwrap_err().to_string(), refused);
            assert_eq!(Lock::is_held(dir.path()).unwrap_err().to_string(), refused);
        };
        refuses();
        assert_eq!(other.metadata().unwrap().mode() & 0o777, 0o644);
        std::fs::remove_file(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
        refuses();
        std::fs::remove_dir(&lock).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&lock).unwrap());
        refuses();
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
