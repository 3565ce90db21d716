//! The last good node set of any source, kept on disk, so that a node that boots while its source
//! cannot be read still routes.

use super::nodes::{Node, NodeSet};
use super::reading::{Reading, Update};
use daemon::background;
use node::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{Receiver, Sender};

/// The version of what the file means. One without it is of version 1.
const VERSION: u64 = 1;
/// More than the set of any cluster, in bytes.
const LIMIT: u64 = 64 << 20;

#[derive(Serialize)]
struct Form<'a> {
    version: u64,
    node: &'a [Node],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(default, rename = "version")]
    _version: u64,
    #[serde(default)]
    node: Vec<Node>,
}

/// Passes on what a source sends, and keeps each set in `path`. A source that fails before it has
/// sent anything is preceded by the kept set, if there is one. It ends with the source or the
/// receiver.
pub(super) async fn keep(path: PathBuf, mut source: Receiver<Reading>, updates: Sender<Update>) {
    let mut first = true;
    while let Some(reading) = source.recv().await {
        let failed = matches!(reading, Reading::Failed(_));
        let kept = if first && failed { read_in_background(&path).await } else { None };
        first = false;
        let kept = kept.map(|set| Update::Set { set, kept: true });
        let (update, form) = match reading {
            Reading::Set(set) => {
                let (set, form) = with_form(set).await;
                (set.map(|set| Update::Set { set, kept: false }), form)
            }
            Reading::Failed(why) => (Some(Update::Failed(why)), None),
        };
        for update in kept.into_iter().chain(update) {
            if updates.send(update).await.is_err() {
                return;
            }
        }
        // Routes first: fsync may take long.
        if let Some(form) = form {
            write_in_background(&path, form).await;
        }
    }
}

async fn read_in_background(path: &Path) -> Option<NodeSet> {
    let path = path.to_owned();
    background::run(move || read(&path)).await.ok().flatten()
}

/// A set and its form on disk.
async fn with_form(set: NodeSet) -> (Option<NodeSet>, Option<Vec<u8>>) {
    let formed = background::run(move || (form(&set), set)).await;
    match formed {
        Ok((Ok(form), set)) => (Some(set), Some(form)),
        Ok((Err(error), set)) => {
            tracing::warn!("cannot keep the node set: {error}");
            (Some(set), None)
        }
        // Only where the thread panicked.
        Err(_) => (None, None),
    }
}

async fn write_in_background(path: &Path, form: Vec<u8>) {
    let (path, shown) = (path.to_owned(), path.display());
    if let Ok(Err(error)) | Err(error) = background::run(move || write(&path, &form)).await {
        tracing::warn!("cannot keep the node set in {shown}: {error}");
    }
}

/// The kept set; `None` where there is none. One that is damaged, or of a newer version, is not
/// used, and the log says so.
fn read(path: &Path) -> Option<NodeSet> {
    let text = match files::text(path, LIMIT) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read the kept node set {}: {error}", path.display());
            return None;
        }
    };
    parse(text.as_bytes())
        .map_err(|why| tracing::warn!("the kept node set {} {why}", path.display()))
        .ok()
}

fn parse(text: &[u8]) -> Result<NodeSet, String> {
    // The version first: what else a newer version holds is unknown.
    #[derive(Deserialize)]
    struct Only {
        #[serde(default)]
        version: u64,
    }
    match serde_json::from_slice(text) {
        Ok(Only { version }) if version > VERSION => Err(format!(
            "is of version {version}, and this route-sync reads up to {VERSION}: it is not used; \
             install the release that wrote it, or remove it"
        )),
        _ => match serde_json::from_slice(text) {
            Ok(Kept { node, .. }) => Ok(NodeSet { nodes: node, ..NodeSet::default() }),
            Err(error) => Err(format!("is damaged: {error}")),
        },
    }
}

