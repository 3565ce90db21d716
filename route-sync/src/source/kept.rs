//! The last good node set, so that a node that boots while its source is away still routes.

use crate::nodes::{Node, NodeSet};
use node::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// The kept set; `None` when there is none. One that is damaged, or of a newer version, is none,
/// and the log says so.
pub(super) fn read(path: &Path) -> Option<NodeSet> {
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
            Ok(Kept { node, .. }) => Ok(NodeSet { nodes: node }),
            Err(error) => Err(format!("is damaged: {error}")),
        },
    }
}

/// Its form on disk.
pub(super) fn form(set: &NodeSet) -> io::Result<Vec<u8>> {
    let form = Form { version: VERSION, node: &set.nodes };
    let mut text = serde_json::to_vec(&form).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a form of a set unless it is there already. After a crash of the machine, the old one
/// or this one is there, whole.
pub(super) fn write(path: &Path, form: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    files::folder(folder)?;
    if is_there(path, form) {
        return Ok(());
    }
    let aside = folder.join(".nodes.json.new");
    let mut file = files::create(&aside, files::READABLE)?;
    file.write_all(form)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

/// Whether the file has that content, and nobody else may write it.
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
    fn what_is_kept_is_read_and_written_only_when_it_differs() {
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
}
