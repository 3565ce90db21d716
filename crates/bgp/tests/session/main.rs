//! One session against a peer made of bytes: what each error is answered with (RFC 4271 section 6,
//! RFC 7606), timers, and what anything whatever may send.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

mod disabled;
mod last_error;
mod limits;
mod updates;

use bgp_speaker::codec::{
    self, Announced, Attributes, Capabilities, Context, Family, GracefulRestart, Message, NextHop,
    Notification, Open, Update, cease, decode,
};
use bgp_speaker::fsm::{Action, Config, ConnectionId, Event, Reason, Session, State};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const IT: ConnectionId = ConnectionId(1);

fn config() -> Config {
    Config::new(65001, Ipv4Addr::new(192, 0, 2, 1), 65002)
}

fn peers_open() -> Open {
    Open {
        asn: 65002,
        hold_time: 30,
        router_id: Ipv4Addr::new(192, 0, 2, 2),
        capabilities: Capabilities {
            multiprotocol: BTreeSet::from([Family::Ipv4, Family::Ipv6]),
            four_octet_asn: true,
            route_refresh: true,
            ..Capabilities::default()
        },
    }
}

fn context() -> Context {
    Context {
        families: BTreeSet::from([Family::Ipv4, Family::Ipv6]),
        four_octet_asn: true,
        extended_next_hop: false,
        internal: false,
    }
}

/// A session and the time.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn in_state(state: State) -> Bench {
        Bench::of(config(), state)
    }

    fn of(config: Config, state: State) -> Bench {
        let (now, asn) = (Instant::now(), config.peer_asn);
        let mut bench = Bench { session: Session::new(config, now), now };
        assert_eq!(bench.event(Event::Start), [Action::Connect]);
        if state >= State::OpenSent {
            bench.event(Event::Connected { connection: IT, incoming: false });
        }
        if state >= State::OpenConfirm {
            bench.receive(&codec::open(&Open { asn, ..peers_open() }));
        }
        if state >= State::Established {
            bench.receive(&codec::keepalive());
        }
        assert_eq!(bench.session.state(), state);
        bench
    }

    fn event(&mut self, event: Event<'_>) -> Vec<Action> {
        self.session.handle(self.now, u32::MAX, event)
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(Event::Received { connection: IT, bytes })
    }

    fn later(&mut self, seconds: u64) -> Vec<Action> {
        self.now += Duration::from_secs(seconds);
        self.event(Event::Tick)
    }
}

/// The NOTIFICATION that was sent, and that the connection was closed right after.
fn refusal(actions: &[Action]) -> (u8, u8) {
    let sent = sent(actions);
    (sent.code, sent.subcode)
}

fn sent(actions: &[Action]) -> Notification {
    let at = actions.iter().position(|action| matches!(action, Action::Close { .. })).unwrap();
    let Action::Send { bytes, .. } = &actions[at - 1] else { panic!("{actions:?}") };
    let Ok(Message::Notification(sent)) = decode(bytes, &context()) else { panic!("{bytes:?}") };
    sent
}

/// A message of any type and length field.
fn raw(length: u16, kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0xff; 16], &length.to_be_bytes()[..], &[kind], body].concat()
}

fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    raw(19 + body.len() as u16, kind, body)
}

/// RFC 4486: also the subcode of a collision ends a session that is established, although the peer
/// has connected once more.
#[test]
fn a_collision_cease_ends_an_established_session() {
    let mut bench = Bench::in_state(State::Established);
    let again = ConnectionId(2);
    bench.event(Event::Connected { connection: again, incoming: true });
    let sent = Notification::cease(cease::COLLISION);
    let actions = bench.receive(&codec::notification(&sent));
    assert_eq!(actions, [Action::Close { connection: IT }, Action::Down(Reason::Received(sent))]);
    let gone = Event::Closed { connection: again, error: "reset".into() };
    let actions = bench.event(gone);
    assert!(matches!(actions[..], [Action::Failed(_)]), "{actions:?}");
    assert!(bench.session.next_deadline().is_some(), "it dials again");
}

