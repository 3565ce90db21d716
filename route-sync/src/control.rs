//! The socket of `route-sync status`: a line with a command, answered by a JSON document and the
//! end of the stream. The commands are `status`, answered by a [`crate::query::Report`], and
//! `status bgp`, answered by a [`crate::bgp::report::BgpReport`] or, where no BGP is configured,
//! `null`.

use crate::query::Query;
use crate::serve::{Client, PATIENCE, serve};
use serde::de::DeserializeOwned;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// The socket's name in the run directory.
pub use node::keeper::SOCKET;
/// Longer than any command, in bytes.
const COMMAND_LIMIT: u64 = 64;
/// More than the report of any cluster, in bytes.
const REPORT_LIMIT: u64 = 64 << 20;

/// Opens `<run_dir>/route-sync.sock`, for root alone, and serves it on the current runtime; each
/// command becomes a [`Query`]. What is there already is replaced: whoever calls holds the lock.
///
/// # Errors
/// The file system refuses.
pub fn listen(run_dir: &Path, queries: mpsc::Sender<Query>) -> io::Result<()> {
    let aside = run_dir.join(format!(".{SOCKET}.new"));
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&aside)?;
    fs::set_permissions(&aside, Permissions::from_mode(0o600))?;
    fs::rename(&aside, run_dir.join(SOCKET))?;
    let listener = Arc::new(listener);
    let accept = move || {
        let listener = Arc::clone(&listener);
        async move { Ok((listener.accept().await?.0, None)) }
    };
    tokio::spawn(serve(accept, move |stream, client| answer(stream, client, queries.clone())));
    Ok(())
}

async fn answer(
    mut stream: UnixStream,
    client: Client,
    queries: mpsc::Sender<Query>,
) -> io::Result<()> {
    let mut command = String::new();
    let (from, _) = stream.split();
    let mut from = BufReader::new(from.take(COMMAND_LIMIT));
    client.asks(from.read_line(&mut command)).await?;
    let text = match command.trim_end() {
        "status" => match ask(&queries, Query::Status).await {
            Some(report) => serde_json::to_vec(&report).map_err(io::Error::other)?,
            None => return Ok(()),
        },
        "status bgp" => match ask(&queries, Query::Bgp).await {
            Some(report) => serde_json::to_vec(&report).map_err(io::Error::other)?,
            None => return Ok(()),
        },
        node::keeper::ALIVE => match ask(&queries, Query::Alive).await {
            Some(()) => b"\"alive\"".to_vec(),
            None => return Ok(()),
        },
        _ => b"{\"error\":\"the commands are status and status bgp\"}".to_vec(),
    };
    stream.write_all(&text).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await
}

/// Puts a question to the daemon's loop; `None` when the loop has ended.
pub(crate) async fn ask<T>(
    queries: &mpsc::Sender<Query>,
    query: impl FnOnce(oneshot::Sender<T>) -> Query,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    queries.send(query(sender)).await.ok()?;
    receiver.await.ok()
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon listens.
    #[error("no route-sync runs: nobody listens at {0}; see systemctl status route-sync")]
    NoDaemon(String),
    /// The daemon does not answer, or this user may not ask.
    #[error("route-sync does not answer at {socket}: {error}")]
    Silent {
        /// The socket.
        socket: String,
        /// The cause.
        error: io::Error,
    },
    /// What came is no report.
    #[error("what route-sync answers at {socket} is no report: {error}; is it another version?")]
    Foreign {
        /// The socket.
        socket: String,
        /// The cause.
        error: serde_json::Error,
    },
}

/// Asks the running daemon for its report: a [`crate::query::Report`] for `status`, an
/// `Option<BgpReport>` for `status bgp`. It blocks, for 5 seconds at most.
///
/// # Errors
/// There is none.
pub fn status<T: DeserializeOwned>(run_dir: &Path, command: &str) -> Result<T, Error> {
    let path = run_dir.join(SOCKET);
    let socket = || path.display().to_string();
    let stream = Connection::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NoDaemon(socket()),
        _ => Error::Silent { socket: socket(), error },
    })?;
    let text =
        exchange(stream, command).map_err(|error| Error::Silent { socket: socket(), error })?;
    serde_json::from_slice(&text).map_err(|error| Error::Foreign { socket: socket(), error })
}

fn exchange(mut stream: Connection, command: &str) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut text = Vec::new();
    let mut part = vec![0; 64 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || text.len() as u64 > REPORT_LIMIT {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part) {
            Ok(0) if text.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Ok(text),
            Ok(length) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Report;
    use crate::serve::AT_ONCE;
    use crate::status::tests::report;

    /// A daemon's loop that answers every question.
    fn daemon(run_dir: &Path) {
        let (queries, mut asked) = mpsc::channel(1);
        listen(run_dir, queries).unwrap();
        tokio::spawn(async move {
            while let Some(query) = asked.recv().await {
                if let Query::Status(to) = query {
                    drop(to.send(report()));
                }
            }
        });
    }

    async fn asked(run_dir: &Path) -> Result<Report, Error> {
        let run_dir = run_dir.to_owned();
        tokio::task::spawn_blocking(move || status(&run_dir, "status")).await.unwrap()
    }

    #[tokio::test]
    async fn a_report_is_asked_for_and_comes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(asked(dir.path()).await, Err(Error::NoDaemon(_))));
        // A socket that a daemon of before left.
        drop(UnixListener::bind(dir.path().join(SOCKET)).unwrap());
        assert!(matches!(asked(dir.path()).await, Err(Error::NoDaemon(_))));
        daemon(dir.path());
        assert_eq!(asked(dir.path()).await.unwrap(), report());
        let mode = fs::metadata(dir.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn those_who_say_nothing_keep_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        daemon(dir.path());
        let mut hung = Vec::new();
        for _ in 0..AT_ONCE * 2 {
            hung.push(UnixStream::connect(dir.path().join(SOCKET)).await.unwrap());
        }
        let mut stream = UnixStream::connect(dir.path().join(SOCKET)).await.unwrap();
        stream.write_all(b"nonsense\n").await.unwrap();
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        tokio::time::timeout(PATIENCE * 4, read).await.unwrap().unwrap();
        assert!(text.contains("the commands are status"), "{text}");
        assert_eq!(asked(dir.path()).await.unwrap(), report());
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (queries, _never_asked) = mpsc::channel(1);
        listen(dir.path(), queries).unwrap();
        assert!(matches!(asked(dir.path()).await, Err(Error::Silent { .. })));
    }
}
