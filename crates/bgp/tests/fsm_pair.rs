//! Two sessions and an unreliable network between them: whatever order things happen in, whatever
//! is lost, nothing breaks the rules, and once the network is good both are established.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

use bgp_speaker::fsm::{Action, Config, ConnectionId, Event, Session, State};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// One end of a connection: what is under way to it, and whether the other end has closed.
#[derive(Default)]
struct End {
    bytes: VecDeque<u8>,
    finished: bool,
}

struct Side {
    session: Session,
    dialling: bool,
    up: bool,
    /// How often it went down.
    downs: u32,
    /// Connections that the session may still use.
    open: BTreeSet<ConnectionId>,
}

struct World {
    sides: [Side; 2],
    /// What is under way to a side, by connection.
    ends: [BTreeMap<ConnectionId, End>; 2],
    next: u64,
    now: Instant,
    random: u64,
}

impl World {
    fn new(configs: [Config; 2], random: u64) -> World {
        let now = Instant::now();
        let side = |config| Side {
            session: Session::new(config, now),
            dialling: false,
            up: false,
            downs: 0,
            open: BTreeSet::new(),
        };
        let sides = configs.map(side);
        let ends = [BTreeMap::new(), BTreeMap::new()];
        World { sides, ends, next: 0, now, random }
    }

    fn random(&mut self) -> u32 {
        self.random =
            self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 32) as u32
    }

    fn event(&mut self, who: usize, event: Event<'_>) {
        let random = self.random();
        let actions = self.sides[who].session.handle(self.now, random, event);
        for action in actions {
            self.act(who, action);
        }
        self.holds(who);
    }

    fn act(&mut self, who: usize, action: Action) {
        let other = 1 - who;
        let side = &mut self.sides[who];
        match action {
            Action::Connect => {
                assert!(!side.dialling, "a second attempt beside the first");
                side.dialling = true;
            }
            Action::CancelConnect => assert!(std::mem::take(&mut side.dialling)),
            Action::Send { connection, bytes } => {
                assert!(side.open.contains(&connection), "{connection:?} is closed");
                if let Some(end) = self.ends[other].get_mut(&connection) {
                    end.bytes.extend(bytes);
                }
            }
            Action::Close { connection } => {
                assert!(side.open.remove(&connection), "{connection:?} is closed twice");
                self.ends[who].remove(&connection);
                if let Some(end) = self.ends[other].get_mut(&connection) {
                    end.finished = true;
                }
            }
            Action::Up(negotiated) => {
                assert!(!std::mem::replace(&mut side.up, true), "up twice");
                assert!(side.open.contains(&negotiated.connection));
            }
            Action::Down(_) => {
                assert!(std::mem::take(&mut side.up), "down, and was not up");
                side.downs += 1;
            }
            Action::Failed(_) | Action::Update(_) | Action::Resend(_) => {}
            Action::Unsendable(why) => panic!("{why}"),
        }
    }

    /// What is true at any time.
    fn holds(&self, who: usize) {
        let Side { session, dialling, up, open, .. } = &self.sides[who];
        assert_eq!(session.state() == State::Established, *up);
        assert_eq!(session.established().is_some(), *up);
        assert!(open.len() <= 2, "{} connections", open.len());
        let waits = session.next_deadline().is_some() || *dialling || *up;
        assert!(waits || session.config().passive || session.state() == State::Idle, "stuck");
    }

    /// Things that can happen now.
    fn possible(&self) -> Vec<(usize, Option<ConnectionId>)> {
        let mut all = vec![];
        for who in 0..2 {
            if self.sides[who].dialling {
                all.push((who, None));
            }
            let ready =
                self.ends[who].iter().filter(|(_, end)| end.finished || !end.bytes.is_empty());
            all.extend(ready.map(|(id, _)| (who, Some(*id))));
        }
        all
    }

    /// Lets one happen; `lossy` may make it a failure. At most `chunk` bytes arrive.
    fn happen(&mut self, (who, what): (usize, Option<ConnectionId>), lossy: bool, chunk: usize) {
        let other = 1 - who;
        let Some(id) = what else {
            self.sides[who].dialling = false;
            if lossy {
                return self.event(who, Event::ConnectFailed { error: "refused".into() });
            }
            let connection = ConnectionId(self.next);
            self.next += 1;
            for side in [who, other] {
                self.ends[side].insert(connection, End::default());
                self.sides[side].open.insert(connection);
            }
            for (side, incoming) in [(who, false), (other, true)] {
                self.event(side, Event::Connected { connection, incoming });
            }
            return;
        };
        let end = self.ends[who].get_mut(&id).unwrap();
        if lossy || end.bytes.is_empty() {
            for side in [who, other] {
                self.ends[side].remove(&id);
                if self.sides[side].open.remove(&id) {
                    self.event(side, Event::Closed { connection: id, error: "reset".into() });
                }
            }
            return;
        }
        let length = chunk.clamp(1, end.bytes.len());
        let bytes: Vec<u8> = end.bytes.drain(..length).collect();
        self.event(who, Event::Received { connection: id, bytes: &bytes });
    }

    /// Time goes on to the next deadline of a side.
    fn wait(&mut self) {
        let deadlines = self.sides.iter().filter_map(|side| side.session.next_deadline());
        let Some(next) = deadlines.min() else { return };
        self.now = self.now.max(next);
        self.event(0, Event::Tick);
        self.event(1, Event::Tick);
    }

    fn both(&self, state: State) -> bool {
        self.sides.iter().all(|side| side.session.state() == state)
    }
}

