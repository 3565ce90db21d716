//! The state machine of one peer (RFC 4271 section 8), with both of the TCP connections that a
//! peer may have for a moment. It does no I/O: [`Session::handle`] takes what happened, the time
//! and random bits, and answers with what to do.
//!
//! # Driving it
//!
//! - Carry out the [`Action`]s in their order.
//! - Report everything that happens as an [`Event`]; after each call, arm one timer for
//!   [`Session::next_deadline`] and send [`Event::Tick`] when it fires. A tick that is too early
//!   does nothing.
//! - Give every TCP connection a [`ConnectionId`] that this session never saw before. After
//!   [`Action::Close`] a connection is the driver's: nothing need be reported of it.
//! - `now` never decreases. `random` is 32 fresh random bits, used only to spread the timers.
//!
//! # Where the RFC leaves a choice
//!
//! - OPEN is sent as soon as TCP is connected; DelayOpen and its timer are not implemented.
//! - A session that ended with an error stays in Idle for a while before it restarts on its own: a second,
//!   then twice as long each time, up to [`IDLE_HOLD_MAX`] (DampPeerOscillations). A session that
//!   lived that long starts at a second again. Idle refuses connections.
//! - Timers are multiplied by a random factor from 0.75 to 1 (section 10).
//! - Collisions (section 6.8): when the OPEN of a second connection arrives, the one that the
//!   speaker with the higher identifier dialled stays, or with equal identifiers the one with the
//!   higher AS number (RFC 6286); but an established session always stays. When a session is
//!   established, every other connection is closed.
//! - The RFC's rule alone can close both: one speaker has the losing connection established, and so
//!   closes the other, while its peer follows the rule. So the OPEN on a losing connection is not
//!   answered for [`COLLISION_WAIT`], or until the other connection's fate is known; and once a
//!   KEEPALIVE was sent, nothing is dialled any more.
//! - A connection that is lost or rejected in OpenSent leads to Active, later to Idle.
//!
//! # What has room, and is not there
//!
//! Graceful restart as a restarting speaker: [`GracefulRestart`] is read and offered without
//! families. Listen ranges: a [`Config`] is made when the connection arrives. TTL security and MD5
//! are options of the driver's sockets. A prefix limit: the driver counts, and stops the session
//! with subcode 1 of RFC 4486
//! ([`Event::TooManyPrefixes`]).

mod connection;
mod establish;
mod reason;
mod session;

pub use reason::Reason;
pub use session::{Counters, Session};

use crate::codec::{Context, Family, GracefulRestart, Update};
use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a session that fails again and again rests at most.
pub const IDLE_HOLD_MAX: Duration = Duration::from_secs(60);
/// How long a session rests that ended for too many prefixes: a peer whose export filter is missing
/// costs a burst each time.
pub const PREFIXES_HOLD: Duration = Duration::from_secs(300);
/// How long an OPEN may take to come (RFC 4271 section 8.2.2 suggests 4 minutes).
pub const OPEN_HOLD: Duration = Duration::from_secs(240);
/// How long a connection that loses a collision waits for the other's OPEN. The shortest hold time
/// is three seconds.
pub const COLLISION_WAIT: Duration = Duration::from_secs(1);

/// One peer, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our AS number.
    pub local_asn: u32,
    /// Our BGP Identifier: not 0.0.0.0, and the same for all peers.
    pub router_id: Ipv4Addr,
    /// The AS number that the peer must say; ours makes the session internal (iBGP).
    pub peer_asn: u32,
    /// Seconds to offer: 0, or 3 and more. The smaller offer counts. RFC 4271 suggests 90.
    pub hold_time: u16,
    /// How long a TCP connection may take, and the pause before the next; RFC 4271 suggests 120 s.
    pub connect_retry: Duration,
    /// Never dial, only listen.
    pub passive: bool,
    /// Families to offer; not empty.
    pub families: BTreeSet<Family>,
    /// Offer IPv6 next hops for IPv4 (RFC 8950).
    pub extended_next_hop: bool,
    /// What a peer of another AS announces by a path that does not begin with its AS counts as
    /// withdrawn (RFC 4271 section 6.3). Not for route servers, which leave theirs out (RFC 7947).
    pub enforce_first_as: bool,
}

