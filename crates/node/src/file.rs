//! `node.json`: written by route-sync, read by the plugins `vxlan` and `bgp`.

use crate::run_file::{self, Flaw};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The file's name in the run directory.
const NAME: &str = "node.json";
/// More than the file of any node has, in bytes.
const LIMIT: u64 = 1 << 20;

/// What a node is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The version of this file's meaning: [`Node::VERSION`]. A reader refuses another.
    pub version: u32,
    /// The node's name.
    pub node: String,
    /// The node's own pod CIDRs, both families, in the source's order.
    #[serde(rename = "podCIDRs")]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The cluster's pod CIDRs.
    #[serde(rename = "clusterCIDRs")]
    pub cluster_cidrs: Vec<IpNetwork>,
    /// MTU of pods, in bytes.
    pub mtu: u32,
    /// The tunnel; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vxlan: Option<Vxlan>,
    /// The BGP speaker; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bgp: Option<Bgp>,
    /// Earlier pod CIDRs of this node that something is left of here.
    #[serde(default, rename = "earlierPodCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Earlier>,
    /// A sysctl of forwarding that is off and that the daemon cannot set: `net.ipv4.ip_forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_off: Option<String>,
    /// The daemon has carried out a complete node set once since it started, each entry tried.
    pub synced: bool,
}

/// An earlier pod CIDR of this node, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The CIDR.
    pub cidr: IpNetwork,
    /// What is left, in words: `2 pods: cluster/c1/eth0, cluster/c2/eth0`.
    pub left: String,
}

/// The VXLAN device of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vxlan {
    /// Its name.
    pub device: String,
    /// VXLAN network identifier, 1 to 16777215.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// The link that carries the tunnel.
    pub underlay: String,
    /// The node's address on the underlay, source of the outer header.
    pub local: IpAddr,
    /// The device's MAC address, by [`crate::vtep::mac`].
    pub mac: String,
    /// The device's MTU in bytes.
    pub mtu: u32,
    /// The device's addresses, by [`crate::vtep::addresses`].
    pub addresses: Vec<IpNetwork>,
}

/// The BGP speaker of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bgp {
    /// Its autonomous system number.
    pub asn: u32,
}

/// Why node.json cannot be used.
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
    /// It is not what a daemon writes.
    #[error("{} is not a node file: {error}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: serde_json::Error,
    },
    /// It is from a daemon of another version.
    #[error(
        "{} is of version {found}, and this plugin reads version {}: install plugins and \
         route-sync of the same release",
        path.display(),
        Node::VERSION
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

impl Node {
    /// What is left of earlier pod CIDRs, in words; `None` where nothing is.
    #[must_use]
    pub fn left_behind(&self) -> Option<String> {
        let left = self.earlier.iter().map(|earlier| format!("{}: {}", earlier.cidr, earlier.left));
        let left: Vec<String> = left.collect();
        (!left.is_empty()).then(|| left.join("; "))
    }

    /// The version of the file that this code reads and writes.
    pub const VERSION: u32 = 1;

    /// Where it is.
    pub fn path(run_dir: &Path) -> PathBuf {
        run_dir.join(NAME)
    }

    /// Reads `<run_dir>/node.json`; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is of another version.
    pub fn read(run_dir: &Path) -> Result<Option<Node>, Error> {
        let path = Node::path(run_dir);
        run_file::read(&path, LIMIT, Node::VERSION).map_err(|flaw| Error::of(path, flaw))
    }

    /// Writes `<run_dir>/node.json` whole: a reader sees the old one or this one. The folder is
    /// made when it is missing.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn write(&self, run_dir: &Path) -> Result<(), Error> {
        let write = || {
            let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
            text.push(b'\n');
            run_file::write(run_dir, NAME, &text)
        };
        write().map_err(|error| Error::Io { path: Node::path(run_dir), error })
    }

    /// Removes `<run_dir>/node.json`; that there is none is success.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(run_dir: &Path) -> Result<(), Error> {
        let path = Node::path(run_dir);
        run_file::remove(&path).map_err(|error| Error::Io { path, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn node() -> Node {
        Node {
            version: Node::VERSION,
            node: "one".to_owned(),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
            cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
            mtu: 1450,
            vxlan: None,
            bgp: None,
            earlier: vec![],
            forwarding_off: None,
            synced: true,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        assert!(Node::read(&run_dir).unwrap().is_none());
        node().write(&run_dir).unwrap();
        assert_eq!(Node::read(&run_dir).unwrap(), Some(node()));
        Node::remove(&run_dir).unwrap();
        Node::remove(&run_dir).unwrap();
        assert!(Node::read(&run_dir).unwrap().is_none());
    }

    #[test]
    fn another_version_and_damage_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, r#"{"version": 2, "what": "ever"}"#).unwrap();
        let error = Node::read(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is of version 2"), "{error}");
        for damage in ["", "{", "[]", r#"{"version": 1}"#, r#"{"version": "1"}"#] {
            fs::write(&path, damage).unwrap();
            assert!(matches!(Node::read(dir.path()), Err(Error::Damaged { .. })), "{damage}");
        }
    }
}
