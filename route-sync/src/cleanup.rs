//! Removes all that is the daemon's, and nothing of a plugin.

use crate::config::Config;
use crate::error::{Error, io_error};
use crate::facts::is_tunnel;
use crate::routes::protocols::{LEARNED, PROTOCOL};
use net::{Socket, link, route};
use node::{Lock, Node};
use std::fs;
use std::io;
use std::path::Path;

/// What a cleanup did.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What went, in words.
    pub removed: Vec<String>,
    /// What stays although it may be ours, and why.
    pub stays: Vec<String>,
    /// What could not be removed, or not even be looked for.
    pub errors: Vec<Error>,
}

/// Removes routes, tunnel devices, nftables rules and files of the daemon. After a failure
/// it continues with the rest.
///
/// # Errors
/// A daemon runs, or it cannot be determined whether one does: nothing is removed.
pub fn cleanup(config: &Config) -> Result<Cleaned, Error> {
    let _lock = hold(config)?;
    let mut cleaned = Cleaned::default();
    cleaned.node(config);
    Ok(cleaned)
}

/// The daemon's lock: no daemon runs while it is held.
///
/// # Errors
/// A daemon runs, or it cannot be determined whether one does.
pub fn hold(config: &Config) -> Result<Lock, Error> {
    let lock = Lock::take(&config.run_dir).map_err(io_error("take the lock"))?;
    lock.ok_or_else(|| Error::Running(config.run_dir.display().to_string()))
}

impl Cleaned {
    /// Removes what the daemon made on the node, but for what `[cni]` made.
    pub(crate) fn node(&mut self, config: &Config) {
        let io = |what: &str, error| Error::Io { what: what.to_owned(), error };
        let socket = self.good(Socket::open());
        // A tunnel that stays keeps its guard.
        if socket.is_some_and(|mut socket| self.routes_and_links(&mut socket))
            && let Some(mut nft) = self.good(nft::Nft::open())
        {
            self.good(nft.del_node_rules());
            self.good(nft.del_neighbour_limits());
        }
        let node = Node::remove(&config.run_dir);
        self.good(node.map_err(|error| io("remove node.json", io::Error::other(error))));
        let kept = config.state_dir.join(crate::source::KEPT);
        for path in [config.run_dir.join(crate::control::SOCKET), kept] {
            let done = file(&path, &mut self.removed);
            self.good(done.map_err(|error| io(&path.display().to_string(), error)));
        }
    }

    /// Gives whether no device is left.
    fn routes_and_links(&mut self, socket: &mut Socket) -> bool {
        let protocols = [(false, PROTOCOL), (true, PROTOCOL), (false, LEARNED), (true, LEARNED)];
        for (v6, protocol) in protocols {
            let routes = self.good(socket.list(&route::list_of(v6, protocol)));
            for route in routes.into_iter().flatten() {
                let done = socket.set(&route::del(&route));
                self.note(format!("route {route}"), done);
            }
        }
        let Some(links) = self.good(socket.list(&link::list())) else { return false };
        let before = self.errors.len();
        for link in links {
            if is_tunnel(&link) {
                let done = socket.set(&link::del(link.index, &link.name));
                self.note(format!("device {}", link.name), done);
            }
        }
        self.errors.len() == before
    }

    /// What came of it; an error is kept.
    pub(crate) fn good<T, E: Into<Error>>(&mut self, done: Result<T, E>) -> Option<T> {
        done.map_err(|error| self.errors.push(error.into())).ok()
    }

    fn note(&mut self, what: String, done: net::Result<()>) {
        match done {
            Err(error) if !error.is_gone() => self.errors.push(error.into()),
            _ => self.removed.push(what),
        }
    }
}

fn file(path: &Path, removed: &mut Vec<String>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            removed.push(path.display().to_string());
            Ok(())
        }
    }
}
