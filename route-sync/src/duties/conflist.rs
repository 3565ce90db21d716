//! The conflist on disk: what is there, what is written over it, and what was written last.

use super::merge::{Merged, merge};
use super::template::{LIMIT, List, faults, kind, list, plugins};
use crate::config::cni::Cni;
use node::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What was written last, in the state directory.
const RECORD: &str = "conflist.json";
const VERSION: u64 = 1;

/// What was written last, so that what others have changed since is known.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    version: u64,
    /// Where.
    path: PathBuf,
    /// The rendered template. While one is being written over another both are here, the new one
    /// first: either may be what is on disk.
    written: Vec<List>,
}

/// The conflist that is there.
#[derive(Debug)]
enum There {
    Nothing,
    List(List),
    /// Something that no runtime can read, and why.
    Broken(String),
}

/// What is on disk now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// It was written, and not only found as it must be.
    pub changed: bool,
    /// What `status` remarks.
    pub remarks: Vec<String>,
}

/// Brings the conflist in step: what others have put into the one that is there stays.
///
/// # Errors
/// The file system refuses, in words with the remedy; what was there is there.
pub fn write(cni: &Cni, state_dir: &Path, now: &List) -> Result<Written, String> {
    let path = cni.conflist();
    let record = Record::read(state_dir);
    let earlier = record.earlier_than(&path);
    // Where the configuration gave the file another name, what others put into it goes along.
    let (from, there) = match (look(&path)?, earlier) {
        (There::Nothing, Some(earlier)) => (earlier, look(earlier)?),
        (there, _) => (path.as_path(), there),
    };
    let base = (record.path == from).then(|| record.base(&there)).flatten();
    let mut written = Written::default();
    let merged = match &there {
        There::Nothing => Merged { list: now.clone(), ..Merged::default() },
        There::List(there) => merge(base, there, now),
        There::Broken(why) => {
            let lost = format!("it could not be read: {why}");
            Merged { list: now.clone(), lost: vec![lost], ..Merged::default() }
        }
    };
    let same = matches!(&there, There::List(there) if *there == merged.list) && path.exists();
    let confirmed = record.path == path && record.written == [now.clone()];
    if !same || !confirmed {
        if !merged.lost.is_empty() && from.exists() {
            let kept = keep(from, &replaced(&path, state_dir));
            kept.map_err(|error| cannot("cannot keep what is in", from, &error))?;
        }
        let both = std::iter::once(now).chain(base).cloned().collect();
        let record = |written| Record { version: VERSION, path: path.clone(), written };
        record(both).write(state_dir)?;
        if !same {
            put(&path, &merged.list)?;
            written.changed = true;
        }
        record(vec![now.clone()]).write(state_dir)?;
    }
    if let Some(earlier) = earlier {
        remove(earlier).map_err(|error| cannot("cannot remove", earlier, &error))?;
    }
    for lost in merged.lost.iter().filter(|_| written.changed) {
        tracing::warn!("{}: {lost}", path.display());
    }
    written.remarks = remarks(&path, state_dir, &merged);
    Ok(written)
}

/// What an administrator should know of the conflist.
fn remarks(path: &Path, state_dir: &Path, merged: &Merged) -> Vec<String> {
    let shown = path.display();
    let mut remarks = vec![];
    if !merged.others.is_empty() {
        let others = merged.others.join(", ");
        remarks.push(format!("{shown} also has plugins that others put there: {others}"));
    }
    for kept in &merged.kept {
        remarks.push(format!(
            "{shown}: {kept}: what is there stays; write it into the template, or undo it there"
        ));
    }
    let replaced = replaced(path, state_dir);
    if replaced.exists() {
        remarks.push(format!(
            "{shown} had changes of others that were replaced: the file as it was is {}; remove it \
             when it is not needed",
            replaced.display()
        ));
    }
    remarks
}

/// Removes what a killed daemon left half written.
pub fn tidy(cni: &Cni) {
    let _ = fs::remove_file(aside(&cni.conflist()));
}

/// What [`take_away`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Gone {
    /// There was none.
    Absent,
    /// It is another program's: why.
    NotOurs(String),
    /// It is gone; plugins of others that were in it, as JSON.
    Removed(Vec<String>),
}

