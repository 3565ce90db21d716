//! A client's exchanges with servers (RFC 2131 section 4.4).

use crate::config::Options;
use crate::daemon::flags::Flags;
use crate::daemon::pod::Port;
use crate::frame::{self, EVERYONE, Path};
use crate::lease::Lease;
use crate::message::{Kind, Message, option};
use crate::timing::patience;
use crate::usable;
use net::{Mac, PacketSocket};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// What messages the client takes, in bytes: an Ethernet frame's.
const MAX_SIZE: u16 = 1500;

/// How many servers whose leases cannot be used are passed over: one that takes another name each time
/// is not asked for ever.
const MOST_SKIPPED: usize = 16;

/// A client on its link.
pub struct Client<'a> {
    /// Its link's socket.
    pub port: &'a Port,
    /// What its messages say of it.
    pub identity: Identity<'a>,
    /// Times.
    pub flags: &'a Flags,
}

/// What a client's messages say of it.
pub struct Identity<'a> {
    /// Its link's MAC address.
    pub mac: Mac,
    /// Its identifier (option 61).
    pub id: Vec<u8>,
    /// What it asks for, and more that it says.
    pub options: &'a Options,
    /// Whether answers are to be broadcast.
    pub broadcast: bool,
}

/// A lease, when it was requested and where the server is.
#[derive(Debug)]
pub struct Bound {
    /// The lease.
    pub lease: Lease,
    /// When its request was sent, as [`super::store::now`].
    pub since: Duration,
    /// The MAC address that the answer came from.
    pub server_mac: Mac,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum Failure {
    /// No server answered.
    Silence,
    /// A server refused; in its words, where it has any.
    Refused(String),
    /// Another address is offered than the one that is asked for.
    Other(Ipv4Addr),
    /// What a server leases cannot be used.
    Unusable(String),
    /// The link fails.
    Link(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Silence => f.write_str("no server answers"),
            Failure::Refused(why) if why.is_empty() => f.write_str("the server refuses (DHCPNAK)"),
            Failure::Refused(why) => write!(f, "the server refuses (DHCPNAK): {why}"),
            Failure::Other(address) => write!(f, "the server offers {address} in its place"),
            Failure::Unusable(why) => f.write_str(why),
            Failure::Link(error) => write!(f, "the pod's link fails: {error}"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Link(error)
    }
}

/// How a lease is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// By its server (RENEWING).
    Renew,
    /// By any server (REBINDING).
    Rebind,
    /// By any server, after a restart of the daemon (INIT-REBOOT).
    Reboot,
}

/// A message, its way, and when its exchange began.
struct Letter {
    message: Message,
    path: Path,
    begun: Instant,
}

/// A requested address. If no caller waits for the answer any more, it is given back: the
/// server may have leased it by then.
struct Requested<'a> {
    client: &'a Client<'a>,
    lease: Option<Lease>,
    server_mac: Mac,
}

impl Drop for Requested<'_> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            tracing::info!("{} is no longer wanted, and given back", lease.address);
            self.client.give_back(&lease, self.server_mac);
        }
    }
}

/// How a server names itself (option 54).
fn identifier(message: &Message) -> Ipv4Addr {
    message.address(option::SERVER).unwrap_or(Ipv4Addr::BROADCAST)
}

/// A random number, 0 to 1.
fn chance() -> f64 {
    f64::from(random()) / f64::from(u32::MAX)
}

/// A random number. The standard library seeds each hasher from the kernel.
pub fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() as u32
}

