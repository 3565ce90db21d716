//! Removes everything of the daemon: all pods are open then.

use crate::config::Config;
use crate::control::{LOCK, SOCKET};
use crate::error::{Error, io_error};
use node::{Lock, Policy};
use std::io;

/// What a cleanup did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What went, in words.
    pub removed: Vec<String>,
    /// What could not be removed.
    pub errors: Vec<Error>,
}

/// Removes the daemon's files and what it keeps in nf_tables. After a failure it continues with the
/// rest.
///
/// # Errors
/// A daemon runs, or it cannot be determined whether one does: nothing is removed.
pub fn cleanup(config: &Config) -> Result<Cleaned, Error> {
    let lock = Lock::take_named(&config.run_dir, LOCK).map_err(io_error("take the lock"))?;
    let Some(_lock) = lock else {
        return Err(Error::Running(config.run_dir.display().to_string()));
    };
    let mut cleaned = Cleaned::default();
    // First: no pod that comes now is held, which nothing would release.
    let guard = Policy::remove(&config.run_dir).map_err(io::Error::other);
    cleaned.note("policy.json", guard.map_err(io_error("remove policy.json")));
    cleaned.note("what nf_tables holds", crate::kernel::cleanup().map_err(Error::from));
    let socket = config.run_dir.join(SOCKET);
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => {
            let what = socket.display().to_string();
            cleaned.note(&what, done.map_err(io_error(&what)));
        }
    }
    Ok(cleaned)
}

impl Cleaned {
    fn note(&mut self, what: &str, done: Result<(), Error>) {
        match done {
            Ok(()) => self.removed.push(what.to_owned()),
            Err(error) => self.errors.push(error),
        }
    }
}
