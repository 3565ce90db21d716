//! The source `files`: YAML files of objects in a folder, watched.

use super::folder::Folder;
use super::yaml::Objects;
use node::files;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, timeout_at};

/// More than one file of policies has, in bytes.
const LIMIT: u64 = 16 << 20;
/// A change is acted on once nothing more has changed for so long: `kubectl`, `cp` and editors write several times.
const QUIET: Duration = Duration::from_millis(20);
/// But at the latest so long after the first change.
const LATEST: Duration = Duration::from_millis(200);
/// Between two readings of a folder that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(10);

/// What the files hold, or why that is not known.
pub type Reading = Result<Objects, String>;

/// Sends what the files hold until the receiver is dropped.
pub async fn run(path: PathBuf, readings: Sender<Reading>) {
    let mut folder = Folder::new(&path);
    let mut last = None;
    loop {
        let reading = read(&path);
        if last.as_ref() != Some(&reading) {
            last = Some(reading.clone());
            if readings.send(reading).await.is_err() {
                return;
            }
        }
        folder = wait(&path, folder).await;
    }
}

/// Waits for a change; the folder is watched when it returns.
async fn wait(path: &Path, folder: std::io::Result<Folder>) -> std::io::Result<Folder> {
    let changed = match folder {
        Ok(mut folder) => settled(&mut folder).await.map(|()| folder),
        Err(error) => Err(error),
    };
    let Err(error) = changed else { return changed };
    let pause = UNWATCHED.as_secs();
    tracing::warn!("cannot watch {}: {error}; looking again in {pause} s", path.display());
    sleep(UNWATCHED).await;
    Folder::new(path)
}

async fn settled(folder: &mut Folder) -> std::io::Result<()> {
    folder.changed().await?;
    let latest = Instant::now() + LATEST;
    while let Ok(more) = timeout_at((Instant::now() + QUIET).min(latest), folder.changed()).await {
        more?;
        if Instant::now() >= latest {
            break;
        }
    }
    Ok(())
}

/// Reads the objects of every file in a folder whose name ends as YAML or JSON files' do and begins with no dot.
///
/// # Errors
/// A file cannot be read, or its objects not be understood: in words.
pub fn read(path: &Path) -> Reading {
    let mut objects = Objects::default();
    read_folder(path, &mut objects).map(|()| objects)
}

/// Adds the objects of a file, or of a folder of them.
///
/// # Errors
/// As [`read`].
pub fn read_into(path: &Path, objects: &mut Objects) -> Result<(), String> {
    if path.is_dir() { read_folder(path, objects) } else { read_file(path, objects) }
}

fn read_file(path: &Path, objects: &mut Objects) -> Result<(), String> {
    let text = files::text(path, LIMIT).map_err(|error| format!("{}: {error}", path.display()))?;
    objects.read(&text, &path.display().to_string())
}

fn read_folder(path: &Path, objects: &mut Objects) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(path).map_err(|error| {
        format!("{}; make the folder, with YAML files of policies in it", failed(error))
    })?;
    let mut texts = BTreeMap::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        let is = [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end));
        if is && !text.starts_with('.') {
            texts.insert(text.into_owned(), path.join(&name));
        }
    }
    texts.values().try_for_each(|file| read_file(file, objects))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tokio::sync::mpsc::{self, Receiver};

    fn policy(name: &str) -> String {
        format!(
            "kind: NetworkPolicy\nmetadata: {{name: {name}, namespace: x}}\nspec: {{podSelector: {{}}}}\n"
        )
    }

    async fn next(readings: &mut Receiver<Reading>) -> Reading {
        let next = tokio::time::timeout(Duration::from_secs(20), readings.recv()).await;
        next.expect("nothing was sent").unwrap()
    }

    fn names(reading: Reading) -> Vec<String> {
        reading.unwrap().policies.iter().map(|it| it.metadata.name.clone()).collect()
    }

    #[tokio::test]
    async fn files_come_break_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("policies");
        let (sender, mut readings) = mpsc::channel(1);
        tokio::spawn(run(path.clone(), sender));
        let why = next(&mut readings).await.unwrap_err();
        assert!(
            why.contains("No such file")
                && why.ends_with("make the folder, with YAML files of policies in it")
        );
        fs::create_dir(&path).unwrap();
        assert_eq!(names(next(&mut readings).await), [""; 0]);
        fs::write(path.join("b.yaml"), policy("b")).unwrap();
        assert_eq!(names(next(&mut readings).await), ["b"]);
        fs::write(path.join("new"), policy("a")).unwrap();
        fs::rename(path.join("new"), path.join("a.yml")).unwrap();
        assert_eq!(names(next(&mut readings).await), ["a", "b"]);
        fs::write(path.join("c.json"), "{").unwrap();
        assert!(next(&mut readings).await.unwrap_err().contains("c.json: "));
        fs::remove_file(path.join("c.json")).unwrap();
        assert_eq!(names(next(&mut readings).await), ["a", "b"]);
        fs::remove_file(path.join("b.yaml")).unwrap();
        assert_eq!(names(next(&mut readings).await), ["a"]);
    }

    #[test]
    fn other_files_are_none_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.yaml.swp", ".hidden.yaml", "notes.txt", "b.yaml~"] {
            fs::write(dir.path().join(name), "no YAML: [").unwrap();
        }
        assert_eq!(read(dir.path()), Ok(Objects::default()));
    }
}
