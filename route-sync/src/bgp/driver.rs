//! The sessions, driven by events of the network and by time.

use super::config::Bgp;
use super::identity::{Identity, policy};
use super::listen_failure::ListenFailure;
use super::lookup::Lookup;
use super::neighbor::{Neighbor, four, local};
use super::table::Table;
use super::tcp::{self, Connection, EventSender, Listeners, NetworkEvent};
use crate::clock::now;
use crate::facts::Facts;
use crate::routes::protocols::{POD, is_ours};
use crate::routes::reserved::Reserved;
use crate::source::nodes::Node;
use bgp_speaker::codec::Family;
use bgp_speaker::fsm::{Action, ConnectionId, Event, Negotiated, Reason};
use bgp_speaker::rib::{Rib, Source, Unannounced};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};

/// What the tasks of the connections may be ahead of the speaker.
const QUEUE: usize = 256;
/// Bytes of peers that are handled in one turn of the daemon's loop: a whole reading, and with it what
/// others have sent, as no connection is ahead by more than one. It may hold as many prefixes as
/// are decided on in one turn.
const BUDGET: usize = tcp::PART;
/// Until next hops that could not be looked up are looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// Unknown hosts that are logged.
const STRANGERS: usize = 100;

/// The speaker.
pub struct Speaker {
    pub(super) bgp: Bgp,
    /// `None` until the node set has this node: no session begins before.
    pub(super) identity: Option<Identity>,
    /// The node set has this node.
    pub(super) known: bool,
    /// When it began, in seconds since 1970.
    pub(super) begun: u64,
    pub(super) peers: BTreeMap<IpAddr, Neighbor>,
    pub(super) rib: Rib,
    pub(super) table: Table,
    pub(super) listeners: Listeners,
    /// Number of the keys that the listening sockets require: a connection of an earlier number was not
    /// checked by them.
    pub(super) round: u64,
    pub(super) listen_failure: Option<ListenFailure>,
    pub(super) connections: BTreeMap<ConnectionId, (IpAddr, Connection)>,
    pub(super) lookup: Lookup,
    /// The links as the next hops were last looked for on.
    pub(super) facts: Facts,
    /// What no route of a peer may cover.
    pub(super) reserved: Reserved,
    /// Links or routes of others changed, or could not be looked up.
    pub(super) moved: bool,
    /// Until when routes of an earlier run stay; `None` once every peer has sent its own.
    stale: Option<Instant>,
    pub(super) complete: bool,
    pub(super) events: EventSender,
    received: mpsc::Receiver<NetworkEvent>,
    /// Of connections and dials.
    pub(super) next: u64,
    strangers: BTreeSet<IpAddr>,
    /// Peers whose key the listening sockets do not require, why, and since when.
    pub(super) keyless: BTreeMap<IpAddr, (String, u64)>,
}

impl Speaker {
    /// A speaker without sessions until [`Speaker::identify`]. An address that it cannot listen on is
    /// one of its [`Speaker::problems`], and tried again.
    ///
    /// # Errors
    /// No netlink.
    pub fn new(bgp: Bgp) -> net::Result<Speaker> {
        let (events, received) = mpsc::channel(QUEUE);
        let mut speaker = Speaker {
            rib: Rib::new(policy(&bgp, None)),
            bgp,
            identity: None,
            known: false,
            begun: now(),
            peers: BTreeMap::new(),
            table: Table::default(),
            listeners: Listeners::default(),
            round: 0,
            listen_failure: None,
            connections: BTreeMap::new(),
            lookup: Lookup::open()?,
            facts: Facts::default(),
            reserved: Reserved::default(),
            moved: false,
            stale: None,
            complete: false,
            events,
            received,
            next: 0,
            strangers: BTreeSet::new(),
            keyless: BTreeMap::new(),
        };
        speaker.warn();
        speaker.listen();
        Ok(speaker)
    }

