//! The cause of a session that does not stand, which its retries may not cover.

use super::{Bench, IT, peers_open};
use bgp_speaker::codec::{self, Notification, Open, cease, code};
use bgp_speaker::fsm::{ConnectionId, Event, Reason, State};

fn last_error(bench: &Bench) -> String {
    bench.session.last_error().map(ToString::to_string).unwrap_or_default()
}

/// What a peer does that rests after an error: it resets, refuses, and is not there.
#[test]
fn a_notification_stays_until_a_session_stands() {
    let bad_peer_as = Notification { code: code::OPEN, subcode: 2, data: vec![] };
    let sent = codec::open(&Open { asn: 9, ..peers_open() });
    let received = codec::notification(&bad_peer_as);
    for (bytes, cause) in
        [(sent, "the peer says that it is AS 9"), (received, "the peer says OPEN")]
    {
        let mut bench = Bench::in_state(State::OpenSent);
        bench.receive(&bytes);
        assert!(last_error(&bench).starts_with(cause), "{}", last_error(&bench));
        bench.later(1);
        let connection = ConnectionId(2);
        bench.event(Event::Connected { connection, incoming: false });
        bench.event(Event::Closed { connection, error: "Connection reset by peer".to_owned() });
        assert!(last_error(&bench).starts_with(cause), "{}", last_error(&bench));
        assert_eq!(bench.session.unreachable(), None);
        bench.later(10);
        let connection = ConnectionId(3);
        bench.event(Event::Connected { connection, incoming: false });
        let refused = codec::notification(&Notification::cease(cease::REJECTED));
        bench.event(Event::Received { connection, bytes: &refused });
        assert!(last_error(&bench).starts_with(cause), "{}", last_error(&bench));
        bench.later(10);
        bench.event(Event::ConnectFailed { error: "Connection refused".to_owned() });
        assert!(last_error(&bench).starts_with(cause), "{}", last_error(&bench));
        let now = bench.session.unreachable().cloned();
        assert_eq!(now, Some(Reason::Unreachable("Connection refused".to_owned())));
        bench.later(10);
        let connection = ConnectionId(4);
        bench.event(Event::Connected { connection, incoming: false });
        let bytes = [codec::open(&peers_open()), codec::keepalive()].concat();
        bench.event(Event::Received { connection, bytes: &bytes });
        assert_eq!(
            (bench.session.state(), last_error(&bench)),
            (State::Established, String::new())
        );
    }
}

/// Without a NOTIFICATION what happened last is the cause.
#[test]
fn other_errors_follow_each_other() {
    let mut bench = Bench::in_state(State::Connect);
    bench.event(Event::ConnectFailed { error: "No route to host".to_owned() });
    bench.later(10);
    bench.event(Event::Connected { connection: IT, incoming: false });
    bench.event(Event::Closed { connection: IT, error: "it is gone".to_owned() });
    assert_eq!(last_error(&bench), "connection lost: it is gone");
    assert_eq!(bench.session.unreachable(), None);
}
