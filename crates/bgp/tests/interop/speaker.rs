//! The smallest driver of a session: std's sockets, polled.

use bgp_speaker::codec::{Communities, Family};
use bgp_speaker::fsm::{Action, Config, ConnectionId, Event, Reason, Session};
use bgp_speaker::rib::{AdjRibOut, LocalAddresses, Policy, Rib, Source, exports};
use ferrule_tests::outside::{OUTSIDE4, OUTSIDE6};
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Our AS, which needs four octets.
pub const ASN: u32 = 4_200_000_001;
/// Our CIDRs.
pub const OWN4: &str = "10.244.1.0/24";
pub const OWN6: &str = "fd00:0:0:1::/64";

pub struct Speaker {
    pub session: Session,
    pub rib: Rib,
    /// What went wrong since it was last established.
    pub downs: Vec<Reason>,
    pub ends_of_rib: Vec<Family>,
    pub resends: Vec<Family>,
    /// Prefixes in all UPDATEs.
    pub received: usize,
    announced: AdjRibOut,
    peer: IpAddr,
    listener: TcpListener,
    streams: BTreeMap<ConnectionId, TcpStream>,
    next: u64,
}

pub fn config(local_asn: u32, peer_asn: u32) -> Config {
    let retry = Duration::from_millis(500);
    let id = OUTSIDE4.parse().unwrap();
    Config { connect_retry: retry, ..Config::new(local_asn, id, peer_asn) }
}

impl Speaker {
    /// Starts in the network that the thread is in.
    pub fn start(config: Config, peer: &str) -> Speaker {
        let policy = Policy {
            import_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
            max_length: (32, 128),
            own_cidrs: vec![OWN4.parse().unwrap(), OWN6.parse().unwrap()],
            announced: vec![],
            local_asn: config.local_asn,
            router_id: config.router_id,
        };
        let peer: IpAddr = peer.parse().unwrap();
        let any = if peer.is_ipv4() { "0.0.0.0:179" } else { "[::]:179" };
        let listener = TcpListener::bind(any).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut speaker = Speaker {
            session: Session::new(config, Instant::now()),
            rib: Rib::new(policy),
            downs: vec![],
            ends_of_rib: vec![],
            resends: vec![],
            received: 0,
            announced: AdjRibOut::new(),
            peer,
            listener,
            streams: BTreeMap::new(),
            next: 0,
        };
        speaker.event(Event::Start);
        speaker
    }

    /// Goes on until `done`, for at most 20 seconds.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Speaker) -> bool) {
        let reached = ferrule_tests::within(Duration::from_secs(20), || {
            self.poll();
            done(self).then_some(())
        });
        assert!(reached.is_some(), "{what}: {:?}, {:?}", self.session, self.downs);
    }

    /// The routes as text, prefix and next hops.
    pub fn routes(&mut self) -> BTreeMap<String, Vec<String>> {
        self.rib.changes(|_, _| Some(0));
        let text = |vias: &Vec<_>| {
            vias.iter().map(|via: &bgp_speaker::rib::Via| via.address.to_string()).collect()
        };
        self.rib.routes().iter().map(|(prefix, vias)| (prefix.to_string(), text(vias))).collect()
    }

    fn poll(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.connected(stream, true);
        }
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.read(id);
        }
        if self.session.next_deadline().is_some_and(|at| at <= Instant::now()) {
            self.event(Event::Tick);
        }
    }

    fn connected(&mut self, stream: TcpStream, incoming: bool) {
        stream.set_nonblocking(true).unwrap();
        let connection = ConnectionId(self.next);
        self.next += 1;
        self.streams.insert(connection, stream);
        self.event(Event::Connected { connection, incoming });
    }

    fn read(&mut self, connection: ConnectionId) {
        let mut bytes = [0; 65536];
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        let error = match stream.read(&mut bytes) {
            Ok(0) => "the peer closed the connection".to_owned(),
            Ok(length) => {
                return self.event(Event::Received { connection, bytes: &bytes[..length] });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => error.to_string(),
        };
        self.streams.remove(&connection);
        self.event(Event::Closed { connection, error });
    }

    pub fn event(&mut self, event: Event<'_>) {
        let random = Instant::now().elapsed().subsec_nanos();
        let mut actions = VecDeque::from(self.session.handle(Instant::now(), random, event));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Connect => match TcpStream::connect((self.peer, 179)) {
                    Ok(stream) => self.connected(stream, false),
                    Err(error) => self.event(Event::ConnectFailed { error: error.to_string() }),
                },
                Action::CancelConnect => {}
                Action::Send { connection, bytes } => {
                    let _ = (&self.streams[&connection]).write_all(&bytes);
                }
                Action::Close { connection } => drop(self.streams.remove(&connection)),
                Action::Up(up) => {
                    let local = self.streams[&up.connection].local_addr().unwrap().ip();
                    self.up(&up, local);
                }
                Action::Down(reason) | Action::Failed(reason) => {
                    self.rib.down(self.peer);
                    self.downs.push(reason);
                }
                Action::Update(update) => {
                    self.ends_of_rib.extend(update.end_of_rib);
                    self.received +=
                        update.announced.iter().map(|a| a.prefixes.len()).sum::<usize>();
                    self.rib.update(self.peer, &update);
                }
                Action::Resend(family) => self.resends.push(family),
                Action::Unsendable(why) => panic!("{why}"),
            }
        }
    }

    fn up(&mut self, up: &bgp_speaker::fsm::Negotiated, session: IpAddr) {
        self.downs.clear();
        let internal = up.context.internal;
        let router_id = up.router_id;
        self.rib.up(Source { address: self.peer, router_id, internal, own_as: 0 });
        let local = LocalAddresses {
            session,
            ipv4: Some(OUTSIDE4.parse().unwrap()),
            ipv6: Some(OUTSIDE6.parse().unwrap()),
            link_local: None,
        };
        let mut communities = Communities::default();
        communities.add("65001:7").unwrap();
        let own = [OWN4, OWN6].map(|cidr| (cidr.parse().unwrap(), communities.clone()));
        let asn = self.session.config().local_asn;
        let (exports, _) = exports(&BTreeMap::from(own), asn, &local, &up.context);
        self.announced = AdjRibOut::new();
        let mut updates = self.announced.sync(exports);
        updates.extend(AdjRibOut::end_of_rib(&up.context.families));
        self.event(Event::Advertise(&updates));
    }

    /// Announces nothing any more.
    pub fn withdraw(&mut self) {
        let updates = self.announced.sync(BTreeMap::new());
        self.event(Event::Advertise(&updates));
    }
}