    /// What this node is. The first time the sessions begin.
    pub fn identify(&mut self, own: Option<&Node>) {
        let Some(own) = own else { return };
        self.known = true;
        let ipv4 = own.addresses.iter().copied().find_map(four);
        let Some(router_id) = self.bgp.router_id.or(ipv4) else { return };
        let addresses = own.addresses.clone();
        let identity = Identity { router_id, addresses, own: own.pod_cidrs.clone() };
        if self.identity.as_ref() == Some(&identity) {
            return;
        }
        let before = self.identity.replace(identity);
        self.reserve();
        self.follow_identity(before.as_ref());
        if self.stale.is_none() && !self.complete {
            self.stale = Some(Instant::now() + self.bgp.stale_time);
        }
    }

    /// Waits for the network or the next timer. It may be cancelled at any await.
    pub async fn next_event(&mut self) -> Option<NetworkEvent> {
        let sessions = self.peers.values().filter_map(|peer| peer.session.next_deadline());
        let timers = sessions.chain(self.next_steady());
        // Even if nothing else happens.
        let again = self.moved.then(|| Instant::now() + AGAIN);
        let next = timers
            .chain(again)
            .chain(self.stale)
            .chain(self.listen_failure.as_ref().map(|listen_failure| listen_failure.again))
            .min();
        let undecided = !self.rib.is_decided();
        let timer = async {
            match next {
                _ if undecided => {}
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.received.recv() => event,
            () = timer => {
                // What has arrived is read first: the runtime polls the sockets, and then runs the
                // tasks that read them.
                yield_now().await;
                yield_now().await;
                None
            }
        }
    }

    /// Acts on what [`Speaker::next_event`] returned, on what arrived meanwhile, and on timers that are
    /// due.
    pub fn act(&mut self, event: Option<NetworkEvent>) {
        // A timer that is due does not overtake what has arrived already.
        let mut next = event.or_else(|| self.received.try_recv().ok());
        // Not without end: the rest of the loop must run too.
        let mut budget = BUDGET;
        while let Some(event) = next {
            budget = budget.saturating_sub(event.cost());
            self.take(event);
            next = if budget > 0 { self.received.try_recv().ok() } else { None };
        }
        let now = Instant::now();
        let due = |peer: &Neighbor| peer.session.next_deadline().is_some_and(|at| at <= now);
        let due: Vec<IpAddr> =
            self.peers.iter().filter(|(_, peer)| due(peer)).map(|(address, _)| *address).collect();
        for peer in due {
            self.event(peer, Event::Tick);
        }
        if self.listen_failure.as_ref().is_some_and(|listen_failure| listen_failure.again <= now) {
            self.listen();
        }
        if self.stale.is_some_and(|until| until <= now) {
            self.stale = None;
            self.complete = true;
            warn!("not every peer has sent its routes; those of an earlier run go all the same");
        }
    }

    fn take(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Dialled(peer, number, dialled) => self.dialled(peer, number, dialled),
            NetworkEvent::Accepted(stream, from, round) => self.accepted(stream, from, round),
            NetworkEvent::Bytes(connection, bytes, _again) => {
                if let Some((peer, _)) = self.connections.get(&connection) {
                    self.event(*peer, Event::Received { connection, bytes: &bytes });
                }
            }
            NetworkEvent::Closed(connection, error) => {
                if let Some((peer, _)) = self.connections.remove(&connection) {
                    self.event(peer, Event::Closed { connection, error });
                }
            }
        }
    }

