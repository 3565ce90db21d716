//! The socket: questions of the plugin, one line of JSON each way.

use super::acquire;
use super::flags::Flags;
use super::leases::Leases;
use super::report;
use crate::rpc::{Ask, LIMIT, Told};
use cni::{Error, code};
use listenfd::ListenFd;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener as Bound, UnixStream as Connection};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// How long a client may take to send its question.
const QUESTION_TIME: Duration = Duration::from_secs(5);
/// Only root may ask.
const MODE: u32 = 0o600;

/// A socket that listens. One that the daemon made is removed when it stops.
pub struct Listening {
    socket: Bound,
    own: Option<PathBuf>,
}

impl Listening {
    /// Takes the socket that systemd passes, or makes one. A socket that a killed daemon left is
    /// replaced.
    ///
    /// # Errors
    /// Another daemon listens there, or the file system refuses.
    pub fn open(flags: &Flags) -> io::Result<Listening> {
        let mut passed = ListenFd::from_env();
        match passed.len() {
            0 => {
                let path = flags.socket();
                let socket = make(&path).map_err(|error| {
                    named(&format!("cannot listen at {}", path.display()), &error)
                })?;
                Ok(Listening { socket, own: Some(path) })
            }
            1 => {
                let socket = passed.take_unix_listener(0)?;
                let none = || io::Error::other("LISTEN_FDS=1 but no FD found");
                Ok(Listening { socket: socket.ok_or_else(none)?, own: None })
            }
            many => {
                let msg = format!("Too many ({many}) FDs passed through socket activation");
                Err(io::Error::other(format!("{msg}: one ListenStream is enough")))
            }
        }
    }

    /// The socket on the daemon's loop.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn listener(&self) -> io::Result<UnixListener> {
        let socket = self.socket.try_clone()?;
        socket.set_nonblocking(true)?;
        UnixListener::from_std(socket)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(path) = &self.own {
            let _ = fs::remove_file(path);
        }
    }
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

fn make(path: &Path) -> io::Result<Bound> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    if Connection::connect(path).is_ok() {
        return Err(io::Error::new(
            ErrorKind::AddrInUse,
            "another DHCP daemon listens there: stop it",
        ));
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Bound::bind(&aside)?;
    fs::set_permissions(&aside, Permissions::from_mode(MODE))?;
    fs::rename(&aside, path)?;
    Ok(socket)
}

/// Answers from now on.
pub fn start(listener: UnixListener, leases: &Rc<Leases>) {
    let leases = Rc::clone(leases);
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let leases = Rc::clone(&leases);
                    tokio::task::spawn_local(async move { serve(stream, &leases).await });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
}

async fn serve(mut stream: UnixStream, leases: &Rc<Leases>) {
    let question = tokio::time::timeout(QUESTION_TIME, question(&mut stream)).await;
    let told = match question {
        Ok(Ok(Ok(ask))) => {
            let adding = match &ask {
                Ask::Add { of, .. } => Some(of.clone()),
                _ => None,
            };
            let told = tokio::select! {
                told = answer(ask, leases) => told,
                // The plugin was killed: what it asked for is given up.
                () = closed(&stream) => return,
            };
            let leased = matches!(told, Told::Lease(_));
            let sent = send(&mut stream, &told).await;
            if let (Err(error), Some(of), true) = (sent, adding, leased) {
                tracing::warn!("{of}: the plugin is gone, its lease is given back: {error}");
                let _ = leases.del(&of).await;
            }
            return;
        }
        Ok(Ok(Err(error))) => Error::new(code::DECODE, "this is no question to the DHCP daemon")
            .details(format!("{error}; are plugin and daemon of one version?"))
            .into(),
        _ => return,
    };
    let _ = send(&mut stream, &told).await;
}

async fn question(stream: &mut UnixStream) -> io::Result<serde_json::Result<Ask>> {
    let (from, _) = stream.split();
    let mut line = Vec::new();
    BufReader::new(from.take(LIMIT)).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line))
}

async fn send(stream: &mut UnixStream, told: &Told) -> io::Result<()> {
    let text = serde_json::to_vec(told).map_err(io::Error::other)?;
    stream.write_all(&text).await?;
    stream.shutdown().await
}

/// Waits until the other end is closed: a plugin sends no more than its question.
async fn closed(stream: &UnixStream) {
    let mut byte = [0];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut byte) {
            Ok(0) => return,
            Err(error) if error.kind() != ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

async fn answer(ask: Ask, leases: &Rc<Leases>) -> Told {
    let done = match ask {
        Ask::Add { of, netns, options } => {
            acquire::add(leases, &of, &netns, options).await.map(Told::Lease)
        }
        Ask::Del { of } => leases.del(&of).await.map(|()| Told::Done),
        Ask::Check { of } => leases.check(&of).map(Told::Lease),
        Ask::Gc { network, valid } => leases.gc(&network, &valid).await.map(|()| Told::Done),
        Ask::Status { network } => Ok(Told::Status(leases.problems(&network))),
        Ask::Report => Ok(Told::Report(report::of(leases))),
    };
    done.unwrap_or_else(Told::from)
}
