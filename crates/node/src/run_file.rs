//! A file that a daemon writes for the plugins: JSON with a version, in the run directory.

use crate::files;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Why a file cannot be used.
pub enum Flaw {
    /// The file system refuses.
    Io(io::Error),
    /// It is not what the daemon writes.
    Damaged(serde_json::Error),
    /// It is of another version.
    Version(u64),
}

/// Reads a file of at most `limit` bytes; `None` when there is none.
///
/// # Errors
/// It cannot be read, is damaged, or is of another version than `version`.
pub fn read<T: DeserializeOwned>(path: &Path, limit: u64, version: u32) -> Result<Option<T>, Flaw> {
    let text = match files::text(path, limit) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Flaw::Io(error)),
    };
    // The version first: what else another version holds is unknown.
    #[derive(Deserialize)]
    struct Only {
        version: u64,
    }
    let Only { version: found } = serde_json::from_str(&text).map_err(Flaw::Damaged)?;
    if found != u64::from(version) {
        return Err(Flaw::Version(found));
    }
    serde_json::from_str(&text).map(Some).map_err(Flaw::Damaged)
}

/// Writes a file whole: a reader sees the old one or this one. The folder is made when it is missing.
///
/// # Errors
/// The file system refuses.
pub fn write(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!(".{name}.new"));
    files::folder(folder)?;
    files::create(&aside, files::READABLE)?.write_all(text)?;
    fs::rename(&aside, folder.join(name))
}

/// Removes a file; that there is none is success.
///
/// # Errors
/// The file system refuses.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
