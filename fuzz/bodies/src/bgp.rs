//! What a BGP peer sends.

use bgp_speaker::codec::{self, Context, Family, Message, NextHop, Update};
use bgp_speaker::fsm::{Action, Config, ConnectionId, Event, Session, State};
use bgp_speaker::rib::{Policy, Rib, Source};
use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));

/// The first byte says what the session agreed on; the rest is what comes, all of it at once and
/// cut in two.
pub fn bgp(data: &[u8]) {
    let Some((flags, stream)) = data.split_first() else { return };
    let set = |bit: u8| flags & 1 << bit != 0;
    let families = [(0, Family::Ipv4), (1, Family::Ipv6)];
    let context = Context {
        families: families.into_iter().filter(|(bit, _)| set(*bit)).map(|(_, f)| f).collect(),
        four_octet_asn: set(2),
        extended_next_hop: set(3),
        internal: set(4),
    };
    read(stream, &context);
    let whole = converse(&[stream], set(5), set(4));
    let (first, second) = stream.split_at(stream.len() / 2);
    assert_eq!(converse(&[first, second], set(5), set(4)), whole, "cut anywhere it is the same");
}

/// Message by message.
fn read(mut stream: &[u8], context: &Context) {
    loop {
        let length = match codec::frame(stream) {
            Ok(Some(length)) => length,
            Ok(None) => return,
            Err(error) => return is_told(&error),
        };
        assert!((codec::HEADER..=codec::MAX_MESSAGE).contains(&length));
        let Some((message, rest)) = stream.split_at_checked(length) else { return };
        stream = rest;
        match codec::decode(message, context) {
            Err(error) => is_told(&error),
            Ok(Message::Open(open)) => {
                let again = codec::decode(&codec::open(&open), context);
                // AS numbers of two octets come back as they went.
                assert!(matches!(&again, Ok(Message::Open(it)) if it.asn == open.asn), "{again:?}");
            }
            Ok(Message::Update(update)) => written_again(&update, context),
            Ok(Message::Notification(notification)) => {
                assert!(!notification.to_string().is_empty());
                let again = codec::decode(&codec::notification(&notification), context);
                assert_eq!(again, Ok(Message::Notification(notification)));
            }
            Ok(Message::Keepalive | Message::RouteRefresh(_)) => {}
        }
    }
}

fn is_told(error: &codec::Malformed) {
    assert!(!error.why.is_empty() && !error.notification.to_string().is_empty());
    let bytes = codec::notification(&error.notification);
    assert!(bytes.len() <= codec::MAX_MESSAGE);
}

/// What was read is written, and means the same.
fn written_again(update: &Update, context: &Context) {
    assert!(!update.treated_as_withdraw || !update.faults.is_empty(), "{update:?}");
    let Ok(messages) = codec::update(update, context) else { return };
    let mut again = Update::default();
    for message in messages {
        assert!(message.len() <= codec::MAX_MESSAGE);
        let read = codec::decode(&message, context);
        let Ok(Message::Update(part)) = read else { panic!("{read:?}") };
        assert_eq!(part.faults, Vec::<String>::new());
        if !part.announced.is_empty() {
            assert_eq!(part.attributes, update.attributes);
        }
        again.withdrawn.extend(part.withdrawn);
        again.announced.extend(part.announced);
        again.end_of_rib = again.end_of_rib.or(part.end_of_rib);
    }
    assert_eq!(meaning(&again), meaning(update));
}

type Meaning = (BTreeSet<IpNetwork>, BTreeSet<(IpNetwork, IpAddr)>, Option<Family>);

fn meaning(update: &Update) -> Meaning {
    let all = update.announced.iter().flat_map(|announced| {
        let NextHop { address, .. } = announced.next_hop;
        announced.prefixes.iter().map(move |prefix| (*prefix, address))
    });
    (update.withdrawn.iter().copied().collect(), all.collect(), update.end_of_rib)
}

/// A session that gets it, after the peer's OPEN where `open` says so, and the routes of it.
fn converse(parts: &[&[u8]], open: bool, internal: bool) -> (State, Vec<(IpNetwork, usize)>) {
    let peer_asn = if internal { 65001 } else { 65100 };
    let config = Config::new(65001, [192, 0, 2, 1].into(), peer_asn);
    let policy = Policy {
        import_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        max_length: (32, 128),
        own_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        announced: vec![],
        local_asn: 65001,
        router_id: config.router_id,
    };
    let (connection, now) = (ConnectionId(1), Instant::now());
    let peer = codec::Open {
        asn: peer_asn,
        hold_time: 90,
        router_id: [192, 0, 2, 254].into(),
        capabilities: codec::Capabilities {
            multiprotocol: [Family::Ipv4, Family::Ipv6].into(),
            four_octet_asn: true,
            ..codec::Capabilities::default()
        },
    };
    let greeting = [codec::open(&peer), codec::keepalive()].concat();
    let (mut session, mut rib) = (Session::new(config, now), Rib::new(policy));
    session.handle(now, 0, Event::Start);
    let mut actions = session.handle(now, 0, Event::Connected { connection, incoming: false });
    let greeting: &[u8] = if open { &greeting } else { &[] };
    for bytes in std::iter::once(greeting).chain(parts.iter().copied()) {
        actions.extend(session.handle(now, 0, Event::Received { connection, bytes }));
    }
    let (mut up, mut closed) = (false, false);
    for action in actions {
        match action {
            Action::Up(negotiated) => {
                assert!(!up && !closed);
                up = true;
                let router_id = negotiated.router_id;
                rib.up(Source { address: PEER, router_id, internal, own_as: 0 });
            }
            Action::Update(update) => {
                assert!(up, "routes of no session");
                rib.update(PEER, &update);
            }
            Action::Down(reason) | Action::Failed(reason) => {
                assert!(!reason.to_string().is_empty());
                rib.down(PEER);
                up = false;
            }
            Action::Send { .. } => assert!(!closed, "nothing is sent after the close"),
            Action::Close { .. } => closed = true,
            _ => {}
        }
    }
    rib.changes(|_, _| Some(0));
    assert!(rib.routes().keys().all(|prefix| prefix.prefix() > 0));
    let routes = rib.routes().iter().map(|(prefix, vias)| (*prefix, vias.len())).collect();
    (session.state(), routes)
}