/// Who does not offer RFC 4724 sends no End-of-RIB: its first KEEPALIVE says that all is sent.
#[test]
fn without_graceful_restart_a_keepalive_ends_the_first_round() {
    let end =
        |family| Action::Update(Box::new(Update { end_of_rib: Some(family), ..Update::default() }));
    let mut bench = Bench::in_state(State::Established);
    assert_eq!(bench.receive(&codec::keepalive()), [end(Family::Ipv4), end(Family::Ipv6)]);
    assert_eq!(bench.receive(&codec::keepalive()), []);
    let mut bench = Bench::in_state(State::OpenSent);
    let mut open = peers_open();
    open.capabilities.graceful_restart = Some(GracefulRestart::default());
    bench.receive(&codec::open(&open));
    bench.receive(&codec::keepalive());
    assert_eq!(bench.session.state(), State::Established);
    assert_eq!(bench.receive(&codec::keepalive()), []);
}

#[test]
fn headers_that_are_wrong() {
    let mut marker = codec::keepalive();
    marker[3] = 0;
    let cases = [
        (marker, (1, 1)),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), (1, 1)),
        (raw(18, 4, &[]), (1, 2)),
        (raw(20, 4, &[0]), (1, 2)),
        (raw(4097, 2, &[]), (1, 2)),
        (raw(65535, 2, &[]), (1, 2)),
        (raw(22, 2, &[0, 0, 0]), (1, 2)),
        (raw(28, 1, &[]), (1, 2)),
        (raw(20, 3, &[0]), (1, 2)),
        (raw(19, 9, &[]), (1, 3)),
    ];
    for (bytes, expected) in cases {
        let mut bench = Bench::in_state(State::Established);
        let actions = bench.receive(&bytes);
        assert_eq!(refusal(&actions), expected, "{bytes:?}");
        assert!(matches!(actions.last(), Some(Action::Down(Reason::Sent { .. }))), "{actions:?}");
        assert_eq!(bench.session.state(), State::Idle);
    }
}

#[test]
fn opens_that_are_refused() {
    let open = peers_open;
    let fixed = [4, 0xfd, 0xea, 0, 30, 192, 0, 2, 2];
    let with =
        |parameters: &[u8]| whole(1, &[&fixed[..], &[parameters.len() as u8], parameters].concat());
    let mut version = codec::open(&open());
    version[19] = 3;
    let cases = [
        (version, (2, 1)),
        (codec::open(&Open { asn: 65003, ..open() }), (2, 2)),
        (codec::open(&Open { router_id: Ipv4Addr::UNSPECIFIED, ..open() }), (2, 3)),
        (with(&[1, 1, 0]), (2, 4)),
        (codec::open(&Open { hold_time: 2, ..open() }), (2, 6)),
        (with(&[2, 6, 1, 4, 0, 25, 0, 65]), (2, 7)),
        (with(&[2, 9, 1]), (2, 0)),
        (with(&[2, 3, 65, 1, 0]), (2, 0)),
        (whole(1, &[&fixed[..], &[7]].concat()), (2, 0)),
        (codec::keepalive(), (5, 1)),
    ];
    for (bytes, expected) in cases {
        let mut bench = Bench::in_state(State::OpenSent);
        assert_eq!(refusal(&bench.receive(&bytes)), expected, "{bytes:?}");
        assert_eq!(bench.session.state(), State::Idle);
    }
    let mut bench = Bench::in_state(State::OpenSent);
    bench.receive(&codec::open(&Open { asn: 65003, ..open() }));
    let error = bench.session.last_error().unwrap().to_string();
    let said = "the peer says that it is AS 65003, configured is 65002";
    assert_eq!(error, format!("{said}; sent the peer OPEN Message Error: Bad Peer AS (2/2)"));
}

