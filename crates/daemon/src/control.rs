//! The control socket: a client sends a line with a command, and the daemon answers with a JSON
//! document and the end of the stream.

use crate::clients::{Client, TIME, serve};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, Permissions};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Connection;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Longer than any command, in bytes.
const COMMAND_LIMIT: u64 = 64;
/// More than the report of any cluster, in bytes.
const REPORT_LIMIT: u64 = 64 << 20;
/// `sun_path` holds 108 bytes, the NUL among them (unix(7)).
const PATH_LIMIT: usize = 107;

/// The name that a socket has until it listens.
fn new_name(socket: &str) -> String {
    format!(".{socket}.new")
}

/// The longest path of a folder that a socket of this name can be in, in bytes.
pub fn folder_limit(socket: &str) -> usize {
    PATH_LIMIT - "/".len() - new_name(socket).len()
}

/// Opens `<run_dir>/<socket>`, for root alone, and serves it on the current runtime: `answer`
/// returns the JSON document for a command, or an error that closes the connection. A socket that
/// exists is replaced, so the caller holds the daemon's lock.
///
/// # Errors
/// The file system refuses.
pub fn listen<A>(
    run_dir: &Path,
    socket: &str,
    answer: impl Fn(String) -> A + Clone + Send + 'static,
) -> io::Result<()>
where
    A: Future<Output = io::Result<Vec<u8>>> + Send + 'static,
{
    let new = run_dir.join(new_name(socket));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, run_dir.join(socket))?;
    let listener = Arc::new(listener);
    let accept = move || {
        let listener = Arc::clone(&listener);
        async move { Ok((listener.accept().await?.0, None)) }
    };
    let handle = move |stream, client| exchange(stream, client, answer.clone());
    tokio::spawn(async move { serve(accept, handle).await });
    Ok(())
}

async fn exchange<A>(
    mut stream: UnixStream,
    client: Client,
    answer: impl Fn(String) -> A,
) -> io::Result<()>
where
    A: Future<Output = io::Result<Vec<u8>>>,
{
    let mut command = String::new();
    let (from, _) = stream.split();
    let mut from = BufReader::new(from.take(COMMAND_LIMIT));
    client.request(from.read_line(&mut command)).await?;
    let document = answer(command.trim_end().to_owned()).await?;
    stream.write_all(&document).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await
}

/// A report as the JSON document of an answer; `None`, where the daemon's loop has ended, is an
/// error.
///
/// # Errors
/// There is no report, or it cannot be written as JSON.
pub fn document<T: Serialize>(report: Option<T>) -> io::Result<Vec<u8>> {
    let report = report.ok_or(ErrorKind::BrokenPipe)?;
    serde_json::to_vec(&report).map_err(io::Error::other)
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon listens.
    #[error("no {daemon} runs: no process listens at {socket}; see systemctl status {daemon}")]
    NoDaemon {
        /// The daemon's name.
        daemon: &'static str,
        /// The socket.
        socket: String,
    },
    /// The daemon does not answer, or this user may not ask.
    #[error("{daemon} does not answer at {socket}: {error}")]
    NoAnswer {
        /// The daemon's name.
        daemon: &'static str,
        /// The socket.
        socket: String,
        /// The cause.
        error: io::Error,
    },
    /// The answer is no report.
    #[error("what {daemon} answers at {socket} is no report: {error}; is it another version?")]
    NoReport {
        /// The daemon's name.
        daemon: &'static str,
        /// The socket.
        socket: String,
        /// The cause.
        error: serde_json::Error,
    },
}

/// Sends a command to the running daemon at `<run_dir>/<socket>` and returns its report. It blocks,
/// for 5 seconds at most.
///
/// # Errors
/// There is no report.
pub fn request<T: DeserializeOwned>(
    daemon: &'static str,
    run_dir: &Path,
    socket: &str,
    command: &str,
) -> Result<T, Error> {
    let path = run_dir.join(socket);
    let socket = || path.display().to_string();
    let silent = |error| Error::NoAnswer { daemon, socket: socket(), error };
    let stream = Connection::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Error::NoDaemon { daemon, socket: socket() }
        }
        _ => silent(error),
    })?;
    let text = send(stream, command).map_err(silent)?;
    let foreign = |error| Error::NoReport { daemon, socket: socket(), error };
    serde_json::from_slice(&text).map_err(foreign)
}

fn send(mut stream: Connection, command: &str) -> io::Result<Vec<u8>> {
    let end = Instant::now() + TIME;
    stream.set_write_timeout(Some(TIME))?;
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
    use crate::clients::AT_ONCE;

    const SOCKET: &str = "x.sock";

    /// A daemon that knows one command.
    fn daemon(run_dir: &Path) {
        let answer = |command: String| async move {
            match command.as_str() {
                "status" => document(Some(vec![1, 2])),
                "ended" => document(None::<()>),
                _ => Ok(b"{\"error\":\"the command is status\"}".to_vec()),
            }
        };
        listen(run_dir, SOCKET, answer).unwrap();
    }

    async fn asked(run_dir: &Path, command: &'static str) -> Result<Vec<u8>, Error> {
        let run_dir = run_dir.to_owned();
        let ask = move || request("x", &run_dir, SOCKET, command);
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    #[tokio::test]
    async fn a_command_is_answered_by_its_report() {
        let dir = tempfile::tempdir().unwrap();
        let error = asked(dir.path(), "status").await.unwrap_err();
        let place = dir.path().join(SOCKET);
        let text = format!("no x runs: no process listens at {}; see", place.display());
        assert!(error.to_string().starts_with(&text), "{error}");
        // A socket that an earlier daemon left.
        drop(UnixListener::bind(&place).unwrap());
        assert!(matches!(asked(dir.path(), "status").await, Err(Error::NoDaemon { .. })));
        daemon(dir.path());
        assert_eq!(asked(dir.path(), "status").await.unwrap(), [1, 2]);
        assert!(matches!(asked(dir.path(), "x").await, Err(Error::NoReport { .. })));
        assert!(matches!(asked(dir.path(), "ended").await, Err(Error::NoAnswer { .. })));
        let mode = fs::metadata(&place).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn clients_that_send_nothing_keep_no_other_out() {
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
        tokio::time::timeout(TIME * 4, read).await.unwrap().unwrap();
        assert_eq!(text, "{\"error\":\"the command is status\"}\n");
        assert_eq!(asked(dir.path(), "status").await.unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        listen(dir.path(), SOCKET, |_| std::future::pending()).unwrap();
        assert!(matches!(asked(dir.path(), "status").await, Err(Error::NoAnswer { .. })));
    }

    #[tokio::test]
    async fn the_longest_folder_has_room_for_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let place =
            dir.path().join("d".repeat(folder_limit(SOCKET) - dir.path().as_os_str().len() - 1));
        fs::create_dir(&place).unwrap();
        daemon(&place);
        assert_eq!(asked(&place, "status").await.unwrap(), [1, 2]);
    }
}
