//! Watches the files in a folder. The folder need not exist, and may be replaced.

use daemon::watch::Watch;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use tokio::io::unix::AsyncFd;

/// A folder that is watched.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The folder itself: made, removed, replaced.
    itself: Watch,
    /// What is in it, while it exists.
    inside: Option<AsyncFd<Handle>>,
}

/// nix has `AsFd` alone, and tokio asks for `AsRawFd`: always the same descriptor, open as long as
/// this lives.
#[derive(Debug)]
struct Handle(Inotify);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Folder {
    /// Watches a folder from now on.
    ///
    /// # Errors
    /// The kernel has no inotify instance or watch left (`fs.inotify.max_user_*`).
    pub fn new(path: &Path) -> io::Result<Folder> {
        let itself = Watch::new(path)?;
        Ok(Folder { path: path.to_owned(), itself, inside: inside(path)? })
    }

    /// Waits until something in it may have changed. Writing counts, not only closing: a plugin writes its record long
    /// before it closes it.
    ///
    /// # Errors
    /// As [`Folder::new`].
    pub async fn changed(&mut self) -> io::Result<()> {
        let again = tokio::select! {
            itself = self.itself.changed() => itself.map(|()| true)?,
            events = events(self.inside.as_ref()) => events?,
        };
        if again {
            self.inside = inside(&self.path)?;
        }
        Ok(())
    }
}

fn inside(path: &Path) -> io::Result<Option<AsyncFd<Handle>>> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let mask = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    match inotify.add_watch(path, mask) {
        Ok(_) =>
        {
            #[expect(
                deprecated,
                reason = "the other constructor is unsafe; Handle keeps its promise"
            )]
            AsyncFd::new(Handle(inotify)).map(Some)
        }
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR | nix::Error::EACCES) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for events; whether the folder itself is gone.
async fn events(inside: Option<&AsyncFd<Handle>>) -> io::Result<bool> {
    let Some(inside) = inside else { return std::future::pending().await };
    loop {
        let mut ready = inside.readable().await?;
        let events = ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?));
        let Ok(events) = events else { continue };
        let gone =
            AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_IGNORED;
        return Ok(events?.iter().any(|event| event.mask.intersects(gone)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    /// Far more than any machine needs to report a change.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn changed(folder: &mut Folder) {
        tokio::time::timeout(LIMIT, folder.changed())
            .await
            .expect("no change was reported")
            .unwrap();
    }

    #[tokio::test]
    async fn a_folder_is_watched_through_its_life() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("a");
        let mut folder = Folder::new(&path).unwrap();
        fs::create_dir(&path).unwrap();
        changed(&mut folder).await;
        fs::write(path.join("one"), "1").unwrap();
        changed(&mut folder).await;
        fs::remove_file(path.join("one")).unwrap();
        changed(&mut folder).await;
        fs::rename(&path, dir.path().join("b")).unwrap();
        changed(&mut folder).await;
        fs::create_dir(&path).unwrap();
        // Removal and creation may be reported apart.
        let made = async {
            while folder.inside.is_none() {
                folder.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, made).await.unwrap();
        fs::write(path.join("two"), "2").unwrap();
        changed(&mut folder).await;
    }

    #[tokio::test]
    async fn a_write_is_reported_before_the_file_is_closed() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(dir.path().join("record")).unwrap();
        let mut folder = Folder::new(dir.path()).unwrap();
        file.write_all(b"x").unwrap();
        changed(&mut folder).await;
    }
}