/// The version that is spoken (RFC 4271 section 6.2), the capabilities that the peer lacks (RFC 5492
/// section 5), as an OPEN has them.
#[test]
fn a_refusal_of_an_open_names_what_is_acceptable() {
    let refused = |config: Config, bytes: &[u8]| {
        let sent = sent(&Bench::of(config, State::OpenSent).receive(bytes));
        ((sent.code, sent.subcode), sent.data)
    };
    let mut version = codec::open(&peers_open());
    version[19] = 5;
    assert_eq!(refused(config(), &version), ((2, 1), vec![0, 4]));
    let other = [4, 0xfd, 0xea, 0, 30, 192, 0, 2, 2, 8, 2, 6, 1, 4, 0, 25, 0, 65];
    let (four, six) = ([1, 4, 0, 1, 0, 1], [1, 4, 0, 2, 0, 1]);
    let both = [four, six].concat();
    assert_eq!(refused(config(), &whole(1, &other)), ((2, 7), both));
    let alone = Config { families: BTreeSet::from([Family::Ipv6]), ..config() };
    let mut open = peers_open();
    open.capabilities.multiprotocol.remove(&Family::Ipv6);
    assert_eq!(refused(alone, &codec::open(&open)), ((2, 7), six.to_vec()));
}

#[test]
fn messages_out_of_turn() {
    let mut bench = Bench::in_state(State::OpenConfirm);
    assert_eq!(refusal(&bench.receive(&codec::open(&peers_open()))), (5, 2));
    let mut bench = Bench::in_state(State::Established);
    assert_eq!(refusal(&bench.receive(&codec::open(&peers_open()))), (5, 3));
}

/// An UPDATE of 10.9.0.0/16 with these attributes.
fn update(attributes: &[u8]) -> Vec<u8> {
    let length = (attributes.len() as u16).to_be_bytes();
    whole(2, &[&[0, 0], &length[..], attributes, &[16, 10, 9]].concat())
}

const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
const AS_PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 192, 0, 2, 2];

fn good(more: &[u8]) -> Vec<u8> {
    [&ORIGIN[..], &AS_PATH, &NEXT_HOP, more].concat()
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut bench = Bench::in_state(State::Established);
    let mut keepalives = 0;
    for second in 1..30 {
        let actions = bench.later(1);
        keepalives += actions.len();
        assert!(actions.iter().all(|action| matches!(action, Action::Send { .. })), "{second}");
    }
    assert_eq!(keepalives, 2, "one in each ten seconds, a third of the smaller hold time");
    let actions = bench.later(1);
    assert_eq!(refusal(&actions), (4, 0));
    let error = bench.session.last_error().unwrap().to_string();
    assert!(error.starts_with("nothing came from the peer for 30 s"), "{error}");
    // Idle for a second, then it dials again.
    assert_eq!(bench.session.state(), State::Idle);
    assert_eq!(bench.later(1), [Action::Connect]);
}

#[test]
fn dialling_goes_on() {
    let mut bench = Bench::in_state(State::Connect);
    let failed = bench.event(Event::ConnectFailed { error: "Connection refused".to_owned() });
    assert_eq!(failed, [Action::Failed(Reason::Unreachable("Connection refused".to_owned()))]);
    assert_eq!(bench.session.state(), State::Active);
    assert_eq!(bench.later(9), []);
    assert_eq!(bench.later(1), [Action::Connect]);
    let actions = bench.later(10);
    let timeout = Action::Failed(Reason::ConnectTimeout);
    assert_eq!(actions, [Action::CancelConnect, timeout, Action::Connect]);
}

#[test]
fn rests_grow_and_end() {
    let mut bench = Bench::in_state(State::OpenSent);
    let mut rests = vec![];
    for n in 2..12 {
        bench.event(Event::Received {
            connection: ConnectionId(n - 1),
            bytes: &codec::open(&Open { asn: 9, ..peers_open() }),
        });
        let rest = bench.session.next_deadline().unwrap() - bench.now;
        rests.push(rest.as_secs());
        bench.now += rest;
        assert_eq!(bench.event(Event::Tick), [Action::Connect]);
        bench.event(Event::Connected { connection: ConnectionId(n), incoming: false });
    }
    assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
}

