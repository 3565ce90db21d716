//! Watches a file for changes of every kind: written, renamed over, removed and made again, a
//! symbolic link on its path swapped (as the kubelet swaps `..data` of a ConfigMap).

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

/// A change is reported once nothing more has changed for so long: its writer may not be done.
const QUIET: Duration = Duration::from_millis(20);
/// But at the latest so long after the first change.
const LATEST: Duration = Duration::from_millis(200);
/// As many symbolic links as the kernel follows (MAXSYMLINKS).
const LINKS: usize = 40;

/// A file that is watched. It need not exist.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// What changes in the folder that the path is is reported too.
    entries: bool,
    /// That of the file itself.
    end: Option<WatchDescriptor>,
    inotify: AsyncFd<Handle>,
    names: HashMap<WatchDescriptor, BTreeSet<OsString>>,
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

impl Watch {
    /// Watches a file from now on: what changes after this returns is reported.
    ///
    /// # Errors
    /// The kernel has no inotify instance or watch left (`fs.inotify.max_user_*`).
    pub fn new(path: &Path) -> io::Result<Watch> {
        Watch::of(path, false)
    }

    /// As [`Watch::new`], of a folder and each file in it whose name does not begin with a dot.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub fn entries(path: &Path) -> io::Result<Watch> {
        Watch::of(path, true)
    }

    fn of(path: &Path, entries: bool) -> io::Result<Watch> {
        let path = std::path::absolute(path)?;
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let handle = Handle(Inotify::init(flags)?);
        #[expect(deprecated, reason = "the other constructor is unsafe; Handle keeps its promise")]
        let inotify = AsyncFd::new(handle)?;
        let mut watch = Watch { path, entries, end: None, inotify, names: HashMap::new() };
        let mut lookup = Lookup::of(&watch.path);
        loop {
            watch.add(&lookup)?;
            // What changed between the look and the watch would not be reported.
            let now = Lookup::of(&watch.path);
            if now == lookup {
                return Ok(watch);
            }
            lookup = now;
        }
    }

    /// Waits until the file may have changed and no more changes follow. It may be cancelled at any
    /// await: the next call reports the change.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub async fn changed(&mut self) -> io::Result<()> {
        while !self.events().await? {}
        let latest = Instant::now() + LATEST;
        let mut quiet = Instant::now() + QUIET;
        while let Ok(more) = timeout_at(quiet.min(latest), self.events()).await {
            if more? {
                quiet = Instant::now() + QUIET;
            }
            if Instant::now() >= latest {
                break;
            }
        }
        *self = Watch::of(&self.path, self.entries)?;
        Ok(())
    }

    fn add(&mut self, lookup: &Lookup) -> io::Result<()> {
        // Not IN_MODIFY: a file is read when its writer has closed it.
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB;
        let inotify = &self.inotify.get_ref().0;
        let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::EACCES];
        for (folder, name) in &lookup.steps {
            match inotify.add_watch(folder, mask | AddWatchFlags::IN_ONLYDIR) {
                Ok(id) => drop(self.names.entry(id).or_default().insert(name.clone())),
                Err(error) if gone.contains(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The file itself: one that is bind-mounted is written through a folder elsewhere.
        if let Some(file) = &lookup.file {
            match inotify.add_watch(file, mask) {
                Ok(id) => self.end = Some(id),
                Err(error) if gone.contains(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits for events; whether any concerns the file.
    async fn events(&self) -> io::Result<bool> {
        let mut ready = self.inotify.readable().await?;
        let events = ready.try_io(|inotify| Ok(inotify.get_ref().0.read_events()?));
        let Ok(events) = events else { return Ok(false) };
        let ours = |id, name: &OsString| self.names.get(&id).is_some_and(|n| n.contains(name));
        let inside = |id, name: &OsString| {
            self.entries && self.end == Some(id) && !name.as_encoded_bytes().starts_with(b".")
        };
        Ok(events?.iter().any(|event| match &event.name {
            Some(name) => ours(event.wd, name) || inside(event.wd, name),
            // Of the file itself, or events were lost (IN_Q_OVERFLOW).
            None => !event.mask.contains(AddWatchFlags::IN_IGNORED),
        }))
    }
}

/// How the kernel resolves a path.
#[derive(Debug, PartialEq, Eq)]
struct Lookup {
    /// Each folder that a name is looked up in, and the name.
    steps: Vec<(PathBuf, OsString)>,
    /// The file at its end, if there is one.
    file: Option<PathBuf>,
}

impl Lookup {
    fn of(path: &Path) -> Lookup {
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
                        _ => return Lookup { steps, file: None },
                    }
                }
            }
        }
        Lookup { steps, file: Some(at) }
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

    /// Far more than any machine needs to report a change.
    const LIMIT: Duration = Duration::from_secs(20);

    async fn changed(watch: &mut Watch) {
        tokio::time::timeout(LIMIT, watch.changed())
            .await
            .expect("no change was reported")
            .unwrap();
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
        changed(&mut watch).await;
        fs::create_dir(place.join("a/b")).unwrap();
        changed(&mut watch).await;
        fs::write(&file, "1").unwrap();
        changed(&mut watch).await;
        fs::write(place.join("a/b/new"), "2").unwrap();
        fs::rename(place.join("a/b/new"), &file).unwrap();
        changed(&mut watch).await;
        fs::rename(place.join("a"), place.join("away")).unwrap();
        changed(&mut watch).await;
        fs::rename(place.join("away"), place.join("a")).unwrap();
        changed(&mut watch).await;
        fs::remove_file(&file).unwrap();
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn a_change_beside_it_is_not_reported() {
        let (_dir, place) = place();
        let file = place.join("file");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(&file).unwrap();
        fs::write(place.join("other"), "1").unwrap();
        assert!(!watch.events().await.unwrap());
        fs::write(&file, "2").unwrap();
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn what_changes_in_a_folder_is_reported() {
        let (_dir, place) = place();
        let folder = place.join("a/b");
        let mut watch = Watch::entries(&folder).unwrap();
        fs::create_dir(place.join("a")).unwrap();
        changed(&mut watch).await;
        fs::create_dir(&folder).unwrap();
        changed(&mut watch).await;
        fs::write(folder.join(".hidden"), "1").unwrap();
        assert!(!watch.events().await.unwrap());
        fs::rename(folder.join(".hidden"), folder.join("file")).unwrap();
        changed(&mut watch).await;
        fs::remove_file(folder.join("file")).unwrap();
        changed(&mut watch).await;
    }

    #[tokio::test]
    async fn every_swap_of_a_link_on_the_path_is_reported() {
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
            changed(&mut watch).await;
            fs::remove_dir_all(place.join((stamp - 1).to_string())).unwrap();
            assert_eq!(fs::read_to_string(place.join("far")).unwrap(), stamp.to_string());
        }
    }

    #[tokio::test]
    async fn a_circle_of_links_is_no_file() {
        let (_dir, place) = place();
        symlink("two", place.join("one")).unwrap();
        symlink("one", place.join("two")).unwrap();
        let mut watch = Watch::new(&place.join("one")).unwrap();
        fs::remove_file(place.join("one")).unwrap();
        changed(&mut watch).await;
    }
}
