//! Files of ours on the node: their modes whatever the umask is, and nothing but regular files, so
//! that no FIFO holds up a call and no other user can take a lock.

use crate::log;
use nix::fcntl::OFlag;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of locks and records. flock(2) needs no more than a descriptor for reading.
pub const PRIVATE: u32 = 0o600;
/// Mode of folders.
pub const FOLDER: u32 = 0o755;

/// Options by which opening waits for no writer of a FIFO and follows no symbolic link; what is
/// made has the mode [`PRIVATE`], or less by the umask.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(PRIVATE).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits());
    options
}

/// Opens a regular file, as [`options`] or with more of them.
///
/// # Errors
/// It cannot be opened, or is no regular file.
pub fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path).map_err(|error| explained(path, error))?;
    regular(&file)?;
    Ok(file)
}

/// As [`open`], and mends its mode.
///
/// # Errors
/// As [`open`].
pub fn open_private(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let file = options.open(path).map_err(|error| explained(path, error))?;
    make_private(&file, &regular(&file)?, path);
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, is no regular file, or larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path, options().read(true))?.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(content)
}

/// What the kernel says of a file that must be a regular one.
///
/// # Errors
/// It is another kind of file.
pub fn regular(file: &File) -> io::Result<Metadata> {
    let meta = file.metadata()?;
    if meta.is_file() { Ok(meta) } else { Err(wrong_kind(&meta)) }
}

/// The error of a file that is no regular one, which names its kind.
pub fn wrong_kind(meta: &Metadata) -> io::Error {
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    io::Error::other(format!("it is {kind}, not a regular file"))
}

/// open(2) says of a symbolic link "too many levels", and of a socket "no such device".
fn explained(path: &Path, error: io::Error) -> io::Error {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => wrong_kind(&meta),
        _ => error,
    }
}

/// Removes what is no regular file from the place of a file of ours: no call of ours made it.
///
/// # Errors
/// The given one, where nothing such is there; a directory that is not empty.
pub fn clear(path: &Path, error: io::Error) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() => {
            let kind = wrong_kind(&meta);
            remove_any(path).map_err(|also| io::Error::other(format!("{kind}: {also}")))?;
            log::warn(&format!("{} was removed: {kind}", path.display()));
            Ok(())
        }
        _ => Err(error),
    }
}

/// Removes a file of any kind, or an empty directory.
///
/// # Errors
/// It is not there, or cannot be removed.
pub fn remove_any(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
}

/// Gives an open file the mode [`PRIVATE`], where it has another.
pub fn make_private(file: &File, meta: &Metadata, path: &Path) {
    if meta.mode() & 0o7777 != PRIVATE
        && let Err(error) = file.set_permissions(Permissions::from_mode(PRIVATE))
    {
        log::warn(&format!("other users may open {}: chmod 600: {error}", path.display()));
    }
}

/// Makes a folder of ours and those above it, each with the mode [`FOLDER`], and mends the mode of
/// one that is there. One with the sticky bit, as /tmp has it, is shared, and stays as it is.
///
/// # Errors
/// It cannot be made, or something else has its name.
pub fn folder(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => {
            mend_folder(path, &meta, FOLDER);
            Ok(())
        }
        Ok(_) => {
            let what = format!("{} is no directory: move it away", path.display());
            Err(io::Error::new(ErrorKind::NotADirectory, what))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make_folder(path, FOLDER),
        Err(error) => Err(error),
    }
}

/// Makes a folder of a mode, and with the mode [`FOLDER`] those above it that are missing.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    let make = || DirBuilder::new().mode(mode).create(path);
    let made = match (make(), path.parent()) {
        (Err(error), Some(above)) if error.kind() == ErrorKind::NotFound => {
            make_folder(above, FOLDER)?;
            make()
        }
        (made, _) => made,
    };
    match made {
        // The umask may have taken bits away.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        // Another call was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a folder that is there a mode, unless it has the sticky bit.
pub fn mend_folder(path: &Path, meta: &Metadata, mode: u32) {
    const STICKY: u32 = 0o1000;
    if meta.mode() & 0o777 == mode || meta.mode() & STICKY != 0 {
        return;
    }
    let mended = Permissions::from_mode(meta.mode() & 0o7000 | mode);
    if let Err(error) = fs::set_permissions(path, mended) {
        log::warn(&format!("other users may write {}: chmod {mode:o}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn folders_have_their_mode_whatever_they_had() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        folder(&dir).unwrap();
        assert_eq!((mode(&dir), mode(dir.parent().unwrap())), (0o755, 0o755));
        for (was, is) in [(0o777, 0o755), (0o700, 0o755), (0o1777, 0o1777), (0o2775, 0o2755)] {
            fs::set_permissions(&dir, Permissions::from_mode(was)).unwrap();
            folder(&dir).unwrap();
            assert_eq!(mode(&dir), is, "{was:o}");
        }
        fs::write(dir.join("file"), "").unwrap();
        assert!(folder(&dir.join("file")).unwrap_err().to_string().contains("is no directory"));
    }

    #[test]
    fn only_regular_files_are_opened_and_no_fifo_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        std::os::unix::fs::symlink("nowhere", at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, kind) in
            [("fifo", "FIFO"), ("socket", "socket"), ("link", "symbolic link"), ("folder", "dir")]
        {
            for options in [options().read(true), options().read(true).write(true).create(true)] {
                let error = open(&at(name), options).unwrap_err().to_string();
                assert!(error.contains(kind), "{name}: {error}");
            }
        }
    }

    #[test]
    fn a_file_that_others_could_open_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("lock");
        fs::write(&path, "12345").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        open_private(&path, options().write(true)).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("more than 4 bytes"));
    }
}