/// Removes the conflist, if the daemon wrote it; `template`: what it is made of, where that is known.
///
/// # Errors
/// The file system refuses.
pub fn take_away(cni: &Cni, state_dir: &Path, template: Option<&List>) -> io::Result<Gone> {
    let path = cni.conflist();
    tidy(cni);
    let record = Record::read(state_dir);
    let there = look(&path).map_err(io::Error::other)?;
    let gone = match &there {
        There::Nothing => Gone::Absent,
        There::Broken(why) if record.path != path => Gone::NotOurs(why.clone()),
        There::Broken(_) => Gone::Removed(vec![]),
        There::List(there) => {
            let base = record.base(&There::List(there.clone())).filter(|_| record.path == path);
            match base.or(template) {
                None => Gone::NotOurs("nothing says what route-sync wrote there".to_owned()),
                Some(now) => {
                    let merged = merge(base, there, now);
                    let first = |list: &List| plugins(list).first().map(|it| kind(it).to_owned());
                    if base.is_none() && first(there) != first(now) {
                        Gone::NotOurs("it is not of the template's network".to_owned())
                    } else {
                        let other = |it: &&serde_json::Value| {
                            merged.others.iter().any(|kind_| kind(it) == kind_)
                        };
                        let others = plugins(there).iter().filter(other);
                        Gone::Removed(others.map(ToString::to_string).collect())
                    }
                }
            }
        }
    };
    if matches!(gone, Gone::Removed(_)) {
        remove(&path)?;
    }
    remove(&state_dir.join(RECORD))?;
    Ok(gone)
}

/// Where the file as it was is kept when changes of others were replaced.
pub fn replaced(path: &Path, state_dir: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    state_dir.join(name + ".replaced")
}

impl Record {
    /// One that is missing or damaged is none: then nothing is known.
    fn read(state_dir: &Path) -> Record {
        let path = state_dir.join(RECORD);
        let read = files::text(&path, 4 * LIMIT).ok();
        let record: Option<Record> = read.and_then(|text| serde_json::from_str(&text).ok());
        record.filter(|record| record.version == VERSION).unwrap_or_default()
    }

    fn write(&self, state_dir: &Path) -> Result<(), String> {
        let write = || {
            files::folder(state_dir)?;
            let text = serde_json::to_vec(self).map_err(io::Error::other)?;
            replace(&state_dir.join(RECORD), &text, files::READABLE)
        };
        write().map_err(|error| cannot("cannot write", &state_dir.join(RECORD), &error))
    }

    /// Where the file was before the configuration gave it another name.
    fn earlier_than(&self, path: &Path) -> Option<&Path> {
        let earlier = !self.path.as_os_str().is_empty() && self.path != path;
        earlier.then_some(self.path.as_path())
    }

    /// What the file there is made of: of two that may be, the one that it differs from in fewer
    /// places.
    fn base(&self, there: &There) -> Option<&List> {
        let There::List(there) = there else { return self.written.first() };
        let differs = |base: &&List| {
            let merged = merge(Some(base), there, base);
            merged.kept.len() + merged.lost.len()
        };
        self.written.iter().min_by_key(differs)
    }
}

fn look(path: &Path) -> Result<There, String> {
    let text = match files::text(path, LIMIT) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
        // A folder, a text that is not UTF-8, or one that is far too long.
        Err(error) if error.kind() == ErrorKind::Other => {
            return Ok(There::Broken(error.to_string()));
        }
        Err(error) => return Err(cannot("cannot read", path, &error)),
    };
    Ok(match list(&text) {
        Ok(list) => match faults(&list) {
            none if none.is_empty() => There::List(list),
            faults => There::Broken(faults.join("; ")),
        },
        Err(why) => There::Broken(why),
    })
}

/// Keeps a copy of the file as it is.
fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    kept.parent().map_or(Ok(()), files::folder)?;
    let text = files::read(path, LIMIT)?;
    replace(kept, &text, mode(path))
}

/// Writes the conflist in one step.
fn put(path: &Path, list: &List) -> Result<(), String> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if !folder.is_dir() {
            files::folder(folder)?;
        }
        let mut text = serde_json::to_vec_pretty(list).map_err(io::Error::other)?;
        text.push(b'\n');
        replace(path, &text, mode(path))
    };
    write().map_err(|error| cannot("cannot write", path, &error))
}

/// The mode to write with: 644, or less where an administrator has given the file less.
fn mode(path: &Path) -> u32 {
    let there = path.metadata().map_or(files::READABLE, |meta| meta.mode());
    there & files::READABLE | 0o600
}

/// A reader, and a machine that crashes, has the old file or this one, whole.
pub fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let aside = aside(path);
    let mut file = files::create(&aside, mode)?;
    let written = file.write_all(text).and_then(|()| {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&aside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// A name that no runtime reads (libcni `ConfFiles` goes by the ending).
pub fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}.new"))
}

/// Removes a file; that there is none is success.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What failed, and what to do.
pub fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    let remedy = match error.kind() {
        ErrorKind::ReadOnlyFilesystem => format!(
            "let route-sync write {folder}: ReadWritePaths= of its unit, or a mount of that folder \
             in its container"
        ),
        ErrorKind::PermissionDenied => {
            format!(
                "{folder} must be root's and writable for it (mode 755): route-sync has no \
                     CAP_DAC_OVERRIDE"
            )
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("make room in {folder}"),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => "move the folder away".to_owned(),
        _ => format!("see that route-sync can write {folder}"),
    };
    format!("{what} {}: {error}; {remedy}; it is tried again", path.display())
}

#[cfg(test)]
mod tests;
