//! The control socket. Its commands are `status`, answered by a [`crate::report::Report`],
//! `status bgp`, answered by a [`crate::bgp::report::BgpReport`] or, where no BGP is configured,
//! `null`, and `alive`, which the plugins send.

use crate::query::Query;
use daemon::control::{self, Error, document};
use daemon::query::ask;
use serde::de::DeserializeOwned;
use std::io;
use std::path::Path;
use tokio::sync::mpsc;

/// The socket's name in the run directory.
pub use node::keeper::SOCKET;
/// What `systemctl` and messages call this daemon.
pub const NAME: &str = "route-sync";

/// Opens the socket in the run directory and serves it on the current runtime; each command becomes
/// a [`Query`]. A socket that exists is replaced, so the caller holds the daemon's lock.
///
/// # Errors
/// The file system refuses.
pub fn listen(run_dir: &Path, queries: mpsc::Sender<Query>) -> io::Result<()> {
    control::listen(run_dir, SOCKET, move |command| answer(command, queries.clone()))
}

async fn answer(command: String, queries: mpsc::Sender<Query>) -> io::Result<Vec<u8>> {
    match command.as_str() {
        "status" => document(ask(&queries, Query::Status).await),
        "status bgp" => document(ask(&queries, Query::Bgp).await),
        node::keeper::ALIVE => document(ask(&queries, Query::Alive).await.map(|()| "alive")),
        _ => Ok(b"{\"error\":\"the commands are status and status bgp\"}".to_vec()),
    }
}

/// Asks the running daemon for its report: a [`crate::report::Report`] for `status`, an
/// `Option<BgpReport>` for `status bgp`. It blocks, for 5 seconds at most.
///
/// # Errors
/// There is none.
pub fn status<T: DeserializeOwned>(run_dir: &Path, command: &str) -> Result<T, Error> {
    control::request(NAME, run_dir, SOCKET, command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::status::tests::report;

    /// A daemon's loop that answers every question.
    fn daemon(run_dir: &Path) {
        let (queries, mut asked) = mpsc::channel(1);
        listen(run_dir, queries).unwrap();
        tokio::spawn(async move {
            while let Some(query) = asked.recv().await {
                match query {
                    Query::Status(to) => drop(to.send(report())),
                    Query::Alive(to) => drop(to.send(())),
                    Query::Bgp(to) => drop(to.send(None)),
                    Query::Figures(_) => {}
                }
            }
        });
    }

    async fn asked<T: DeserializeOwned + Send + 'static>(
        run_dir: &Path,
        command: &'static str,
    ) -> Result<T, Error> {
        let run_dir = run_dir.to_owned();
        tokio::task::spawn_blocking(move || status(&run_dir, command)).await.unwrap()
    }

    #[tokio::test]
    async fn each_command_has_its_answer() {
        let dir = tempfile::tempdir().unwrap();
        let error = asked::<Report>(dir.path(), "status").await.unwrap_err().to_string();
        assert!(error.starts_with("no route-sync runs: no process listens at "), "{error}");
        assert!(error.ends_with("; see systemctl status route-sync"), "{error}");
        daemon(dir.path());
        assert_eq!(asked::<Report>(dir.path(), "status").await.unwrap(), report());
        assert_eq!(asked::<String>(dir.path(), "alive").await.unwrap(), "alive");
        let bgp = asked::<Option<crate::bgp::report::BgpReport>>(dir.path(), "status bgp").await;
        assert_eq!(bgp.unwrap(), None);
        let error: serde_json::Value = asked(dir.path(), "x").await.unwrap();
        assert_eq!(error["error"], "the commands are status and status bgp");
    }
}
