//! How much a peer may send.

use super::*;

/// While a collision is undecided, nothing of the connection that waits is read: it may send what a
/// peer sends that keeps to RFC 4271, and not more.
#[test]
fn a_connection_that_waits_for_its_answer_sends_no_more_than_a_message_or_two() {
    let again = ConnectionId(2);
    let waiting = || {
        let router_id = Ipv4Addr::new(192, 0, 2, 9);
        let mut bench = Bench::of(Config { router_id, ..config() }, State::OpenSent);
        bench.event(Event::Connected { connection: again, incoming: true });
        let open = codec::open(&peers_open());
        assert_eq!(bench.event(Event::Received { connection: again, bytes: &open }), []);
        bench
    };
    let mut bench = waiting();
    let patient = codec::keepalive().repeat(2 * codec::MAX_MESSAGE / codec::HEADER);
    for bytes in patient.chunks(1000) {
        assert_eq!(bench.event(Event::Received { connection: again, bytes }), []);
    }
    bench.now += Duration::from_secs(2);
    bench.event(Event::Tick);
    assert_eq!(bench.session.state(), State::Established, "what was kept is read at last");

    let mut bench = waiting();
    let bytes = &codec::keepalive().repeat(1000);
    let actions = bench.event(Event::Received { connection: again, bytes });
    assert_eq!(refusal(&actions), (5, 1));
    assert_eq!(bench.session.state(), State::OpenSent, "the other connection stays");
    assert_eq!(bench.event(Event::Received { connection: again, bytes }), []);
}

/// The answer is the same however often it is asked for at once.
#[test]
fn a_flood_of_route_refreshes_is_one_request_for_each_reading() {
    let mut bench = Bench::in_state(State::Established);
    let asked = [codec::route_refresh(Family::Ipv4), codec::route_refresh(Family::Ipv6)].concat();
    let actions = bench.receive(&asked.repeat(300));
    assert_eq!(actions, [Action::Resend(Family::Ipv4), Action::Resend(Family::Ipv6)]);
}

/// RFC 4486 section 4; the session rests, whatever it lived before.
#[test]
fn too_many_prefixes_end_the_session_for_a_while() {
    let mut bench = Bench::in_state(State::Established);
    let family = Family::Ipv6;
    let actions = bench.event(Event::TooManyPrefixes { family, most: 1000 });
    assert_eq!(refusal(&actions), (6, 1));
    assert_eq!(sent(&actions).data, [0, 2, 1, 0, 0, 3, 232]);
    assert!(matches!(actions.last(), Some(Action::Down(_))), "{actions:?}");
    assert_eq!(bench.session.state(), State::Idle);
    assert_eq!(bench.later(200), []);
    assert_eq!(bench.later(101), [Action::Connect]);
    assert_eq!(bench.event(Event::TooManyPrefixes { family, most: 1000 }), []);
}