    /// A dial is over. One of an earlier session had another password, and its end may arrive late.
    fn dialled(&mut self, address: IpAddr, number: u64, dialled: io::Result<TcpStream>) {
        let own = |peer: &mut Neighbor| peer.dialling.take_if(|(known, _)| *known == number);
        if self.peers.get_mut(&address).and_then(own).is_none() {
            return debug!(peer = %address, "this dial was called off: closed");
        }
        match dialled {
            Ok(stream) => self.connected(address, stream, false),
            Err(error) => {
                self.event(address, Event::ConnectFailed { error: tcp::words(&error) });
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream, from: SocketAddr, round: u64) {
        let address = from.ip().to_canonical();
        if round != self.round {
            return debug!(peer = %address, "connected before the passwords changed: closed");
        }
        let Some(peer) = self.peers.get(&address) else {
            if self.strangers.len() < STRANGERS && self.strangers.insert(address) {
                info!("{address} connected and is no peer: closed; write a [[bgp.peer]] for it");
            }
            return;
        };
        // Without its password it may be another host.
        if self.keyless.contains_key(&address) {
            return debug!(peer = %address, "connected, and its key is not asked for: closed");
        }
        let local = stream.local_addr().map(|local| local.ip().to_canonical()).ok();
        if peer.config.local_address.is_some_and(|wanted| Some(wanted) != local) {
            return debug!(peer = %address, "connected to another address than local-address");
        }
        let internal = self.bgp.is_internal(&peer.config);
        if let Err(error) = tcp::set_hops(&stream, &peer.config, internal) {
            return warn!(peer = %address, "cannot set the TTL: {error}");
        }
        self.connected(address, stream, true);
    }

    fn connected(&mut self, peer: IpAddr, stream: TcpStream, incoming: bool) {
        let connection = ConnectionId(self.next);
        self.next += 1;
        match Connection::start(connection, stream, &self.events) {
            Ok(started) => {
                self.connections.insert(connection, (peer, started));
                self.event(peer, Event::Connected { connection, incoming });
            }
            Err(error) if !incoming => {
                self.event(peer, Event::ConnectFailed { error: tcp::words(&error) });
            }
            Err(error) => debug!(%peer, "an incoming connection is gone: {error}"),
        }
    }

    /// Hands an event to a peer's session, and carries out what it answers.
    pub(super) fn event(&mut self, address: IpAddr, event: Event<'_>) {
        let random = RandomState::new().build_hasher().finish() as u32;
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let mut actions = VecDeque::from(peer.session.handle(Instant::now(), random, event));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Connect => self.dial(address),
                Action::CancelConnect => self.hang_up(address),
                Action::Send { connection, bytes } => {
                    if let Some((_, connection)) = self.connections.get(&connection) {
                        connection.send(bytes);
                    }
                }
                Action::Close { connection } => drop(self.connections.remove(&connection)),
                Action::Up(up) => self.up(address, &up),
                Action::Down(reason) => self.down(address, &reason),
                Action::Failed(reason) => self.failed(address, &reason),
                Action::Update(update) => {
                    self.rib.update(address, &update);
                    self.note_routes(address);
                    self.hold_to_limit(address);
                    self.note(address, &update);
                }
                Action::Resend(family) => self.resend(address, family),
                Action::Unsendable(why) => warn!(peer = %address, "cannot announce: {why}"),
            }
        }
    }

