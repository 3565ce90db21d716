//! `policy.json`: written by policy-sync, read by the plugins that attach pods. It stays when the daemon
//! stops, and so do its policies.

use crate::run_file::{self, Flaw};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The file's name in the run directory.
const NAME: &str = "policy.json";
/// More than the file of any cluster has, in bytes.
const LIMIT: u64 = 16 << 20;

/// Which new pods are held back until policy-sync has decided on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The version of this file's meaning: [`Policy::VERSION`]. A reader refuses another.
    pub version: u32,
    /// How long ADD waits for the decision at most, in milliseconds. Then the pod starts and stays held.
    pub wait_ms: u64,
    /// The namespaces of Kubernetes in which a policy may select a pod; absent: all, and pods that are of
    /// no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<BTreeSet<String>>,
}

/// Why policy.json cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// It is not what policy-sync writes.
    #[error(
        "{} is not what policy-sync writes: {error}; start policy-sync, which writes it, or run \
         `policy-sync cleanup`",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: serde_json::Error,
    },
    /// It is from a daemon of another version.
    #[error(
        "{} is of version {found}, and this plugin reads version {}: install plugins and \
         policy-sync of the same release",
        path.display(),
        Policy::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it is of.
        found: u64,
    },
}

impl Error {
    fn of(path: PathBuf, flaw: Flaw) -> Error {
        match flaw {
            Flaw::Io(error) => Error::Io { path, error },
            Flaw::Damaged(error) => Error::Damaged { path, error },
            Flaw::Version(found) => Error::Version { path, found },
        }
    }
}

impl Policy {
    /// The version of the file that this code reads and writes.
    pub const VERSION: u32 = 1;

    /// Where it is.
    #[must_use]
    pub fn path(run_dir: &Path) -> PathBuf {
        run_dir.join(NAME)
    }

    /// Whether a pod may be selected by a policy; `namespace` is empty for one that is of none.
    #[must_use]
    pub fn may_select(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|all| all.contains(namespace))
    }

    /// Reads `<run_dir>/policy.json`; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is of another version.
    pub fn read(run_dir: &Path) -> Result<Option<Policy>, Error> {
        let path = Policy::path(run_dir);
        run_file::read(&path, LIMIT, Policy::VERSION).map_err(|flaw| Error::of(path, flaw))
    }

    /// Writes `<run_dir>/policy.json` whole: a reader sees the old one or this one. The folder is made
    /// when it is missing.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, run_dir: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(io::Error::other);
        text.and_then(|text| run_file::write(run_dir, NAME, &text))
            .map_err(|error| Error::Io { path: Policy::path(run_dir), error })
    }

    /// Removes the file: no pod is held any more.
    ///
    /// # Errors
    /// The file system refuses; that there is none is success.
    pub fn remove(run_dir: &Path) -> Result<(), Error> {
        let path = Policy::path(run_dir);
        run_file::remove(&path).map_err(|error| Error::Io { path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        assert_eq!(Policy::read(&run_dir).unwrap(), None);
        let namespaces = Some(BTreeSet::from(["shop".to_owned()]));
        for namespaces in [namespaces, None] {
            let policy = Policy { version: Policy::VERSION, wait_ms: 500, namespaces };
            policy.write(&run_dir).unwrap();
            assert_eq!(Policy::read(&run_dir).unwrap(), Some(policy));
        }
        Policy::remove(&run_dir).unwrap();
        Policy::remove(&run_dir).unwrap();
        assert_eq!(Policy::read(&run_dir).unwrap(), None);
    }

    #[test]
    fn a_pod_may_be_selected_where_its_namespace_has_a_policy() {
        let namespaces = Some(BTreeSet::from(["shop".to_owned()]));
        let some = Policy { version: Policy::VERSION, wait_ms: 500, namespaces };
        assert!(some.may_select("shop") && !some.may_select("other") && !some.may_select(""));
        let all = Policy { namespaces: None, ..some };
        assert!(all.may_select("shop") && all.may_select(""));
    }

    #[test]
    fn another_version_and_damage_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = Policy::path(dir.path());
        fs::write(&path, r#"{"version": 2, "what": "ever"}"#).unwrap();
        let error = Policy::read(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is of version 2"), "{error}");
        for damage in ["", "{", "[]", r#"{"version": 1}"#] {
            fs::write(&path, damage).unwrap();
            assert!(matches!(Policy::read(dir.path()), Err(Error::Damaged { .. })), "{damage}");
        }
    }
}