impl Config {
    /// Hold time 90 s, connect retry 10 s, both families, active, without RFC 8950, no route server.
    pub fn new(local_asn: u32, router_id: Ipv4Addr, peer_asn: u32) -> Config {
        Config {
            local_asn,
            router_id,
            peer_asn,
            hold_time: 90,
            connect_retry: Duration::from_secs(10),
            passive: false,
            families: BTreeSet::from([Family::Ipv4, Family::Ipv6]),
            extended_next_hop: false,
            enforce_first_as: true,
        }
    }

    /// Peer and we are of one AS (iBGP).
    pub fn internal(&self) -> bool {
        self.local_asn == self.peer_asn
    }
}

/// A TCP connection, named by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The administrator wants this session. Without effect on one that is started.
    Start,
    /// The administrator does not want it; `subcode` is of Cease, see
    /// [`cease`](crate::codec::cease). Leads to Idle, until [`Event::Start`].
    Stop {
        /// The NOTIFICATION sent to the peer.
        subcode: u8,
    },
    /// TCP is connected: what [`Action::Connect`] asked for, or one that the peer dialled.
    Connected {
        /// Its name from now on.
        connection: ConnectionId,
        /// The peer dialled.
        incoming: bool,
    },
    /// What [`Action::Connect`] asked for did not succeed.
    ConnectFailed {
        /// In words, such as "Connection refused".
        error: String,
    },
    /// TCP ended, or reading or writing failed.
    Closed {
        /// Which one.
        connection: ConnectionId,
        /// In words, such as "the peer closed the connection".
        error: String,
    },
    /// Bytes came, cut anywhere.
    Received {
        /// From which connection.
        connection: ConnectionId,
        /// What came.
        bytes: &'a [u8],
    },
    /// Send these routes. Without effect unless established. See
    /// [`AdjRibOut`](crate::rib::AdjRibOut), which makes them.
    Advertise(&'a [Update]),
    /// Ask the peer to send a family again (RFC 2918), after the import policy became wider.
    /// Without effect unless established with a peer that can.
    Refresh(Family),
    /// The peer has announced more prefixes of a family than it may: the session ends, and restarts
    /// after [`PREFIXES_HOLD`]. Without effect unless established.
    TooManyPrefixes {
        /// Of which family.
        family: Family,
        /// How many it may announce.
        most: u32,
    },
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dial the peer, and report [`Event::Connected`] or [`Event::ConnectFailed`]. There is one
    /// attempt at a time.
    Connect,
    /// Give up dialling. If it has just succeeded and is reported all the same, it is closed.
    CancelConnect,
    /// Write.
    Send {
        /// Where.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Close, after what was sent before has gone out, or a short while.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
    /// The session is established. Announce all routes to announce, ending in
    /// [`Update::end_of_rib`] for each family.
    Up(Box<Negotiated>),
    /// The established session is over: all routes of the peer are withdrawn.
    Down(Reason),
    /// An attempt ended before it was established.
    Failed(Reason),
    /// Routes came, or the end of all of them: of a peer without RFC 4724, its first KEEPALIVE
    /// after the session came up.
    Update(Box<Update>),
    /// The peer wants all routes of a family again.
    Resend(Family),
    /// The attributes of an [`Event::Advertise`] leave no room for prefixes: those were not sent.
    Unsendable(String),
}

/// States of RFC 4271 section 8.2.2. With two connections, the further one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped, or resting after an error.
    Idle,
    /// Dialling.
    Connect,
    /// Waiting for the peer to dial, or to dial again.
    Active,
    /// Connected; our OPEN is sent.
    OpenSent,
    /// The peer's OPEN is accepted; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What two OPENs settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The connection that carries the session; its local address is our next hop.
    pub connection: ConnectionId,
    /// The peer's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// What changes the meaning of bytes: families, 4-octet AS numbers, RFC 8950, iBGP.
    pub context: Context,
    /// Hold time; zero is "no keepalives".
    pub hold_time: Duration,
    /// Keepalives are sent this often at least: a third of the hold time.
    pub keepalive: Duration,
    /// The peer sends its routes again when asked (RFC 2918).
    pub route_refresh: bool,
    /// The peer offered RFC 4724: it sends an End-of-RIB marker.
    pub graceful_restart: Option<GracefulRestart>,
}
