//! How the plugin talks to its daemon: one line of JSON each way over a stream socket.

use crate::config::Options;
use crate::lease::Lease;
use cni::{Attachment, Error, ValidAttachment, code};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// More than any request or answer, in bytes.
pub const LIMIT: u64 = 64 << 20;
/// Answers that need no server come within this time.
pub const SOON: Duration = Duration::from_secs(10);

/// What the plugin asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// Lease an address for an attachment: [`Told::Lease`].
    Add {
        /// Whose.
        of: Key,
        /// `CNI_NETNS`.
        netns: String,
        /// The options of the client's messages.
        options: Options,
    },
    /// Give the attachment's lease back: [`Told::Done`].
    Del {
        /// Whose.
        of: Key,
    },
    /// Which lease the attachment has: [`Told::Lease`], or [`Told::Failed`] without one.
    Check {
        /// Whose.
        of: Key,
    },
    /// Give back the leases of a network that none of these has: [`Told::Done`].
    Gc {
        /// The network.
        network: String,
        /// Those that stay: container ID and interface.
        valid: Vec<(String, String)>,
    },
    /// Whether ADD can be served: [`Told::Status`].
    Status {
        /// The network.
        network: String,
    },
    /// All leases, for people: [`Told::Report`].
    Report,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The network.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

impl Key {
    /// The name of its file: the attachment's hash.
    pub fn hash(&self) -> String {
        Attachment::new(&self.network, &self.container_id, &self.ifname).hash()
    }

    /// What servers know the client by, as the reference: a byte 0, then the three with slashes, of
    /// 255 bytes at most.
    pub fn client(&self) -> Vec<u8> {
        let text = format!("{}/{}/{}", self.container_id, self.network, self.ifname);
        let mut bytes = vec![0];
        bytes.extend(text.bytes().take(254));
        bytes
    }

    /// Whether it is one of these.
    pub fn is_among(&self, valid: &[(String, String)]) -> bool {
        valid.iter().any(|(id, ifname)| *id == self.container_id && *ifname == self.ifname)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.container_id, self.network, self.ifname)
    }
}

/// What the daemon answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// The attachment's lease.
    Lease(Lease),
    /// It is done.
    Done,
    /// What is wrong with leases of the network, one line each.
    Status(Vec<String>),
    /// All leases.
    Report(Report),
    /// It is not done.
    Failed {
        /// The protocol's code.
        code: u32,
        /// What failed.
        msg: String,
        /// Why, and what to do.
        details: String,
    },
}

/// All leases.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// One for each pod's link.
    pub leases: Vec<Line>,
}

/// A lease.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The network.
    pub network: String,
    /// The container.
    pub container: String,
    /// The link.
    pub ifname: String,
    /// The address with its prefix length.
    pub address: String,
    /// The server.
    pub server: String,
    /// `bound`, `unanswered` or `lost`.
    pub state: String,
    /// Seconds until it ends; `None` means never.
    pub left: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

impl From<Error> for Told {
    fn from(error: Error) -> Told {
        Told::Failed { code: error.code, msg: error.msg, details: error.details }
    }
}

/// Asks the daemon, and waits for the answer as long as it takes, or as `limit` says.
///
/// # Errors
/// Code 11 where no daemon answers; the daemon's own.
pub fn ask(socket: &Path, ask: &Ask, limit: Option<Duration>) -> Result<Told, Error> {
    let stream = UnixStream::connect(socket).map_err(|error| no_daemon(socket, &error))?;
    match exchange(stream, ask, limit) {
        Ok(Told::Failed { code, msg, details }) => Err(Error { code, msg, details }),
        Ok(told) => Ok(told),
        Err(error) => Err(Error::new(code::TRY_AGAIN, "the DHCP daemon does not answer")
            .details(format!(
                "{}: {error}; see its log (journalctl -u cni-dhcp) and restart it: it keeps its leases",
                socket.display()
            ))),
    }
}

/// The reference's words first.
fn no_daemon(socket: &Path, error: &io::Error) -> Error {
    Error::new(code::TRY_AGAIN, "error dialing DHCP daemon").details(format!(
        "dial unix {}: {error}; start it: systemctl enable --now cni-dhcp.socket, or run `dhcp daemon`",
        socket.display()
    ))
}

fn exchange<T: DeserializeOwned>(
    mut stream: UnixStream,
    ask: &Ask,
    limit: Option<Duration>,
) -> io::Result<T> {
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(Some(SOON))?;
    let mut line = serde_json::to_vec(ask).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    match stream.take(LIMIT).read_to_end(&mut answer) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            return Err(ErrorKind::TimedOut.into());
        }
        read => read?,
    };
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let foreign = |error| {
        io::Error::other(format!("what listens there is no daemon of this version: {error}"))
    };
    serde_json::from_slice(&answer).map_err(foreign)
}

/// GC's list.
pub fn valid(list: &[ValidAttachment]) -> Vec<(String, String)> {
    list.iter().map(|of| (of.container_id.clone(), of.ifname.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers know pods by it: a change would give each another address.
    #[test]
    fn the_client_identifier_is_the_reference_s() {
        let key = |id: &str| Key {
            network: "net".to_owned(),
            container_id: id.to_owned(),
            ifname: "eth0".to_owned(),
        };
        assert_eq!(key("c1").client(), b"\0c1/net/eth0");
        let long = key(&"x".repeat(300)).client();
        assert_eq!((long.len(), long[0], long[254]), (255, 0, b'x'));
    }

    #[test]
    fn who_does_not_listen_is_named_with_the_remedy() {
        let error = ask(Path::new("/nonexistent/dhcp.sock"), &Ask::Report, None).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (11, "error dialing DHCP daemon"));
        assert!(error.details.contains("/nonexistent/dhcp.sock: No such file"), "{error}");
        assert!(error.details.contains("systemctl enable --now cni-dhcp.socket"), "{error}");
    }
}
