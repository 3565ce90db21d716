//! TCP of the sessions: dialling, listening, reading and writing, each in a task of its own that sends
//! events to the speaker.

use super::config::{PORT, Peer};
use bgp_speaker::fsm::ConnectionId;
use net::tcp::set_md5_key;
use nix::sys::socket::{Backlog, Shutdown, getsockopt, setsockopt, shutdown, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How long the peer may take to read what is written: the usual hold time.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long all that was written before a close may take to go out.
pub const GOODBYE: Duration = Duration::from_secs(2);
/// Bytes of one reading: some messages.
pub(super) const PART: usize = 16 << 10;
/// What any event costs.
const LEAST: usize = 256;
/// Messages that may wait for a peer that reads nothing.
const WAITING: usize = 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// What happened on the network.
#[derive(Debug)]
pub enum NetworkEvent {
    /// The connection of the dial with this number, or why there is none.
    Dialled(IpAddr, u64, io::Result<TcpStream>),
    /// A host connected, to what [`Listeners::serve`] was called for with this number.
    Accepted(TcpStream, SocketAddr, u64),
    /// Bytes arrived. The connection is read again once the permit is dropped, so that no peer is ever
    /// ahead by more than one reading.
    Bytes(ConnectionId, Vec<u8>, OwnedSemaphorePermit),
    /// A connection is over; in words.
    Closed(ConnectionId, String),
}

impl NetworkEvent {
    /// What it takes to act on it, in bytes of a peer.
    pub(super) fn cost(&self) -> usize {
        match self {
            NetworkEvent::Bytes(_, bytes, _) => bytes.len().max(LEAST),
            _ => LEAST,
        }
    }
}

/// Where the tasks send events.
pub type EventSender = mpsc::Sender<NetworkEvent>;

/// An open connection. Dropped, it closes after all that was written has gone out, or after
/// [`GOODBYE`].
#[derive(Debug)]
pub struct Connection {
    /// This node's address in it.
    pub local: SocketAddr,
    writing: mpsc::Sender<Vec<u8>>,
    /// Too much waits to be written.
    stuck: Arc<Notify>,
    reading: AbortHandle,
    written: Option<JoinHandle<()>>,
    /// Its end is what the writing task waits for.
    _dropped: oneshot::Sender<()>,
}

impl Connection {
    /// Begins to read and to write on the current runtime.
    ///
    /// # Errors
    /// It is closed already.
    pub fn start(
        id: ConnectionId,
        stream: TcpStream,
        events: &EventSender,
    ) -> io::Result<Connection> {
        let local = stream.local_addr()?;
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let (writing, queue) = mpsc::channel(WAITING);
        let stuck = Arc::new(Notify::new());
        let reading = tokio::spawn(read(id, from, events.clone())).abort_handle();
        let (_dropped, dropped) = oneshot::channel();
        let writes = write(id, to, queue, Arc::clone(&stuck), dropped, events.clone());
        let written = Some(tokio::spawn(writes));
        Ok(Connection { local, writing, stuck, reading, written, _dropped })
    }

    /// Writes, after all that was written before. A [`NetworkEvent`] says when it is closed.
    pub fn send(&self, bytes: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.writing.try_send(bytes) {
            self.stuck.notify_one();
        }
    }

    /// What ends once this is dropped and all has gone out; only the first call gives it.
    pub fn written(&mut self) -> Option<JoinHandle<()>> {
        self.written.take()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(id: ConnectionId, mut stream: OwnedReadHalf, events: EventSender) {
    let mut part = vec![0; PART];
    let ahead = Arc::new(Semaphore::new(1));
    let error = loop {
        let Ok(permit) = Arc::clone(&ahead).acquire_owned().await else { return };
        match stream.read(&mut part).await {
            Ok(0) => break "the peer closed the connection".to_owned(),
            Ok(length) => {
                let bytes = part.get(..length).unwrap_or_default().to_vec();
                if events.send(NetworkEvent::Bytes(id, bytes, permit)).await.is_err() {
                    return;
                }
            }
            Err(error) => break words(&error),
        }
    };
    // The receiver is gone when the daemon ends.
    let _ = events.send(NetworkEvent::Closed(id, error)).await;
}

async fn write(
    id: ConnectionId,
    mut stream: OwnedWriteHalf,
    queue: mpsc::Receiver<Vec<u8>>,
    stuck: Arc<Notify>,
    dropped: oneshot::Receiver<()>,
    events: EventSender,
) {
    let soon = async {
        let _ = dropped.await;
        sleep(GOODBYE).await;
    };
    let written = tokio::select! {
        written = write_all(&mut stream, queue) => written,
        () = stuck.notified() => Err(None),
        () = soon => Err(None),
    };
    let Err(error) = written else {
        // The reading half is gone by now: this closes.
        let _ = stream.shutdown().await;
        return;
    };
    let error = error.map_or_else(
        || "the peer takes in nothing that is written".to_owned(),
        |error| words(&error),
    );
    let _ = events.send(NetworkEvent::Closed(id, error)).await;
}

/// Writes what is queued, until the queue is closed; an error of `None` is that of time.
async fn write_all(
    stream: &mut OwnedWriteHalf,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> Result<(), Option<io::Error>> {
    while let Some(bytes) = queue.recv().await {
        timeout(PATIENCE, stream.write_all(&bytes)).await.map_err(|_| None)?.map_err(Some)?;
    }
    Ok(())
}

/// An error without its number, which means nothing to a reader.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Dials a peer on the current runtime, and sends the outcome. A dial that is aborted may have sent it
/// already.
pub fn dial(
    peer: &Peer,
    source: Option<IpAddr>,
    internal: bool,
    number: u64,
    events: &EventSender,
) -> AbortHandle {
    let (peer, events) = (peer.clone(), events.clone());
    tokio::spawn(async move {
        let dialled = connect(&peer, source, internal).await;
        let _ = events.send(NetworkEvent::Dialled(peer.address, number, dialled)).await;
    })
    .abort_handle()
}

async fn connect(peer: &Peer, source: Option<IpAddr>, internal: bool) -> io::Result<TcpStream> {
    let socket = if peer.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_hops(&socket, peer, internal)?;
    if let Some(password) = &peer.password {
        set_md5_key(&socket, peer.address, &password.0).map_err(io::Error::other)?;
    }
    if let Some(local) = peer.local_address {
        socket.bind(SocketAddr::new(local, 0)).map_err(|error| {
            let error = words(&error);
            io::Error::other(format!("local-address {local} cannot be used: {error}"))
        })?;
    } else {
        choose_source(&socket, source);
    }
    socket.connect(SocketAddr::new(peer.address, peer.port)).await
}

/// Binds to `source` where that can be; else the kernel chooses, and of IPv6 no temporary address,
/// which no peer can be configured for.
fn choose_source(socket: &TcpSocket, source: Option<IpAddr>) {
    if source.is_some_and(|source| socket.bind(SocketAddr::new(source, 0)).is_ok()) {
        return;
    }
    if let Err(error) = net::tcp::prefer_public_source(socket) {
        tracing::debug!("{error}");
    }
}

/// TTL of what a connection sends: 1 to a peer of another AS, so that none across a router is
/// reached by mistake (RFC 4271 leaves it open, all speakers do it). With `ttl-security` it is 255,
/// and what comes with less than the peer's distance allows is dropped (RFC 5082).
pub fn set_hops(socket: &impl AsFd, peer: &Peer, internal: bool) -> io::Result<()> {
    if let Some(least) = peer.least_ttl() {
        net::tcp::set_least_ttl(socket, peer.address.is_ipv4(), least).map_err(io::Error::other)?;
        return set_ttl(socket, peer.address.is_ipv4(), u8::MAX);
    }
    match peer.multihop {
        Some(hops) => set_ttl(socket, peer.address.is_ipv4(), hops),
        None if internal => Ok(()),
        None => set_ttl(socket, peer.address.is_ipv4(), 1),
    }
}

fn set_ttl(socket: &impl AsFd, v4: bool, ttl: u8) -> io::Result<()> {
    match v4 {
        true => setsockopt(socket, sockopt::Ipv4Ttl, &ttl.into())?,
        false => setsockopt(socket, sockopt::Ipv6Ttl, &ttl.into())?,
    }
    Ok(())
}

/// Where peers connect to.
#[derive(Debug, Default)]
pub struct Listeners {
    pub(super) sockets: Vec<std::net::TcpListener>,
    tasks: JoinSet<()>,
}

impl Listeners {
    /// Binds them: the addresses are ours, but no peer can connect before [`Listeners::serve`]. The
    /// keys must be set in between: a peer that connects to a socket without them needs none, even
    /// if it is accepted after they are set.
    ///
    /// # Errors
    /// An address is not this node's or is taken, by its name.
    pub fn open(addresses: &[SocketAddr]) -> io::Result<Listeners> {
        let mut sockets = Vec::new();
        for address in addresses {
            sockets.push(bind(*address).map_err(|error| at(*address, &error))?);
        }
        Ok(Listeners { sockets, tasks: JoinSet::new() })
    }

    /// Stops listening, and resets connections that wait to be accepted. The addresses stay ours.
    pub fn pause(&mut self) {
        self.tasks = JoinSet::new();
        // shutdown(2) on a socket that does not listen yet is permanent, and would end later connections.
        let listens = |socket: &&std::net::TcpListener| getsockopt(socket, sockopt::AcceptConn);
        for socket in self.sockets.iter().filter(|socket| listens(socket).unwrap_or(true)) {
            // The kernel resets it to its state before listen(2) (inet_shutdown), for all its
            // descriptors: those of the tasks are closed later.
            if let Err(error) = shutdown(socket.as_raw_fd(), Shutdown::Both) {
                tracing::warn!("cannot stop listening: {error}");
            }
        }
    }

    /// Listens, and accepts on the current runtime, from now on. What is accepted has the number
    /// `round`.
    ///
    /// # Errors
    /// The first; all other sockets listen. Somebody else listens there by now; the runtime takes no
    /// socket.
    pub fn serve(&mut self, events: &EventSender, round: u64) -> io::Result<()> {
        let mut served = Ok(());
        for socket in &self.sockets {
            let listening = listen(socket).map_err(|error| match socket.local_addr() {
                Ok(address) => at(address, &error),
                Err(_) => error,
            });
            let accepting = listening.map(|listener| {
                self.tasks.spawn(accept(listener, events.clone(), round));
            });
            served = served.and(accepting);
        }
        served
    }

    /// What comes with a lower TTL than the least that any peer of its family may have is dropped
    /// before there is a connection. A family of which one peer has no `ttl-security` takes all.
    ///
    /// # Errors
    /// As [`net::tcp::set_least_ttl`].
    pub fn set_least_ttl(&self, peers: &[Peer]) -> net::Result<()> {
        for socket in &self.sockets {
            let Ok(local) = socket.local_addr() else { continue };
            let of_family = peers.iter().filter(|p| p.address.is_ipv4() == local.is_ipv4());
            let least = of_family.map(|peer| peer.least_ttl().unwrap_or(0)).min().unwrap_or(0);
            net::tcp::set_least_ttl(socket, local.is_ipv4(), least)?;
        }
        Ok(())
    }

    /// The key that a peer's connections must have; an empty one for none.
    ///
    /// # Errors
    /// As [`set_md5_key`].
    pub fn set_key(&self, peer: IpAddr, key: &[u8]) -> net::Result<()> {
        let family = |socket: &&std::net::TcpListener| {
            socket.local_addr().is_ok_and(|local| local.is_ipv4() == peer.is_ipv4())
        };
        for socket in self.sockets.iter().filter(family) {
            match set_md5_key(socket, peer, key) {
                Err(error) if key.is_empty() && error.errno == net::ENOENT => {}
                done => done?,
            }
        }
        Ok(())
    }
}

/// An error of an address, with its name.
fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    let port = if address.port() == PORT && error.kind() == io::ErrorKind::AddrInUse {
        "; does another BGP speaker run here (ss -ltnp sport = 179)?"
    } else {
        ""
    };
    io::Error::new(error.kind(), format!("{address}: {}{port}", words(error)))
}

fn listen(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    nix::sys::socket::listen(socket, Backlog::new(BACKLOG)?)?;
    TcpListener::from_std(socket.try_clone()?)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 stand beside each other.
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    // Of what answers before a connection is known to be a peer's: one with `ttl-security` takes
    // no less. What is accepted has its own then.
    set_ttl(&socket, address.is_ipv4(), u8::MAX)?;
    socket.bind(address)?;
    // The types of both libraries can only bind and listen at once.
    Ok(socket.as_fd().try_clone_to_owned()?.into())
}

async fn accept(listener: TcpListener, events: EventSender, round: u64) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if events.send(NetworkEvent::Accepted(stream, from, round)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("cannot accept a BGP connection: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::netns;

    /// A handshake before the keys are set would never be asked for one.
    #[tokio::test]
    async fn no_peer_connects_before_the_keys_are_set() {
        netns::enter();
        let mut listeners = Listeners::open(&["127.0.0.1:179".parse().unwrap()]).unwrap();
        let address = listeners.sockets[0].local_addr().unwrap();
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let (events, mut received) = mpsc::channel(1);
        listeners.serve(&events, 0).unwrap();
        let _stream = TcpStream::connect(address).await.unwrap();
        assert!(matches!(received.recv().await, Some(NetworkEvent::Accepted(..))));
    }

    /// What is being written when a connection is dropped waits no longer than what follows.
    #[tokio::test]
    async fn a_peer_that_takes_in_nothing_is_soon_given_up() {
        netns::enter();
        let listener = TcpListener::bind("127.0.0.1:179").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _peer = listener.accept().await.unwrap();
        let (events, _received) = mpsc::channel(1);
        let mut connection = Connection::start(ConnectionId(0), stream, &events).unwrap();
        // More than the kernel holds. The writing task has its turn, and is at it at the drop.
        connection.send(vec![0; 64 << 20]);
        tokio::task::yield_now().await;
        let written = connection.written().unwrap();
        drop(connection);
        timeout(PATIENCE / 3, written).await.unwrap().unwrap();
    }

    /// The kernel resets connections to a socket that was shut down before it listened.
    #[tokio::test]
    async fn a_pause_before_it_listens_does_nothing() {
        netns::enter();
        let mut listeners = Listeners::open(&["127.0.0.1:179".parse().unwrap()]).unwrap();
        let address = listeners.sockets[0].local_addr().unwrap();
        listeners.pause();
        let (events, mut received) = mpsc::channel(1);
        listeners.serve(&events, 0).unwrap();
        let mut peer = TcpStream::connect(address).await.unwrap();
        let Some(NetworkEvent::Accepted(mut stream, ..)) = received.recv().await else { panic!() };
        stream.write_all(b"OPEN").await.unwrap();
        let mut read = [0; 4];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"OPEN");
    }

    #[tokio::test]
    async fn one_socket_that_cannot_listen_holds_up_no_other() {
        netns::enter();
        let addresses =
            ["127.0.0.1:1790", "127.0.0.2:1790"].map(|address| address.parse().unwrap());
        let mut listeners = Listeners::open(&addresses).unwrap();
        let [first, second] = [0, 1].map(|at| listeners.sockets[at].local_addr().unwrap());
        let _somebody = std::net::TcpListener::bind(first).unwrap();
        let (events, mut received) = mpsc::channel(1);
        let error = listeners.serve(&events, 0).unwrap_err();
        assert_eq!(error.to_string(), format!("{first}: Address already in use"));
        let _stream = TcpStream::connect(second).await.unwrap();
        assert!(matches!(received.recv().await, Some(NetworkEvent::Accepted(..))));
    }

    /// What a peer sends beyond that waits in the kernel, whose buffers are bounded.
    #[tokio::test]
    async fn a_peer_is_read_again_once_its_bytes_are_dealt_with() {
        netns::enter();
        let listener = TcpListener::bind("127.0.0.1:179").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let (events, mut received) = mpsc::channel(8);
        let _connection = Connection::start(ConnectionId(0), stream, &events).unwrap();
        peer.write_all(&[0; 4 * PART]).await.unwrap();
        let mut read = 0;
        while read < 4 * PART {
            let Some(NetworkEvent::Bytes(_, bytes, again)) = received.recv().await else {
                panic!()
            };
            assert!(bytes.len() <= PART);
            read += bytes.len();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(received.try_recv().is_err(), "read ahead");
            drop(again);
        }
    }
}
