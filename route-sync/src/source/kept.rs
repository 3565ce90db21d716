//! The last good node set, so that a node that boots while its source is away still routes.

use crate::nodes::NodeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The kept set; `None` when there is none. One that is damaged is none, and is told in the log.
pub(super) fn read(path: &Path) -> Option<NodeSet> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("cannot read the kept node set {}: {error}", path.display());
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(set) => Some(set),
        Err(error) => {
            tracing::warn!("the kept node set {} is damaged: {error}", path.display());
            None
        }
    }
}

/// Its form on disk.
pub(super) fn form(set: &NodeSet) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(set).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a form of a set unless it is there already. After a crash of the machine, the old one
/// or this one is there, whole.
pub(super) fn write(path: &Path, form: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == form) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let aside = folder.join(".nodes.json.new");
    let mut file = File::create(&aside)?;
    file.write_all(form)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

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
    }
}
