//! Files and folders of the daemon: their modes whatever the umask is, and nothing but regular
//! files, so that no FIFO holds it up and no other user can take its lock.

use nix::fcntl::OFlag;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of a lock: flock(2) needs no more than a descriptor for reading.
pub(crate) const PRIVATE: u32 = 0o600;
/// Mode of a file that other programs may read.
pub const READABLE: u32 = 0o644;
const FOLDER: u32 = 0o755;
const STICKY: u32 = 0o1000;
const BOM: char = '\u{feff}';

/// Makes a folder and those above it, each with the mode 755, and mends the mode of one that is
/// there. One with the sticky bit, as /tmp has it, is shared, and stays as it is.
///
/// # Errors
/// It cannot be made, or its mode not be set.
pub fn folder(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(meta) if meta.mode() & 0o777 == FOLDER || meta.mode() & STICKY != 0 => Ok(()),
        Ok(meta) if meta.is_dir() => set_mode(path, meta.mode() & 0o7000 | FOLDER),
        Ok(_) => {
            let what = format!("{} is no directory: move it away", path.display());
            Err(io::Error::new(ErrorKind::NotADirectory, what))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(path),
        Err(error) => Err(error),
    }
}

fn make(path: &Path) -> io::Result<()> {
    let create = || DirBuilder::new().mode(FOLDER).create(path);
    let made = match (create(), path.parent()) {
        (Err(error), Some(above)) if error.kind() == ErrorKind::NotFound => {
            make(above)?;
            create()
        }
        (made, _) => made,
    };
    match made {
        // The umask may have taken bits away.
        Ok(()) => set_mode(path, FOLDER),
        // Another program was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Makes a new file of a mode, in place of one that a killed daemon left.
///
/// # Errors
/// The file system refuses.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes; a symbolic link is followed, as a mounted
/// ConfigMap is made of them.
///
/// # Errors
/// It cannot be read, is no regular file, or larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path, OpenOptions::new().read(true))?.0;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(content)
}

/// As [`read`] of a text, without the byte order mark that some editors put in front.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::from_utf8(read(path, limit)?).map_err(io::Error::other)?;
    if text.starts_with(BOM) {
        text.drain(..BOM.len_utf8());
    }
    Ok(text)
}

/// Opens a regular file; a FIFO is not waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    open_with(path, options, OFlag::O_NONBLOCK)
}

/// As [`open`], of a file that the daemon itself makes: a symbolic link is not followed.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    open_with(path, options, OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).map_err(|error| {
        let other = path.symlink_metadata().is_ok_and(|meta| !meta.is_file());
        let path = path.display();
        if other {
            io::Error::other(format!("{path} is no regular file: remove it"))
        } else {
            error
        }
    })
}

fn open_with(path: &Path, options: &mut OpenOptions, flags: OFlag) -> io::Result<(File, Metadata)> {
    let file = options.custom_flags(flags.bits()).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok((file, meta))
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
        for (was, is) in [(0o777, 0o755), (0o700, 0o755), (0o1777, 0o1777)] {
            set_mode(&dir, was).unwrap();
            folder(&dir).unwrap();
            assert_eq!(mode(&dir), is, "{was:o}");
        }
    }

    #[test]
    fn what_a_killed_daemon_left_is_replaced_mode_and_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "old").unwrap();
        set_mode(&path, 0o666).unwrap();
        create(&path, READABLE).unwrap();
        assert_eq!((mode(&path), read(&path, 0).unwrap().len()), (0o644, 0));
        fs::write(&path, "12").unwrap();
        assert!(read(&path, 1).is_err());
        assert!(read(root.path(), 1).is_err());
        fs::write(&path, "\u{feff}{}").unwrap();
        assert_eq!(text(&path, 9).unwrap(), "{}");
        fs::write(&path, [0xff]).unwrap();
        assert!(text(&path, 9).is_err());
    }
}