fn config(asn: u32, id: u8, peer: u32) -> Config {
    Config::new(asn, Ipv4Addr::new(10, 0, 0, id), peer)
}

prop_compose! {
    fn configs()(ids in (1u8..4, 4u8..8), swap: bool, internal: bool, passive in 0..3u8,
                 hold in prop::array::uniform2(prop_oneof![Just(0u16), Just(3), Just(90)]))
                 -> [Config; 2] {
        let peer = if internal { 65001 } else { 65002 };
        let (low, high) = if swap { (ids.1, ids.0) } else { ids };
        let mut both = [config(65001, low, peer), config(peer, high, 65001)];
        both[0].passive = passive == 1;
        both[1].passive = passive == 2;
        both[0].hold_time = hold[0];
        both[1].hold_time = hold[1];
        both
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two speakers that dial each other at once agree on the connection that stays, however the
    /// bytes of both overtake each other: no session comes up and goes down again.
    #[test]
    fn on_a_good_network_no_session_comes_and_goes(
        configs in configs(), random: u64, choices in prop::collection::vec(any::<u16>(), 100),
        chunk in 1..100usize, together: bool,
    ) {
        let mut world = World::new(configs, random);
        world.event(0, Event::Start);
        if together {
            world.event(1, Event::Start);
        }
        for choice in choices {
            let possible = world.possible();
            let quiet = possible.is_empty();
            match choice {
                _ if choice % 7 == 0 => world.event(1, Event::Start),
                _ if quiet => world.wait(),
                _ => world.happen(possible[usize::from(choice) % possible.len()], false, chunk),
            }
        }
        let downs = world.sides.each_ref().map(|side| side.downs);
        prop_assert_eq!(downs, [0, 0]);
    }

    #[test]
    fn every_order_of_events_ends_established(
        configs in configs(), random: u64,
        steps in prop::collection::vec((any::<u16>(), 0..8u8, 1..60usize), 0..200),
    ) {
        let mut world = World::new(configs, random);
        for (choice, kind, chunk) in steps {
            let possible = world.possible();
            match kind {
                0 => world.event(usize::from(choice % 2), Event::Start),
                1 if choice % 4 == 0 => {
                    world.event(usize::from(choice / 4 % 2), Event::Stop { subcode: 2 });
                }
                1 | 2 => world.wait(),
                3 if !possible.is_empty() => {
                    world.happen(possible[usize::from(choice) % possible.len()], true, chunk);
                }
                _ if !possible.is_empty() => {
                    world.happen(possible[usize::from(choice) % possible.len()], false, chunk);
                }
                _ => {}
            }
        }
        // From now on the network is good.
        world.event(0, Event::Start);
        world.event(1, Event::Start);
        let until = world.now + Duration::from_secs(1800);
        while !(world.both(State::Established) && world.possible().is_empty()) {
            prop_assert!(world.now < until, "{:?}", world.sides.each_ref().map(|s| s.session.clone()));
            match world.possible().first() {
                Some(next) => world.happen(*next, false, usize::MAX),
                None => world.wait(),
            }
        }
        // It stays, over many keepalives.
        let until = world.now + Duration::from_secs(600);
        while world.now < until && world.sides.iter().any(|s| s.session.next_deadline().is_some()) {
            match world.possible().first() {
                Some(next) => world.happen(*next, false, usize::MAX),
                None => world.wait(),
            }
            prop_assert!(world.both(State::Established));
        }
        // And it ends.
        world.event(0, Event::Stop { subcode: 2 });
        world.event(1, Event::Stop { subcode: 2 });
        prop_assert!(world.both(State::Idle));
        prop_assert!(world.sides.iter().all(|side| side.session.next_deadline().is_none()));
        prop_assert!(world.sides.iter().all(|side| !side.dialling && side.open.is_empty()));
    }
}

/// Both dial at the same moment: one connection stays, that of the higher identifier.
#[test]
fn of_two_connections_the_higher_identifiers_stays() {
    for (low, high) in [(1, 2), (2, 1)] {
        let mut world = World::new([config(65001, low, 65002), config(65002, high, 65001)], 1);
        world.event(0, Event::Start);
        world.event(1, Event::Start);
        world.happen((0, None), false, 0);
        world.happen((1, None), false, 0);
        while let Some(next) = world.possible().last() {
            world.happen(*next, false, usize::MAX);
        }
        assert!(world.both(State::Established));
        let connection = world.sides[0].session.established().unwrap().connection;
        assert_eq!(connection, ConnectionId(if low > high { 0 } else { 1 }));
        assert_eq!(world.sides.each_ref().map(|side| side.open.len()), [1, 1]);
    }
}