impl Client<'_> {
    /// Looks for a server and leases an address: `wanted`, or whichever a server offers. Where a
    /// server leases what cannot be used, the others have the time of `-timeout` to offer one.
    ///
    /// # Errors
    /// No server answers within the time of `-resendtimeout`, or none leases `wanted`.
    pub async fn acquire(
        &self,
        wanted: Option<Ipv4Addr>,
        limit: Duration,
    ) -> Result<Bound, Failure> {
        let begun = Instant::now();
        let mut end = begun + limit;
        let mut last = Failure::Silence;
        let mut skipped = Vec::new();
        while skipped.len() < MOST_SKIPPED {
            let xid = random();
            let question = self.discover(xid, begun, wanted);
            let Some((server_mac, offer)) = self.offer(question, end, &skipped).await? else {
                break;
            };
            if let Some(wanted) = wanted.filter(|wanted| *wanted != offer.yiaddr) {
                tracing::debug!("{} is offered, {wanted} is wanted", offer.yiaddr);
                return Err(Failure::Other(offer.yiaddr));
            }
            match self.select(xid, begun, &offer, server_mac).await {
                Err(failure @ Failure::Unusable(_)) => {
                    let server = identifier(&offer);
                    tracing::warn!(
                        "the DHCP server {server} ({server_mac}) is left out, another one is looked \
                         for: {failure}"
                    );
                    skipped.push((server_mac, server));
                    end = end.min(Instant::now() + self.flags.timeout);
                    last = failure;
                }
                Err(failure @ (Failure::Silence | Failure::Refused(_))) => {
                    last = failure;
                    // A server that refuses what it offered is not to be flooded.
                    sleep(patience(0, self.flags.resend_max, chance())).await;
                }
                done => return done,
            }
        }
        Err(last)
    }

    fn discover(&self, xid: u32, begun: Instant, wanted: Option<Ipv4Addr>) -> Letter {
        let mut message = self.identity.message(Kind::Discover, xid);
        if let Some(wanted) = wanted {
            message = message.with(option::REQUESTED_ADDRESS, wanted.octets());
        }
        Letter { message, path: self.identity.to_everyone(Ipv4Addr::UNSPECIFIED), begun }
    }

    /// The first offer, but for those of the servers that are skipped.
    async fn offer(
        &self,
        question: Letter,
        end: Instant,
        skipped: &[(Mac, Ipv4Addr)],
    ) -> Result<Option<(Mac, Message)>, Failure> {
        let wanted = |from: Mac, message: &Message| {
            message.kind() == Some(Kind::Offer)
                && !message.yiaddr.is_unspecified()
                && message.address(option::SERVER).is_some()
                && !skipped.contains(&(from, identifier(message)))
        };
        self.ask(question, end, wanted).await
    }

    /// Takes an offer (REQUESTING).
    async fn select(
        &self,
        xid: u32,
        begun: Instant,
        offer: &Message,
        server_mac: Mac,
    ) -> Result<Bound, Failure> {
        usable::suits(offer).map_err(Failure::Unusable)?;
        let server = offer.bytes(option::SERVER).unwrap_or_default().to_vec();
        let lease = Lease::bare(offer.yiaddr, identifier(offer));
        let mut requested = Requested { client: self, lease: Some(lease), server_mac };
        let message = self
            .identity
            .message(Kind::Request, xid)
            .with(option::SERVER, server)
            .with(option::REQUESTED_ADDRESS, offer.yiaddr.octets());
        let path = self.identity.to_everyone(Ipv4Addr::UNSPECIFIED);
        let bound = self.confirmed(Letter { message, path, begun }).await;
        requested.lease = None;
        bound
    }

    /// Asks for a lease to be confirmed.
    ///
    /// # Errors
    /// No server answers within the time of `-timeout`, or one refuses.
    pub async fn confirm(
        &self,
        lease: &Lease,
        server_mac: Mac,
        how: Confirm,
    ) -> Result<Bound, Failure> {
        let mut message = self.identity.message(Kind::Request, random());
        let path = match how {
            Confirm::Renew => self.identity.to_server(lease, server_mac),
            Confirm::Rebind => self.identity.to_everyone(lease.address),
            Confirm::Reboot => self.identity.to_everyone(Ipv4Addr::UNSPECIFIED),
        };
        if how == Confirm::Reboot {
            message = message.with(option::REQUESTED_ADDRESS, lease.address.octets());
        } else {
            message.ciaddr = lease.address;
        }
        let bound = self.confirmed(Letter { message, path, begun: Instant::now() }).await?;
        match bound.lease.address {
            same if same == lease.address => Ok(bound),
            other => Err(Failure::Other(other)),
        }
    }

    /// Sends a request until it is answered.
    async fn confirmed(&self, letter: Letter) -> Result<Bound, Failure> {
        let since = super::store::now();
        let end = Instant::now() + self.flags.timeout;
        let wanted = |_, message: &Message| matches!(message.kind(), Some(Kind::Ack | Kind::Nak));
        let Some((server_mac, answer)) = self.ask(letter, end, wanted).await? else {
            return Err(Failure::Silence);
        };
        if answer.kind() == Some(Kind::Nak) {
            return Err(Failure::Refused(answer.text(option::MESSAGE).unwrap_or_default()));
        }
        match usable::leased(&answer, self.identity.requested()) {
            Ok(lease) => Ok(Bound { lease, since, server_mac }),
            Err(why) => {
                if usable::host(answer.yiaddr).is_ok() {
                    self.give_back(&Lease::bare(answer.yiaddr, identifier(&answer)), server_mac);
                }
                Err(Failure::Unusable(why))
            }
        }
    }

    /// Releases a lease that is not used.
    pub fn give_back(&self, lease: &Lease, server_mac: Mac) {
        let released =
            self.port.socket().and_then(|socket| self.identity.release(socket, lease, server_mac));
        if let Err(error) = released {
            tracing::warn!("cannot release {}: {error}", lease.address);
        }
    }

    /// Sends a message again and again, until an answer is wanted, or the time is over.
    async fn ask(
        &self,
        letter: Letter,
        end: Instant,
        wanted: impl Fn(Mac, &Message) -> bool,
    ) -> Result<Option<(Mac, Message)>, Failure> {
        let Letter { mut message, path, begun } = letter;
        let chaddr = message.chaddr;
        for nth in 0.. {
            message.secs = u16::try_from(begun.elapsed().as_secs()).unwrap_or(u16::MAX);
            self.port.send(&path, &message)?;
            let patience = patience(nth, self.flags.resend_max, chance());
            let until = (Instant::now() + patience).min(end);
            while let Ok(received) = timeout_at(until, self.port.receive()).await {
                let (from, answer) = received?;
                let ours = answer.is_reply && answer.xid == message.xid && answer.chaddr == chaddr;
                if ours && wanted(from, &answer) {
                    return Ok(Some((from, answer)));
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(None)
    }
}

impl Identity<'_> {
    /// Gives a lease back. Servers do not answer.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn release(&self, socket: &PacketSocket, lease: &Lease, server_mac: Mac) -> io::Result<()> {
        let mut message = self.message(Kind::Release, random());
        message.options.remove(&option::PARAMETERS);
        message.options.remove(&option::MAX_SIZE);
        message.broadcast = false;
        message.ciaddr = lease.address;
        let message = message.with(option::SERVER, lease.server.octets());
        socket.send(&frame::build(&self.to_server(lease, server_mac), &message.encode()))
    }

    fn requested(&self) -> &[u8] {
        &self.options.requested
    }

    fn message(&self, kind: Kind, xid: u32) -> Message {
        let mut message = Message::new(kind, xid, self.mac.0)
            .with(option::CLIENT, self.id.clone())
            .with(option::MAX_SIZE, MAX_SIZE.to_be_bytes());
        if !self.options.requested.is_empty() {
            message = message.with(option::PARAMETERS, self.options.requested.clone());
        }
        for (code, value) in &self.options.provided {
            message = message.with(*code, value.as_bytes());
        }
        message.broadcast = self.broadcast;
        message
    }

    fn to_everyone(&self, source: Ipv4Addr) -> Path {
        Path { from: self.mac, to: EVERYONE, source, destination: Ipv4Addr::BROADCAST }
    }

    fn to_server(&self, lease: &Lease, server_mac: Mac) -> Path {
        let (source, destination) = (lease.address, lease.server);
        Path { from: self.mac, to: server_mac, source, destination }
    }
}
