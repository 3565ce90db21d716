//! route-sync: its lock, node.json, and what it answers on its socket.

use crate::places::Places;
use ipnetwork::IpNetwork;
use node::{Keeper, Node};
use serde::Deserialize;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The daemon's state.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The node has a configuration for it.
    pub configured: bool,
    /// Who keeps the routes.
    pub keeper: Result<Keeper, String>,
    /// node.json.
    pub node: Result<Option<Node>, String>,
    /// Its report; `None` where no daemon runs.
    pub status: Result<Option<Status>, String>,
}

impl Default for Daemon {
    fn default() -> Daemon {
        Daemon { configured: false, keeper: Ok(Keeper::Gone), node: Ok(None), status: Ok(None) }
    }
}

/// What is read of `route-sync status --json`, whose fields are frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node: String,
    /// `auto`, `direct` or `vxlan`.
    pub mode: String,
    /// A complete node set was carried out.
    pub synced: bool,
    /// Where the node set comes from.
    pub source: Source,
    /// The pod CIDRs.
    pub cidrs: Vec<Entry>,
    /// What is not well.
    pub problems: Vec<Problem>,
    /// Whether other nodes' pod networks answer.
    pub probe: Option<Probe>,
}

/// The source of the node set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Source {
    /// Its kind and place.
    pub name: String,
    /// Nodes in the set.
    pub nodes: usize,
    /// When that set came, seconds since 1970.
    pub since: Option<u64>,
    /// It is an earlier run's.
    pub kept: bool,
    /// Why there is no newer set.
    pub error: Option<String>,
}

/// One pod CIDR.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Its node.
    pub node: String,
    /// The CIDR.
    pub cidr: IpNetwork,
    /// `local`, `direct`, `vxlan`, `bgp` or `none`.
    pub path: String,
    /// The other node's address.
    #[serde(default)]
    pub via: Option<IpAddr>,
    /// `synced`, `failing`, `conflict` or `refused`.
    pub state: String,
    /// The last error.
    #[serde(default)]
    pub error: Option<String>,
}

/// Something that is not well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// What it is about.
    pub what: String,
    /// What is wrong.
    pub error: String,
}

/// What the probe has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// Pod networks that do not answer although their nodes do.
    pub silent: usize,
}

/// route-sync's configuration.
pub const CONFIG: &str = "/etc/ferrule/route-sync.toml";

impl Daemon {
    /// Reads all of it.
    #[must_use]
    pub fn read(places: &Places) -> Daemon {
        let run_dir = &places.run_dir;
        let node = Node::read(run_dir).map_err(|error| error.to_string());
        let keeper = Keeper::of(run_dir).map_err(|error| error.to_string());
        let runs = matches!(keeper, Ok(Keeper::Lives | Keeper::Hangs));
        let status = if runs { ask(&run_dir.join(node::keeper::SOCKET)) } else { Ok(None) };
        Daemon { configured: places.exists(CONFIG), keeper, node, status }
    }

    /// node.json, where there is one.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref().ok()?.as_ref()
    }

    /// The report, where there is one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.status.as_ref().ok()?.as_ref()
    }

    /// The pod CIDRs of the report.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.status().map(|status| status.cidrs.as_slice()).unwrap_or_default()
    }

    /// This node's pod CIDRs.
    #[must_use]
    pub fn pod_cidrs(&self) -> &[IpNetwork] {
        self.node().map(|node| node.pod_cidrs.as_slice()).unwrap_or_default()
    }

    /// Whether the node is meant to have the daemon.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.configured || self.node().is_some()
    }
}

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(5);

fn ask(socket: &Path) -> Result<Option<Status>, String> {
    let failed = |error: io::Error| match error.kind() {
        // It has its lock, and not yet its socket.
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
        _ => Err(format!("route-sync does not answer at {}: {error}", socket.display())),
    };
    match exchange(socket) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(status) => Ok(Some(status)),
            Err(error) => Err(format!("what route-sync answers is no report: {error}")),
        },
        Err(error) => failed(error),
    }
}

fn exchange(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"status\n")?;
    let mut text = Vec::new();
    stream.take(64 << 20).read_to_end(&mut text)?;
    Ok(text)
}
