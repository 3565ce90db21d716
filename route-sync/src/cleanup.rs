//! Removes all that is the daemon's, and nothing of a plugin.

use crate::config::Config;
use crate::daemon::Error;
use crate::desired::{LEARNED, PROTOCOL};
use net::{Socket, link, route};
use node::{Lock, Node, vtep};
use std::fs;
use std::io;
use std::path::Path;

/// Removes routes, tunnel devices, nftables rules and files of the daemon; says what went, a line each.
///
/// # Errors
/// A daemon runs, or something cannot be removed: the rest is removed all the same, and the
/// first error returned.
pub fn cleanup(config: &Config) -> Result<Vec<String>, Error> {
    let io = |what: &str, error| Error::Io { what: what.to_owned(), error };
    let lock = Lock::take(&config.run_dir).map_err(|error| io("take the lock", error))?;
    let Some(_lock) = lock else {
        return Err(Error::Running(config.run_dir.display().to_string()));
    };
    let mut socket = Socket::open()?;
    let mut removed = Vec::new();
    let mut first = None;
    for (v6, protocol) in [(false, PROTOCOL), (true, PROTOCOL), (false, LEARNED), (true, LEARNED)] {
        for route in socket.list(&route::list_of(v6, protocol))? {
            let done = socket.set(&route::del(&route));
            note(&mut removed, &mut first, format!("route {route}"), done);
        }
    }
    for link in socket.list(&link::list())? {
        if link.kind == "vxlan" && link.alias == vtep::ALIAS {
            let done = socket.set(&link::del(link.index, &link.name));
            note(&mut removed, &mut first, format!("device {}", link.name), done);
        }
    }
    nft::Nft::open()?.del_node_rules()?;
    Node::remove(&config.run_dir)
        .map_err(|error| io("remove node.json", io::Error::other(error.to_string())))?;
    let kept = config.state_dir.join(crate::source::KEPT);
    for path in [config.run_dir.join(crate::control::SOCKET), kept] {
        file(&path, &mut removed).map_err(|error| io(&path.display().to_string(), error))?;
    }
    first.map_or(Ok(removed), |error| Err(Error::Net(error)))
}

fn note(
    removed: &mut Vec<String>,
    first: &mut Option<net::Error>,
    what: String,
    done: net::Result<()>,
) {
    match done {
        Err(error) if !error.is_gone() => {
            first.get_or_insert(error);
        }
        _ => removed.push(what),
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