#[test]
fn a_stop_says_so() {
    let mut bench = Bench::in_state(State::Established);
    let actions = bench.event(Event::Stop { subcode: cease::SHUTDOWN });
    assert_eq!(refusal(&actions), (6, 2));
    assert_eq!(actions.last(), Some(&Action::Down(Reason::Stopped)));
    assert_eq!((bench.session.state(), bench.session.next_deadline()), (State::Idle, None));
    // Idle refuses connections.
    let actions = bench.event(Event::Connected { connection: ConnectionId(7), incoming: true });
    assert_eq!(refusal(&actions), (6, 5));
}

#[test]
fn the_peers_words_are_kept() {
    let mut bench = Bench::in_state(State::Established);
    let data = [&[11], &b"maintenance"[..]].concat();
    let sent = Notification { code: 6, subcode: 2, data };
    let actions = bench.receive(&codec::notification(&sent));
    assert_eq!(actions, [Action::Close { connection: IT }, Action::Down(Reason::Received(sent))]);
    let error = bench.session.last_error().unwrap().to_string();
    assert_eq!(error, "the peer says Cease: Administrative Shutdown (6/2): \"maintenance\"");
}

/// RFC 2918, both ways.
#[test]
fn routes_are_asked_for_again() {
    let mut bench = Bench::in_state(State::Established);
    let asked = codec::route_refresh(Family::Ipv6);
    assert_eq!(bench.receive(&asked), [Action::Resend(Family::Ipv6)]);
    let actions = bench.event(Event::Refresh(Family::Ipv4));
    assert_eq!(
        actions,
        [Action::Send { connection: IT, bytes: codec::route_refresh(Family::Ipv4) }]
    );
}

/// However the stream is cut.
#[test]
fn bytes_may_come_one_by_one() {
    let mut bench = Bench::in_state(State::OpenSent);
    let next_hop = NextHop { address: Ipv4Addr::new(192, 0, 2, 2).into(), link_local: None };
    let sent = Update {
        announced: vec![Announced { next_hop, prefixes: vec!["10.9.0.0/16".parse().unwrap()] }],
        attributes: Attributes { as_path: vec![65002], ..Attributes::default() },
        ..Update::default()
    };
    let update = codec::update(&sent, &context()).unwrap().concat();
    let stream = [codec::open(&peers_open()), codec::keepalive(), update].concat();
    let actions: Vec<Action> = stream.iter().flat_map(|byte| bench.receive(&[*byte])).collect();
    assert_eq!(actions.last(), Some(&Action::Update(Box::new(sent))));
}

proptest! {
    /// Anything, at any time: every connection is either in use or closed, and a session that is
    /// not stopped goes on.
    #[test]
    fn nothing_that_is_sent_breaks_it(
        state in prop::sample::select(vec![State::OpenSent, State::OpenConfirm, State::Established]),
        messages in prop::collection::vec(
            (0..7u8, prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 1..5),
    ) {
        let mut bench = Bench::in_state(state);
        for (kind, body, attributes) in messages {
            let bytes = match kind {
                0 => body,
                6 => codec::open(&peers_open()),
                2 if attributes => update(&body),
                kind => whole(kind, &body),
            };
            let before = bench.session.state();
            let actions = bench.receive(&bytes);
            let closed = actions.contains(&Action::Close { connection: IT });
            prop_assert_eq!(closed, bench.session.state() < State::OpenSent && before >= State::OpenSent);
            prop_assert!(bench.session.next_deadline().is_some());
            let down = actions.iter().any(|action| matches!(action, Action::Down(_)));
            prop_assert_eq!(down, closed && before == State::Established);
        }
    }
}
