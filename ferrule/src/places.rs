//! Where the node's files are.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More than any file that is read here has, in bytes.
const LIMIT: u64 = 8 << 20;

/// The node's folders.
#[derive(Clone, Debug)]
pub struct Places {
    /// Conflists: `/etc/cni/net.d`.
    pub conf_dir: PathBuf,
    /// Plugins: `/opt/cni/bin`.
    pub bin_dir: PathBuf,
    /// `/run/ferrule`.
    pub run_dir: PathBuf,
    /// Leases of host-local: `/var/lib/cni/networks`.
    pub data_dir: PathBuf,
    /// Files that are read in the place of the node's, where it has them; for tests.
    pub overlay: Option<PathBuf>,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            conf_dir: "/etc/cni/net.d".into(),
            bin_dir: "/opt/cni/bin".into(),
            run_dir: node::RUN_DIR.into(),
            data_dir: "/var/lib/cni/networks".into(),
            overlay: None,
        }
    }
}

impl Places {
    /// Where a file is read.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        let over = self.overlay.as_ref().map(|root| root.join(path.trim_start_matches('/')));
        over.filter(|over| over.exists()).unwrap_or_else(|| PathBuf::from(path))
    }

    /// The text of a file of the node; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, path: &str) -> Result<Option<String>, String> {
        text(&self.at(path))
    }

    /// Whether a file or folder of the node is there.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }
}

/// The text of a file; `None` where there is none. What is not UTF-8 is replaced.
///
/// # Errors
/// It cannot be read.
pub fn text(path: &Path) -> Result<Option<String>, String> {
    match bytes(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The bytes of a regular file, as many as fit.
///
/// # Errors
/// It cannot be read, or is no regular file (reading a FIFO would wait).
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut content = Vec::new();
    fs::File::open(path)?.take(LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The names in a folder, sorted; `None` where there is no folder.
///
/// # Errors
/// It cannot be read.
pub fn names(folder: &Path) -> Result<Option<Vec<String>>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(Some(names))
}
