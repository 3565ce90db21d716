//! The control socket. Its commands are `status`, answered by a [`crate::report::Report`]; `drops`, by a list of
//! [`crate::report::DropReport`]; `why SOURCE DESTINATION`, by a [`crate::question::Answer`]; and `alive`. An error is
//! `{"error": TEXT}`.

use crate::query::Query;
use daemon::control::{self, Error, document};
use daemon::query::ask;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use tokio::sync::mpsc;

/// The socket's name in the run directory.
pub const SOCKET: &str = "policy-sync.sock";
/// The lock's.
pub const LOCK: &str = "policy-sync.lock";
/// What `systemctl` and messages call this daemon.
pub const NAME: &str = "policy-sync";

/// An answer, or why there is none.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply<T> {
    /// There is none.
    Refused {
        /// Why, in words.
        error: String,
    },
    /// The answer.
    Answer(T),
}

impl<T> Reply<T> {
    fn of(result: Result<T, String>) -> Reply<T> {
        result.map_or_else(|error| Reply::Refused { error }, Reply::Answer)
    }
}

/// Opens the socket in the run directory and serves it on the current runtime; each command becomes
/// a [`Query`]. A socket that exists is replaced, so the caller holds the daemon's lock.
///
/// # Errors
/// The file system refuses.
pub fn listen(run_dir: &Path, queries: mpsc::Sender<Query>) -> io::Result<()> {
    control::listen(run_dir, SOCKET, move |command| answer(command, queries.clone()))
}

async fn answer(command: String, queries: mpsc::Sender<Query>) -> io::Result<Vec<u8>> {
    let words: Vec<&str> = command.split(' ').collect();
    match words.as_slice() {
        ["status"] => document(ask(&queries, Query::Status).await),
        ["drops"] => document(ask(&queries, Query::Drops).await.map(Reply::of)),
        ["alive"] => document(ask(&queries, Query::Alive).await.map(|()| "alive")),
        ["why", source, destination] => {
            let query = |to| Query::Why((*source).to_owned(), (*destination).to_owned(), to);
            document(ask(&queries, query).await.map(Reply::of))
        }
        _ => document(Some(Reply::<()>::Refused {
            error: "the commands are status, drops and why SOURCE DESTINATION".to_owned(),
        })),
    }
}

/// Asks the running daemon. It blocks, for 5 seconds at most.
///
/// # Errors
/// There is no answer.
pub fn request<T: DeserializeOwned>(run_dir: &Path, command: &str) -> Result<T, Error> {
    control::request(NAME, run_dir, SOCKET, command)
}
