//! Which executables were installed: `.ferrule-manifest` in their folder, as `scripts/install` keeps
//! it too, so that either can remove what the other installed.

use super::conflist::replace;
use nix::fcntl::{Flock, FlockArg};
use node::files;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = ".ferrule-manifest";
const LOCK: &str = ".ferrule-lock";
const SAVED: &str = ".ferrule-saved";
/// More than lists all that anyone installs, in bytes.
const LIMIT: u64 = 1 << 20;

/// Lines `SHA-256  NAME` of a folder of executables; names with a `/` are files elsewhere, of
/// `scripts/install`.
#[derive(Debug)]
pub struct Manifest {
    folder: PathBuf,
    lines: Vec<(String, String)>,
    changed: bool,
    /// Another installation waits until this is dropped.
    _lock: Flock<File>,
}

impl Manifest {
    /// Reads it; `None` where another program installs or removes at this moment.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn take(folder: &Path) -> io::Result<Option<Manifest>> {
        let Some(lock) = lock(&folder.join(LOCK))? else { return Ok(None) };
        let text = match files::text(&folder.join(NAME), LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let pair = |line: &str| line.split_once("  ").map(|(sum, name)| (sum.into(), name.into()));
        let lines = text.lines().filter_map(pair).collect();
        Ok(Some(Manifest { folder: folder.to_owned(), lines, changed: false, _lock: lock }))
    }

    /// Whether a file in the folder is as it was installed.
    pub fn has(&self, name: &str, sum: &str) -> bool {
        self.lines.iter().any(|line| (line.0.as_str(), line.1.as_str()) == (sum, name))
    }

    /// Notes what is about to be installed: should the daemon end in between, it is known as ours.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn add(&mut self, name: &str, sum: &str) -> io::Result<()> {
        self.lines.push((sum.to_owned(), name.to_owned()));
        self.changed = true;
        self.write()
    }

    /// Names in the folder that are listed.
    pub fn names(&self) -> Vec<String> {
        let names = self.lines.iter().map(|line| line.1.clone());
        let mut names: Vec<String> = names.filter(|name| !name.contains('/')).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Forgets a name.
    pub fn forget(&mut self, name: &str) {
        let before = self.lines.len();
        self.lines.retain(|line| line.1 != name);
        self.changed |= self.lines.len() != before;
    }

    /// Keeps the lines of the files that are in place; nothing is written where nothing changed.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn tidy(mut self) -> io::Result<()> {
        if self.changed {
            let folder = self.folder.clone();
            let in_place = |line: &(String, String)| {
                let elsewhere = line.1.contains('/');
                elsewhere || sum(&folder.join(&line.1)).is_ok_and(|sum| sum == line.0)
            };
            self.lines.retain(in_place);
            self.lines.sort();
            self.lines.dedup();
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is left, or removes all of it with the lock where nothing is.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn end(self) -> io::Result<()> {
        if !self.lines.is_empty() {
            return self.write();
        }
        for name in [NAME, LOCK] {
            super::conflist::remove(&self.folder.join(name))?;
        }
        // Only where no file of others is left in it.
        let _ = fs::remove_dir(self.folder.join(SAVED));
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let mut text = String::new();
        for (sum, name) in &self.lines {
            // A String takes whatever is written.
            let _ = writeln!(text, "{sum}  {name}");
        }
        replace(&self.folder.join(NAME), text.as_bytes(), files::READABLE)
    }

    /// Where another program's file of this name is kept.
    pub fn saved(&self, name: &str) -> PathBuf {
        self.folder.join(SAVED).join(name)
    }

    /// Keeps another program's file that is about to be replaced; gives where.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save(&self, name: &str) -> io::Result<PathBuf> {
        let (path, saved) = (self.folder.join(name), self.saved(name));
        let folder = self.folder.join(SAVED);
        if !folder.is_dir() {
            files::folder(&folder)?;
        }
        if saved.symlink_metadata().is_ok() {
            if sum(&saved).ok() == sum(&path).ok() {
                return Ok(saved);
            }
            fs::rename(&saved, free(&saved))?;
        }
        // A link keeps owner, mode and times, and a symbolic link as it is.
        if fs::hard_link(&path, &saved).is_err() {
            let new = super::conflist::aside(&saved);
            fs::copy(&path, &new)?;
            fs::rename(&new, &saved)?;
        }
        Ok(saved)
    }
}

/// A name that is free, as `mv --backup=numbered` gives it.
fn free(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: u32| path.with_file_name(format!("{name}.~{number}~"));
    let taken = (1..).map(numbered).find(|path| path.symlink_metadata().is_err());
    taken.unwrap_or_else(|| numbered(0))
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// It cannot be read.
pub fn sum(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut part = vec![0; 64 << 10];
    loop {
        match file.read(&mut part)? {
            0 => break,
            length => hash.update(part.get(..length).unwrap_or_default()),
        }
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// Who held the lock may have removed it: then it is the lock of an unlinked file.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    const PRIVATE: u32 = 0o600;
    loop {
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(PRIVATE);
        options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
        let file = options.open(path)?;
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, error)) => return Err(error.into()),
        };
        let of_path = path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
        let meta = held.metadata()?;
        if of_path == Some((meta.dev(), meta.ino())) {
            return Ok(Some(held));
        }
    }
}