/// Its form on disk.
fn form(set: &NodeSet) -> io::Result<Vec<u8>> {
    let form = Form { version: VERSION, node: &set.nodes };
    let mut text = serde_json::to_vec(&form).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a form of a set unless the file holds it already. After a crash of the machine the old one
/// or this one is there, whole.
fn write(path: &Path, form: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    files::folder(folder)?;
    if is_there(path, form) {
        return Ok(());
    }
    let new = folder.join(".nodes.json.new");
    let mut file = files::create(&new, files::READABLE)?;
    file.write_all(form)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// Whether the file has that content, and no other user may write it.
fn is_there(path: &Path, form: &[u8]) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    let closed = |meta: fs::Metadata| meta.is_file() && meta.mode() & OTHERS_WRITE == 0;
    path.symlink_metadata().is_ok_and(closed)
        && files::read(path, LIMIT).is_ok_and(|there| there == form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tokio::sync::mpsc;

    #[test]
    fn a_set_that_others_may_write_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/nodes.json");
        let form = form(&NodeSet::default()).unwrap();
        write(&path, &form).unwrap();
        for loose in [&path, path.parent().unwrap()] {
            fs::set_permissions(loose, fs::Permissions::from_mode(0o777)).unwrap();
        }
        write(&path, &form).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
    }

    #[test]
    fn a_kept_set_is_read_and_written_only_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/nodes.json");
        assert_eq!(read(&path), None);
        let set: NodeSet =
            toml::from_str("[[node]]\nname = \"one\"\npod-cidrs = [\"10.244.1.0/24\"]").unwrap();
        write(&path, &form(&set).unwrap()).unwrap();
        assert_eq!(read(&path), Some(set.clone()));
        let inode = fs::metadata(&path).unwrap().ino();
        write(&path, &form(&set).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        write(&path, &form(&NodeSet::default()).unwrap()).unwrap();
        assert_eq!(read(&path), Some(NodeSet::default()));
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), None);
        // As an earlier release wrote it, and as a later one may.
        fs::write(&path, r#"{"node": [{"name": "one", "pod-cidrs": ["10.244.1.0/24"]}]}"#).unwrap();
        assert_eq!(read(&path), Some(set));
        fs::write(&path, r#"{"version": 2, "node": []}"#).unwrap();
        assert_eq!(read(&path), None);
        assert!(parse(br#"{"version": 2, "what": 1}"#).unwrap_err().contains("of version 2"));
    }

    fn set(name: &str) -> NodeSet {
        let nodes = vec![Node { name: name.to_owned(), addresses: vec![], pod_cidrs: vec![] }];
        NodeSet { nodes, ..NodeSet::default() }
    }

    /// What the loop receives of what a source sends.
    async fn received(path: &Path, sent: Vec<Reading>) -> Vec<Update> {
        let (readings, read) = mpsc::channel(1);
        let (updates, mut received) = mpsc::channel(8);
        let keeping = tokio::spawn(keep(path.to_owned(), read, updates));
        for reading in sent {
            readings.send(reading).await.unwrap();
        }
        drop(readings);
        keeping.await.unwrap();
        let mut all = vec![];
        while let Some(update) = received.recv().await {
            all.push(update);
        }
        all
    }

    #[tokio::test]
    async fn the_last_good_set_is_kept_for_a_start_without_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/nodes.json");
        let fails = || Reading::Failed("it is gone".to_owned());
        let failed = || Update::Failed("it is gone".to_owned());
        let fresh = |name| Update::Set { set: set(name), kept: false };
        assert_eq!(received(&path, vec![fails()]).await, [failed()]);
        let sent = vec![Reading::Set(set("one")), fails(), Reading::Set(set("two"))];
        assert_eq!(received(&path, sent).await, [fresh("one"), failed(), fresh("two")]);
        let kept = Update::Set { set: set("two"), kept: true };
        let sent = vec![fails(), Reading::Set(set("one")), fails()];
        assert_eq!(received(&path, sent).await, [kept, failed(), fresh("one"), failed()]);
        // A source that is there at the start needs no kept set.
        assert_eq!(received(&path, vec![Reading::Set(set("two"))]).await, [fresh("two")]);
    }
}
