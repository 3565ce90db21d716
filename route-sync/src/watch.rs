//! Tells when a file may have changed, by whatever way: written, renamed over, removed and made
//! again, a symbolic link on its path swapped (as the kubelet swaps `..data` of a ConfigMap).

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

/// Whoever writes a file is given so long to go on before it is read.
const QUIET: Duration = Duration::from_millis(20);
/// But it is read at the latest so long after the first change.
const PATIENCE: Duration = Duration::from_millis(200);
/// As many symbolic links as the kernel follows (MAXSYMLINKS).
const LINKS: usize = 40;

/// A file that is watched. It need not exist.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    inotify: AsyncFd<Handle>,
    names: HashMap<WatchDescriptor, BTreeSet<OsString>>,
}

/// nix gives the descriptor by `AsFd` alone, and tokio asks for `AsRawFd`: always the same one,
/// open as long as this lives.
#[derive(Debug)]
struct Handle(Inotify);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches a file from now on: what changes after this returns is told.
    ///
    /// # Errors
    /// The kernel has no inotify instance or watch left (`fs.inotify.max_user_*`).
    pub fn new(path: &Path) -> io::Result<Watch> {
        let path = std::path::absolute(path)?;
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let handle = Handle(Inotify::init(flags)?);
        #[expect(deprecated, reason = "the other constructor is unsafe; Handle keeps its promise")]
        let inotify = AsyncFd::new(handle)?;
        let mut watch = Watch { path, inotify, names: HashMap::new() };
        let mut way = Way::of(&watch.path);
        loop {
            watch.add(&way)?;
            // What changed between the look and the watch would not be told.
            let now = Way::of(&watch.path);
            if now == way {
                return Ok(watch);
            }
            way = now;
        }
    }

    /// Waits until the file may have changed, and is then quiet. It may be called off at any
    /// await: a change is told by the next call.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub async fn changed(&mut self) -> io::Result<()> {
        while !self.events().await? {}
        let latest = Instant::now() + PATIENCE;
        let mut quiet = Instant::now() + QUIET;
        while let Ok(more) = timeout_at(quiet.min(latest), self.events()).await {
            if more? {
                quiet = Instant::now() + QUIET;
            }
            if Instant::now() >= latest {
                break;
            }
        }
        *self = Watch::new(&self.path)?;
        Ok(())
    }

    fn add(&mut self, way: &Way) -> io::Result<()> {
        // Not IN_MODIFY: a file is read when its writer is done with it.
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB;
        let inotify = &self.inotify.get_ref().0;
        let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES];
        for (folder, name) in &way.steps {
            match inotify.add_watch(folder, mask | AddWatchFlags::IN_ONLYDIR) {
                Ok(id) => drop(self.names.entry(id).or_default().insert(name.clone())),
                Err(error) if gone.contains(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The file itself: one that is bind-mounted is written through a folder elsewhere.
        match &way.file {
            Some(file) => match inotify.add_watch(file, mask) {
                Err(error) if !gone.contains(&error) => Err(error.into()),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Waits for events, and tells whether any concerns the file.
    async fn events(&self) -> io::Result<bool> {
        let mut ready = self.inotify.readable().await?;
        let events = ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?));
        let Ok(events) = events else { return Ok(false) };
        let ours = |id, name: &OsString| self.names.get(&id).is_some_and(|n| n.contains(name));
        Ok(events?.iter().any(|event| match &event.name {
            Some(name) => ours(event.wd, name),
            // Of the file itself, or events were lost (IN_Q_OVERFLOW).
            None => !event.mask.contains(AddWatchFlags::IN_IGNORED),
        }))
    }
}

/// How the kernel gets to a file.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    /// Each folder that a name is looked up in, and the name.
    steps: Vec<(PathBuf, OsString)>,
    /// Where it ends, if it does.
    file: Option<PathBuf>,
}

impl Way {
    fn of(path: &Path) -> Way {
        let mut todo = parts(path);
        let mut at = PathBuf::from("/");
        let mut steps = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop_front() {
            match part.as_encoded_bytes() {
                b"/" => at = PathBuf::from("/"),
                b".." => drop(at.pop()),
                _ => {
                    steps.push((at.clone(), part.clone()));
                    match at.join(&part).read_link() {
                        Ok(target) if links < LINKS => {
                            links += 1;
                            let mut ahead = parts(&target);
                            ahead.append(&mut todo);
                            todo = ahead;
                        }
                        // EINVAL: it exists and is no link.
                        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                            at.push(part);
                        }
                        _ => return Way { steps, file: None },
                    }
                }
            }
        }
        Way { steps, file: Some(at) }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Far more than any machine needs to tell of a change.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn told(watch: &mut Watch) {
        tokio::time::timeout(LIMIT, watch.changed()).await.expect("no change was told").unwrap();
    }

    fn place() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    #[tokio::test]
    async fn a_file_is_watched_through_its_life() {
        let (_dir, place) = place();
        let file = place.join("a/b/file");
        let mut watch = Watch::new(&file).unwrap();
        fs::create_dir(place.join("a")).unwrap();
        told(&mut watch).await;
        fs::create_dir(place.join("a/b")).unwrap();
        told(&mut watch).await;
        fs::write(&file, "1").unwrap();
        told(&mut watch).await;
        fs::write(place.join("a/b/new"), "2").unwrap();
        fs::rename(place.join("a/b/new"), &file).unwrap();
        told(&mut watch).await;
        fs::rename(place.join("a"), place.join("away")).unwrap();
        told(&mut watch).await;
        fs::rename(place.join("away"), place.join("a")).unwrap();
        told(&mut watch).await;
        fs::remove_file(&file).unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn what_is_beside_it_is_not_told() {
        let (_dir, place) = place();
        let file = place.join("file");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(&file).unwrap();
        fs::write(place.join("other"), "1").unwrap();
        assert!(!watch.events().await.unwrap());
        fs::write(&file, "2").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn every_swap_of_a_link_on_the_path_is_told() {
        let (_dir, place) = place();
        let put = |stamp: usize| {
            fs::create_dir(place.join(stamp.to_string())).unwrap();
            fs::write(place.join(stamp.to_string()).join("file"), stamp.to_string()).unwrap();
            symlink(stamp.to_string(), place.join("..data_tmp")).unwrap();
            fs::rename(place.join("..data_tmp"), place.join("..data")).unwrap();
        };
        put(0);
        symlink("..data/file", place.join("file")).unwrap();
        symlink(place.join("file"), place.join("far")).unwrap();
        let mut watch = Watch::new(&place.join("far")).unwrap();
        for stamp in 1..=100 {
            put(stamp);
            told(&mut watch).await;
            fs::remove_dir_all(place.join((stamp - 1).to_string())).unwrap();
            assert_eq!(fs::read_to_string(place.join("far")).unwrap(), stamp.to_string());
        }
    }

    #[tokio::test]
    async fn a_ring_of_links_is_no_file() {
        let (_dir, place) = place();
        symlink("two", place.join("one")).unwrap();
        symlink("one", place.join("two")).unwrap();
        let mut watch = Watch::new(&place.join("one")).unwrap();
        fs::remove_file(place.join("one")).unwrap();
        told(&mut watch).await;
    }
}
