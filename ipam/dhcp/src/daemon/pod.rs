//! The pod's end of the line: its network namespace, found by its path, and a socket on its link.

use crate::frame::{self, CLIENT, Path as FramePath};
use crate::message::Message;
use net::{Mac, NetNs, PacketSocket, Socket, link};
use nix::sys::stat::fstat;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use tokio::io::unix::AsyncFd;

/// Larger than any frame of a link with an MTU of 1500 bytes.
const FRAME: usize = 2048;

/// A pod's link, and how it is known again.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The path of its network namespace.
    pub netns: PathBuf,
    /// The link's name.
    pub ifname: String,
    /// The namespace and the link's MAC address, once they are known.
    pub known: Option<((u64, u64), Mac)>,
}

/// Why the link cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Pod or link are gone, or others are in their place.
    Gone(String),
    /// For now.
    Failed(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Missing::Gone(why) | Missing::Failed(why)) = self;
        f.write_str(why)
    }
}

impl From<net::Error> for Missing {
    fn from(error: net::Error) -> Missing {
        if error.is_gone() {
            Missing::Gone(error.to_string())
        } else {
            Missing::Failed(error.to_string())
        }
    }
}

/// What was opened.
#[derive(Debug)]
pub struct Opened {
    /// Device and inode of the namespace.
    pub namespace: (u64, u64),
    /// The link's socket.
    pub socket: PacketSocket,
}

impl Pod {
    /// Opens a socket on the link, which is set up if it is down. It blocks, 10 ms and more.
    ///
    /// # Errors
    /// The pod or its link is gone, or the kernel refuses.
    pub fn open(&self) -> Result<Opened, Missing> {
        let (netns, namespace) = self.namespace()?;
        let socket = netns.enter(|| {
            let mut socket = Socket::open()?;
            let found = socket.get(&link::by_name(&self.ifname))?;
            if let Some(found) = found.filter(|found| !found.up) {
                socket.set(&link::set_up(found.index, &found.name))?;
            }
            PacketSocket::open(&self.ifname, CLIENT)
        })?;
        self.is_known(socket.mac())?;
        Ok(Opened { namespace, socket })
    }

    /// Whether pod and link are there still, as they were known.
    ///
    /// # Errors
    /// As [`Pod::open`].
    pub fn look(&self) -> Result<(), Missing> {
        let found = self.link()?.1;
        self.is_known(found.mac)
    }

    /// Sets the link down.
    ///
    /// # Errors
    /// As [`Pod::open`].
    pub fn set_down(&self) -> Result<(), Missing> {
        let (netns, found) = self.link()?;
        self.is_known(found.mac)?;
        let down = link::set_down(found.index, &found.name);
        Ok(netns.enter(|| Socket::open()?.set(&down))?)
    }

    fn link(&self) -> Result<(NetNs, net::Link), Missing> {
        let (netns, _) = self.namespace()?;
        let found = netns.enter(|| Socket::open()?.get(&link::by_name(&self.ifname)))?;
        let gone = || Missing::Gone(format!("the pod has no {}", self.ifname));
        Ok((netns, found.ok_or_else(gone)?))
    }

    fn namespace(&self) -> Result<(NetNs, (u64, u64)), Missing> {
        let netns = NetNs::open(&self.netns)?;
        let stat = fstat(netns.as_fd()).map_err(|errno| Missing::Failed(errno.to_string()))?;
        let namespace = (stat.st_dev, stat.st_ino);
        match &self.known {
            Some((known, _)) if *known != namespace => {
                let path = self.netns.display();
                Err(Missing::Gone(format!("{path} is another network namespace now")))
            }
            _ => Ok((netns, namespace)),
        }
    }

    fn is_known(&self, mac: Mac) -> Result<(), Missing> {
        match self.known {
            Some((_, known)) if known != mac => {
                let ifname = &self.ifname;
                Err(Missing::Gone(format!(
                    "{ifname} has the MAC address {mac} now, it had {known}"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A link's socket on the daemon's loop.
pub struct Port(Option<AsyncFd<PacketSocket>>);

impl Port {
    /// Takes a socket into the loop.
    ///
    /// # Errors
    /// The kernel allows no more descriptors.
    pub fn new(socket: PacketSocket) -> io::Result<Port> {
        #[expect(
            deprecated,
            reason = "the other constructor is unsafe; PacketSocket keeps its promise"
        )]
        let socket = AsyncFd::new(socket)?;
        Ok(Port(Some(socket)))
    }

    fn ready(&self) -> io::Result<&AsyncFd<PacketSocket>> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The socket.
    ///
    /// # Errors
    /// It is closed.
    pub fn socket(&self) -> io::Result<&PacketSocket> {
        self.ready().map(AsyncFd::get_ref)
    }

    /// The link's MAC address.
    pub fn mac(&self) -> Mac {
        self.0.as_ref().map_or(Mac([0; 6]), |socket| socket.get_ref().mac())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The kernel's: the link is down or gone.
    pub fn send(&self, path: &FramePath, message: &Message) -> io::Result<()> {
        self.socket()?.send(&frame::build(path, &message.encode()))
    }

    /// Waits for the next message, and the MAC address that it comes from.
    ///
    /// # Errors
    /// The kernel's: the link went down.
    pub async fn receive(&self) -> io::Result<(Mac, Message)> {
        let socket = self.ready()?;
        let mut bytes = vec![0; FRAME];
        loop {
            let mut ready = socket.readable().await?;
            let received = ready.try_io(|socket| socket.get_ref().receive(&mut bytes));
            let Ok(length) = received else { continue };
            let frame = bytes.get(..length?).unwrap_or_default();
            let message = frame::read(frame)
                .and_then(|(from, payload)| Some((from, Message::decode(payload)?)));
            if let Some(message) = message {
                return Ok(message);
            }
        }
    }
}

/// The kernel takes 10 ms to close it, for which the loop does not wait.
impl Drop for Port {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            let socket = socket.into_inner();
            // Without a thread it is closed here.
            let _ = std::thread::Builder::new().spawn(move || drop(socket));
        }
    }
}