    fn up(&mut self, address: IpAddr, up: &Negotiated) {
        let (router_id, internal) = (up.router_id, up.context.internal);
        let own_as = self.peers.get(&address).map_or(0, |peer| peer.config.allowas_in);
        self.rib.up(Source { address, router_id, internal, own_as });
        let families: Vec<String> = up.context.families.iter().map(Family::to_string).collect();
        let hold = up.hold_time.as_secs();
        info!(peer = %address, %router_id, "established: {}, hold time {hold} s", families.join(" and "));
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.forget();
            peer.logged.clear();
            peer.since = now();
        }
        let Some(updates) = self.updates(address, Some(up)) else { return };
        self.event(address, Event::Advertise(&updates));
        self.log_unannounced(address);
    }

    /// The UPDATEs that a peer lacks; with `up`, all routes and the marks of their end.
    pub(super) fn updates(
        &mut self,
        address: IpAddr,
        up: Option<&Negotiated>,
    ) -> Option<Vec<bgp_speaker::codec::Update>> {
        let identity = self.identity.as_ref()?;
        let peer = self.peers.get_mut(&address)?;
        let connection = peer.session.established()?.connection;
        let session = self.connections.get(&connection)?.1.local.ip().to_canonical();
        let local = local(session, identity, &self.facts);
        Some(match up {
            Some(up) => peer.begin(&self.bgp, identity, local, up),
            None => peer.announce(&self.bgp, identity, local),
        })
    }

    fn log_unannounced(&self, address: IpAddr) {
        for (prefix, why) in self.peers.get(&address).iter().flat_map(|peer| &peer.unannounced) {
            match why {
                // The other family may have a session of its own.
                Unannounced::Family(_) => info!(peer = %address, %prefix, "not announced: {why}"),
                Unannounced::NextHop(_) => warn!(peer = %address, %prefix, "not announced: {why}"),
            }
        }
    }

    /// The peer asked for a family again (RFC 2918).
    fn resend(&mut self, address: IpAddr, family: Family) {
        debug!(peer = %address, "it asks for the {family} routes again");
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.sent.forget(family);
        }
        if let Some(updates) = self.updates(address, None) {
            self.event(address, Event::Advertise(&updates));
        }
    }

    fn down(&mut self, address: IpAddr, reason: &Reason) {
        let routes = self.rib.count(address);
        self.rib.down(address);
        // The reason of a stop is logged by its caller.
        if *reason != Reason::Stopped {
            warn!(peer = %address, routes, "the session is over: {reason}");
        }
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.forget();
            peer.since = now();
        }
    }

    fn failed(&mut self, address: IpAddr, reason: &Reason) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let text = peer.explain(reason);
        if peer.is_news(&text)
            && let Some(end) = peer.lines.line()
        {
            warn!(peer = %address, "no session: {text}{end}");
        }
    }

    fn note(&mut self, address: IpAddr, update: &bgp_speaker::codec::Update) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        peer.note_faults(update);
        if !update.disabled.is_empty() {
            self.settle();
        }
        let Some(family) = update.end_of_rib else { return };
        let Some(peer) = self.peers.get_mut(&address) else { return };
        peer.ended.insert(family);
        debug!(peer = %address, "it has sent all its {family} routes");
        self.settle();
    }

    /// Notes whether every peer has sent its routes by now.
    pub(super) fn settle(&mut self) {
        let all = !self.peers.is_empty() && self.peers.values().all(Neighbor::complete);
        if !self.complete && all {
            info!("every peer has sent its routes");
            self.complete = true;
            self.stale = None;
        }
    }

    /// Notifications of the kernel: routes of other programs may lead to next hops, over links without an
    /// address too.
    pub fn events(&mut self, events: &[net::Event]) {
        use net::Event::{Overrun, Route, RouteGone};
        let foreign = |event: &net::Event| match event {
            Overrun => true,
            Route(route) | RouteGone(route) => {
                let known = is_ours(route.protocol) || route.protocol == POD;
                // Each link has one, and next hops there are looked for on the peer's link.
                let of_link = |v6: Ipv6Addr| v6.is_unicast_link_local();
                let local = matches!(route.dst.ip(), IpAddr::V6(v6) if of_link(v6));
                route.table == net::route::MAIN && !known && !local
            }
            other => self.lookup.concerns(other),
        };
        let moved = events.iter().any(foreign);
        self.moved |= moved;
    }

    /// Whether the links are those of the last [`Speaker::links`].
    pub fn knows(&self, facts: &Facts) -> bool {
        self.facts == *facts
    }

    /// The links as they are now. Sessions over one that carries nothing any more end at once, not
    /// by their hold time.
    pub fn links(&mut self, facts: &Facts) {
        if self.knows(facts) {
            return;
        }
        self.facts.clone_from(facts);
        self.reserve();
        self.moved = true;
        let cut = |(connection, (peer, _)): (&ConnectionId, &(IpAddr, Connection))| {
            self.is_cut(*peer).then_some((*connection, *peer))
        };
        let cut: Vec<(ConnectionId, IpAddr)> = self.connections.iter().filter_map(cut).collect();
        for (connection, peer) in cut {
            self.connections.remove(&connection);
            let error = "the link to it is down".to_owned();
            self.event(peer, Event::Closed { connection, error });
        }
        // Next hops are addresses of links.
        self.advertise();
    }
}

#[cfg(test)]
mod tests;
