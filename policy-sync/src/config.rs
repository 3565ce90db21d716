//! `policy-sync.toml`: types that cannot be wrong.

mod read;
#[cfg(test)]
mod tests;

pub use read::read;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the configuration is unless `--config` names another place.
pub const PATH: &str = "/etc/ferrule/policy-sync.toml";

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `node-name`; the host's name by default.
    pub node_name: String,
    /// `run-dir`: the plugins' records are there too.
    pub run_dir: PathBuf,
    /// `strict`: connections that a change forbids are cut.
    pub strict: bool,
    /// `add-wait`: how long ADD waits for a new pod's policies at most.
    pub add_wait: Duration,
    /// `[source]`.
    pub source: Source,
    /// `[metrics] listen`.
    pub metrics: Option<SocketAddr>,
}

/// Where policies, namespaces and pods come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `type = "kubernetes"`: the API server.
    Kubernetes {
        /// `kubeconfig`; without it the pod's own service account.
        kubeconfig: Option<PathBuf>,
    },
    /// `type = "files"`: YAML files of the same objects.
    Files {
        /// `path`: the folder that they are in.
        path: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Source::Kubernetes { kubeconfig: None } => f.write_str("kubernetes"),
            Source::Kubernetes { kubeconfig: Some(path) } => {
                write!(f, "kubernetes by {}", path.display())
            }
            Source::Files { path } => write!(f, "files in {}", path.display()),
        }
    }
}
