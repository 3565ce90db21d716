//! File operations of the [store](crate::store): the lock, the sign by which a directory shows that
//! no process changed it, files that are whole or absent.

use crate::index::Time;
use cni::{files, lock};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Opens and takes the reference's lock, in a directory that is made if there is none.
pub(crate) fn lock_dir(dir: &Path) -> io::Result<File> {
    until_held(|| match lock_in(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            files::make_folder(dir, files::FOLDER)?;
            Ok(None)
        }
        tried => tried,
    })
}

/// As [`lock_dir`]; `None` when there is no directory, or nothing in it.
pub(crate) fn lock_existing(dir: &Path) -> io::Result<Option<File>> {
    until_held(|| match lock_in(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(None)),
        // A network's name that no directory can have.
        Err(error) if error.kind() == ErrorKind::InvalidFilename => Ok(Some(None)),
        // A full disk, on which not even the lock can be made: what frees leases is done here.
        Err(_) if is_empty(dir) => Ok(Some(None)),
        tried => Ok(tried?.map(Some)),
    })
}

/// The directory may be removed while we wait for its lock: then we hold that of an unlinked file.
/// The reference makes the lock with mode 750, and opens one of any mode.
fn lock_in(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join("lock");
    let file = match files::options().read(true).write(true).create(true).open(&path) {
        Ok(file) => file,
        Err(error) => return files::clear(&path, error).map(|()| None),
    };
    lock::exclusive(&file)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return files::clear(&path, files::wrong_kind(&meta)).map(|()| None);
    }
    files::make_private(&file, &meta, &path);
    Ok((meta.nlink() > 0).then_some(file))
}

fn until_held<T>(mut attempt: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..100 {
        if let Some(held) = attempt()? {
            return Ok(held);
        }
    }
    Err(io::Error::other("the directory is removed again and again"))
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// mtime and ctime.
pub(crate) fn times(dir: &Path) -> io::Result<(Time, Time)> {
    fs::metadata(dir).map(|meta| times_of(&meta))
}

/// As [`times`], and mends the directory's mode. In the one above, which the administrator may keep
/// to fewer, others may not write: they could put a directory of their own in the place of this one.
pub(crate) fn times_mended(dir: &Path) -> io::Result<(Time, Time)> {
    let meta = fs::metadata(dir)?;
    files::mend_folder(dir, &meta, files::FOLDER);
    if let Some(above) = dir.parent()
        && let Ok(meta) = fs::metadata(above)
    {
        files::mend_folder(above, &meta, meta.mode() & files::FOLDER);
    }
    Ok(times_of(&meta))
}

fn times_of(meta: &Metadata) -> (Time, Time) {
    ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()))
}

/// Gives the directory an mtime that differs from its ctime, and returns both; `None` where that
/// is not to be had.
pub(crate) fn sign(dir: &Path) -> Option<(Time, Time)> {
    let past = SystemTime::now() - Duration::from_secs(1);
    let past = past.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // Whole microseconds: some file systems keep no more. Still no two operations choose alike.
    let time: Time = (past.as_secs() as i64, i64::from(past.subsec_micros()) * 1000);
    let mtime = TimeSpec::new(time.0, time.1);
    utimensat(AT_FDCWD, dir, &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::FollowSymlink).ok()?;
    times(dir).ok().filter(|(mtime, ctime)| *mtime == time && mtime != ctime)
}

/// A file's inode and ctime.
pub(crate) fn stamp_of(file: &File) -> io::Result<(u64, Time)> {
    let meta = file.metadata()?;
    Ok((meta.ino(), (meta.ctime(), meta.ctime_nsec())))
}

/// More than a container ID from the environment can be long.
const LIMIT: u64 = 256 << 10;

/// Reads a small file with a single call, a larger one up to the limit.
pub(crate) fn read_small(file: &mut File) -> io::Result<Vec<u8>> {
    let mut content = vec![0; 512];
    let length = file.read(&mut content)?;
    content.truncate(length);
    if length == 512 {
        file.take(LIMIT).read_to_end(&mut content)?;
    }
    Ok(content)
}

/// Writes a new file, in place of one that a killed process left.
pub(crate) fn create_new(path: &Path, content: &str) -> io::Result<File> {
    match write_new(path, content) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            // Left by a killed process: the lock is ours.
            fs::remove_file(path)?;
            write_new(path, content)
        }
        done => done,
    }
}

/// Writes a new file; `None` when there is one already.
pub(crate) fn create_new_at(path: &Path, content: &str) -> io::Result<Option<File>> {
    match write_new(path, content) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        done => done.map(Some),
    }
}

fn write_new(path: &Path, content: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    if let Err(error) = file.write_all(content.as_bytes()) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// Renames unless the target exists; EEXIST when it does.
pub(crate) fn move_new(from: &Path, to: &Path) -> nix::Result<()> {
    // nix has it for glibc alone.
    let renamed = renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
    match renamed.map_err(|error| Errno::from_raw(error.raw_os_error())) {
        // A file system that does not know the flag.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            let linked = fs::hard_link(from, to)
                .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
            linked.map(|()| {
                let _ = fs::remove_file(from);
            })
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_directory_undoes_its_sign() {
        let root = tempfile::tempdir().unwrap();
        let (dir, beside) = (root.path().join("dir"), root.path().join("beside"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("old"), "").unwrap();
        fs::write(dir.join("kept"), "").unwrap();
        fs::write(&beside, "").unwrap();
        let changes: [&dyn Fn() -> io::Result<()>; 7] = [
            &|| fs::write(dir.join("a"), ""),
            &|| fs::hard_link(dir.join("a"), dir.join("b")),
            &|| fs::rename(dir.join("a"), dir.join("c")),
            &|| fs::rename(&beside, dir.join("c")),
            &|| fs::rename(dir.join("c"), &beside),
            &|| fs::create_dir(dir.join("d")),
            &|| fs::remove_file(dir.join("old")),
        ];
        for (n, change) in changes.iter().enumerate() {
            let signed = sign(&dir).unwrap();
            assert_eq!(times(&dir).unwrap(), signed);
            fs::write(dir.join("kept"), "x").unwrap();
            assert_eq!(times(&dir).unwrap(), signed, "a write in place changes no directory");
            change().unwrap();
            let (mtime, ctime) = times(&dir).unwrap();
            assert_eq!(mtime, ctime, "change {n}");
            // Setting the mtime back changes ctime; the clock may tick but every 10 ms.
            std::thread::sleep(Duration::from_millis(20));
            File::open(&dir).unwrap().set_modified(to_time(signed.0)).unwrap();
            assert_eq!(times(&dir).unwrap().0, signed.0);
            assert_ne!(times(&dir).unwrap(), signed, "change {n}");
        }
    }

    fn to_time((seconds, nanoseconds): Time) -> SystemTime {
        let since = Duration::new(seconds.try_into().unwrap(), nanoseconds.try_into().unwrap());
        SystemTime::UNIX_EPOCH + since
    }

    #[test]
    fn moving_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        create_new(&from, "left by a killed process").unwrap();
        create_new(&from, "new").unwrap();
        assert_eq!(move_new(&from, &to), Ok(()));
        create_new(&from, "other").unwrap();
        assert_eq!(move_new(&from, &to), Err(Errno::EEXIST));
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert!(create_new_at(&to, "other").unwrap().is_none());
    }
}
