//! The records of attachments, below `<runDir>/attachments`.

use crate::places;
use attach::record::Record;
use fs2::FileExt;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

/// The file of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFile {
    /// Its name: the plugin's, or `bridge` for every main one, and the attachment's hash.
    pub name: String,
    /// What it says; `None` where it is torn or newer than this program.
    pub record: Option<Record>,
    /// Seconds since it was written.
    pub age: u64,
    /// A call is at work on the attachment.
    pub locked: bool,
}

impl RecordFile {
    /// Whether a main plugin wrote it.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.name.starts_with("bridge-")
    }

    /// The attachment's hash.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.name.rsplit_once('-').map_or("", |(_, hash)| hash)
    }
}

/// The records; without the folder there are none.
///
/// # Errors
/// The folder cannot be read.
pub fn read(run_dir: &Path) -> Result<Vec<RecordFile>, String> {
    let folder = run_dir.join("attachments");
    let names = places::names(&folder)?.unwrap_or_default();
    let file = |name: String| {
        let path = folder.join(&name);
        // Gone meanwhile: a DEL.
        let text = places::bytes(&path).ok()?;
        let record = serde_json::from_slice(&text).ok();
        Some(RecordFile { record, age: age_of(&path), locked: is_locked(&path), name })
    };
    Ok(names.into_iter().filter(|name| name.contains('-')).filter_map(file).collect())
}

/// Seconds since a file was changed.
#[must_use]
pub fn age_of(path: &Path) -> u64 {
    let changed = path.metadata().and_then(|meta| meta.modified()).ok();
    let age = changed.and_then(|at| SystemTime::now().duration_since(at).ok());
    age.map_or(0, |age| age.as_secs())
}

/// A shared lock is held for an instant: a call that comes then waits for it.
fn is_locked(path: &Path) -> bool {
    let tried = File::open(path).and_then(|file| FileExt::try_lock_shared(&file));
    tried.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
