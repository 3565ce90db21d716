//! The session itself: events in, actions out.

mod collision;
mod disabled;
mod errors;
mod limit;
mod stream;

use super::connection::{Connection, Phase, jittered};
use super::establish::offer;
use super::{
    Action, Config, ConnectionId, Event, IDLE_HOLD_MAX, Negotiated, OPEN_HOLD, Reason, State,
};
use crate::codec::{self, Family, Malformed, Message, Notification, Update, cease, code};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a session counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that came.
    pub messages_in: u64,
    /// Messages that went out.
    pub messages_out: u64,
    /// UPDATEs that came.
    pub updates_in: u64,
    /// UPDATEs of these that RFC 7606 treated as withdrawals.
    pub treated_as_withdraw: u64,
    /// UPDATEs with something wrong in them, those among them.
    pub faulty_updates: u64,
    /// UPDATEs that went out.
    pub updates_out: u64,
    /// How often it was established.
    pub established: u64,
}

/// The session with one peer. See the [module](super).
#[derive(Clone, Debug)]
pub struct Session {
    config: Config,
    started: bool,
    dialling: bool,
    /// At most one that we dialled and one that the peer dialled; and none in Idle.
    connections: Vec<Connection>,
    /// ConnectRetryTimer.
    retry: Option<Instant>,
    /// IdleHoldTimer: set while resting after an error.
    rest: Option<Instant>,
    /// Errors in a row.
    failures: u32,
    /// When it was established, while it is.
    since: Option<Instant>,
    /// The cause, and what happened last, since a session stood.
    last_error: Option<Reason>,
    latest_error: Option<Reason>,
    /// Families that are ignored in the session that is established, and why.
    disabled: BTreeMap<Family, String>,
    counters: Counters,
    /// Of the call at hand.
    now: Instant,
    random: u32,
    actions: Vec<Action>,
}

impl Session {
    /// A session that is stopped. `now` is the time that the first event is not before.
    pub fn new(config: Config, now: Instant) -> Session {
        Session {
            config,
            started: false,
            dialling: false,
            connections: vec![],
            retry: None,
            rest: None,
            failures: 0,
            since: None,
            last_error: None,
            latest_error: None,
            disabled: BTreeMap::new(),
            counters: Counters::default(),
            now,
            random: 0,
            actions: vec![],
        }
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Another connect-retry time, from the next pause on.
    pub fn set_connect_retry(&mut self, pause: Duration) {
        self.config.connect_retry = pause;
    }

    /// The state.
    pub fn state(&self) -> State {
        let connected = self.connections.iter().map(Connection::state).max();
        match connected {
            Some(state) => state,
            None if !self.started || self.rest.is_some() => State::Idle,
            None if self.dialling => State::Connect,
            None => State::Active,
        }
    }

    /// What was negotiated, while established.
    pub fn established(&self) -> Option<&Negotiated> {
        let up = self.connections.iter().find(|c| c.state() == State::Established);
        up.and_then(Connection::negotiated)
    }

    /// Counters.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When [`Event::Tick`] is due; `None` while nothing is.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timers = self.connections.iter().flat_map(|c| [c.hold, c.keepalive]);
        timers.chain([self.retry, self.rest]).flatten().min()
    }

    /// Takes what happened. See the [module](super).
    pub fn handle(&mut self, now: Instant, random: u32, event: Event<'_>) -> Vec<Action> {
        self.now = self.now.max(now);
        self.random = random;
        match event {
            Event::Start => self.start(),
            Event::Stop { subcode } => self.stop(subcode),
            Event::Connected { connection, incoming } => self.connected(connection, incoming),
            Event::ConnectFailed { error } => self.connect_failed(error),
            Event::Closed { connection, error } => self.closed(connection, error),
            Event::Received { connection, bytes } => self.received(connection, bytes),
            Event::Advertise(updates) => self.advertise(updates),
            Event::Refresh(family) => self.refresh(family),
            Event::TooManyPrefixes { family, most } => self.too_many(family, most),
            Event::Tick => self.tick(),
        }
        self.resume();
        std::mem::take(&mut self.actions)
    }

    fn start(&mut self) {
        if !self.started {
            self.started = true;
            self.failures = 0;
            self.dial();
        }
    }

    fn stop(&mut self, subcode: u8) {
        if self.started {
            self.started = false;
            for connection in std::mem::take(&mut self.connections) {
                self.notify(connection.id, &Notification::cease(subcode));
                self.over(&connection, Reason::Stopped);
            }
            self.cancel();
            self.rest = None;
        }
    }

    /// Dials, unless passive.
    fn dial(&mut self) {
        self.rest = None;
        if self.config.passive {
            self.retry = None;
            return;
        }
        if !self.dialling {
            self.actions.push(Action::Connect);
        }
        self.dialling = true;
        self.restart_retry();
    }

    fn restart_retry(&mut self) {
        let wait = jittered(self.config.connect_retry, self.random);
        self.retry = (!self.config.passive).then(|| self.now + wait);
    }

    fn cancel(&mut self) {
        if std::mem::take(&mut self.dialling) {
            self.actions.push(Action::CancelConnect);
        }
        self.retry = None;
    }

    fn send(&mut self, connection: ConnectionId, bytes: Vec<u8>) {
        self.counters.messages_out += 1;
        self.actions.push(Action::Send { connection, bytes });
    }

    /// The last message of a connection, which is no longer in the list.
    fn notify(&mut self, connection: ConnectionId, notification: &Notification) {
        self.send(connection, codec::notification(notification));
        self.actions.push(Action::Close { connection });
    }

    /// Reports why a connection ended; it is no longer in the list.
    fn over(&mut self, connection: &Connection, reason: Reason) {
        self.note_error(&reason);
        if connection.state() == State::Established {
            let lived = self.since.take().map_or(Duration::ZERO, |since| self.now - since);
            if lived >= IDLE_HOLD_MAX {
                self.failures = 0;
            }
            self.actions.push(Action::Down(reason));
        } else {
            self.actions.push(Action::Failed(reason));
        }
    }

    /// To Idle, to start again after a rest, unless another connection lives.
    fn rest(&mut self) {
        if !self.connections.is_empty() {
            return;
        }
        self.cancel();
        let seconds = 1u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let wait = Duration::from_secs(seconds.min(IDLE_HOLD_MAX.as_secs()));
        self.failures = (self.failures + 1).min(16);
        self.rest = Some(self.now + jittered(wait, self.random));
    }

    fn index(&self, connection: ConnectionId) -> Option<usize> {
        self.connections.iter().position(|known| known.id == connection)
    }

    fn remove(&mut self, connection: ConnectionId) -> Option<Connection> {
        self.index(connection).map(|index| self.connections.remove(index))
    }

    fn find(&mut self, connection: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|known| known.id == connection)
    }

    fn connected(&mut self, id: ConnectionId, incoming: bool) {
        if !incoming {
            let wanted = std::mem::take(&mut self.dialling);
            self.retry = None;
            if !wanted {
                self.actions.push(Action::Close { connection: id });
                return;
            }
        }
        let resting = !self.started || self.rest.is_some();
        let known = self.index(id).is_some();
        if resting || known || !self.makes_room(incoming) {
            self.notify(id, &Notification::cease(cease::REJECTED));
            return;
        }
        self.connections.push(Connection {
            id,
            incoming,
            phase: Phase::OpenSent,
            hold: Some(self.now + OPEN_HOLD),
            keepalive: None,
            ended: false,
            unread: vec![],
        });
        self.send(id, codec::open(&offer(&self.config)));
    }

    fn connect_failed(&mut self, error: String) {
        if std::mem::take(&mut self.dialling) {
            let reason = Reason::Unreachable(error);
            self.note_error(&reason);
            self.actions.push(Action::Failed(reason));
            self.restart_retry();
        }
    }

    fn closed(&mut self, id: ConnectionId, error: String) {
        let Some(connection) = self.remove(id) else { return };
        self.lost(&connection, Reason::ConnectionLost(error));
    }

    /// A connection, no longer in the list, ended without an error of BGP.
    fn lost(&mut self, connection: &Connection, reason: Reason) {
        self.over(connection, reason);
        if connection.state() != State::OpenSent {
            self.rest();
        } else if self.connections.is_empty() && !self.dialling && self.retry.is_none() {
            self.restart_retry();
        }
    }

    /// Ends a connection with a NOTIFICATION.
    fn fail(&mut self, id: ConnectionId, malformed: Malformed) {
        let Some(connection) = self.remove(id) else { return };
        let Malformed { notification, why } = malformed;
        self.notify(id, &notification);
        self.over(&connection, Reason::Sent { notification, why });
        self.rest();
    }

    fn message(&mut self, id: ConnectionId, message: Message) {
        let now = self.now;
        let Some(connection) = self.find(id) else { return };
        connection.received(now);
        match (connection.state(), message) {
            (_, Message::Notification(notification)) => self.notification(id, notification),
            (State::OpenSent, Message::Open(open)) => self.opened(id, &open),
            (State::OpenConfirm, Message::Keepalive) => self.establish(id),
            (State::Established, Message::Keepalive) => self.kept_alive(id),
            (State::Established, Message::RouteRefresh(None)) => {}
            (State::Established, Message::RouteRefresh(Some(family))) => self.resend(family),
            (State::Established, Message::Update(mut update)) => {
                if let Some(why) = strange_path(&self.config, &update) {
                    update.withdraw(why);
                }
                self.ignore_disabled(&mut update);
                self.counters.updates_in += 1;
                self.counters.treated_as_withdraw += u64::from(update.treated_as_withdraw);
                self.counters.faulty_updates += u64::from(!update.faults.is_empty());
                self.actions.push(Action::Update(Box::new(update)));
            }
            (state, message) => self.fail(id, unexpected(state, &message)),
        }
    }

    /// One action for each family, however often one read asked for it.
    fn resend(&mut self, family: Family) {
        let resend = Action::Resend(family);
        if !self.actions.contains(&resend) {
            self.actions.push(resend);
        }
    }

    fn notification(&mut self, id: ConnectionId, notification: Notification) {
        let Some(connection) = self.remove(id) else { return };
        self.actions.push(Action::Close { connection: id });
        // The peer waits in Idle after an error; dial again soon, as after a refused connection.
        let refused = (notification.code, notification.subcode) == (code::CEASE, cease::REJECTED);
        if refused && connection.state() == State::OpenSent {
            return self.lost(&connection, Reason::Received(notification));
        }
        let collision = notification == Notification::cease(cease::COLLISION);
        let up = connection.state() == State::Established;
        if up || !collision || self.connections.is_empty() {
            self.over(&connection, Reason::Received(notification));
            self.rest();
        }
    }

    fn establish(&mut self, id: ConnectionId) {
        let others: Vec<_> = self.connections.iter().map(|c| c.id).filter(|c| *c != id).collect();
        others.into_iter().for_each(|other| self.collide(other));
        self.cancel();
        let now = self.now;
        let Some(connection) = self.find(id) else { return };
        let Phase::OpenConfirm(negotiated) = &connection.phase else { return };
        let negotiated = negotiated.clone();
        connection.phase = Phase::Established(negotiated.clone());
        connection.received(now);
        self.since = Some(self.now);
        self.disabled.clear();
        self.forget_errors();
        self.counters.established += 1;
        self.actions.push(Action::Up(negotiated));
    }

    /// Who does not offer RFC 4724 sends no End-of-RIB; that all is sent, the first KEEPALIVE says.
    fn kept_alive(&mut self, id: ConnectionId) {
        let Some(connection) = self.find(id) else { return };
        let first = !std::mem::replace(&mut connection.ended, true);
        let negotiated =
            connection.negotiated().filter(|up| first && up.graceful_restart.is_none());
        let families = negotiated.map(|up| up.context.families.clone()).unwrap_or_default();
        self.actions.extend(families.into_iter().map(|family| {
            Action::Update(Box::new(Update { end_of_rib: Some(family), ..Update::default() }))
        }));
    }

    fn advertise(&mut self, updates: &[Update]) {
        let Some(negotiated) = self.established() else { return };
        let (id, context) = (negotiated.connection, negotiated.context.clone());
        for update in updates {
            match codec::update(update, &context) {
                Ok(messages) => {
                    for message in messages {
                        self.counters.updates_out += 1;
                        self.send(id, message);
                    }
                }
                Err(error) => self.actions.push(Action::Unsendable(error.to_string())),
            }
        }
        let (now, random) = (self.now, self.random);
        if let Some(connection) = self.find(id).filter(|_| !updates.is_empty()) {
            connection.said(now, random);
        }
    }

    fn refresh(&mut self, family: Family) {
        let up = self.established().filter(|up| up.route_refresh);
        let up = up.filter(|up| up.context.families.contains(&family)).map(|up| up.connection);
        if let Some(connection) = up {
            self.send(connection, codec::route_refresh(family));
        }
    }

    fn tick(&mut self) {
        let (now, random) = (self.now, self.random);
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        self.resume();
        for id in self.connections.iter().map(|c| c.id).collect::<Vec<_>>() {
            let Some(connection) = self.find(id) else { continue };
            if due(connection.hold) {
                let silent = silence(connection);
                self.fail(id, silent);
            } else if due(connection.keepalive) {
                connection.said(now, random);
                self.send(id, codec::keepalive());
            }
        }
        if due(self.rest) {
            self.dial();
        } else if due(self.retry) {
            if self.dialling {
                self.cancel();
                let reason = Reason::ConnectTimeout;
                self.note_error(&reason);
                self.actions.push(Action::Failed(reason));
            }
            self.dial();
        }
    }
}

/// What is wrong with the first AS of a path.
fn strange_path(config: &Config, update: &Update) -> Option<String> {
    let first = update.attributes.as_path.first();
    let asked = config.enforce_first_as && !config.internal() && !update.announced.is_empty();
    (asked && first != Some(&config.peer_asn)).then(|| match first {
        None => "AS_PATH is empty (enforce-first-as)".to_owned(),
        Some(first) => format!(
            "AS_PATH begins with {first}, and the peer is AS {} (enforce-first-as)",
            config.peer_asn
        ),
    })
}

fn silence(connection: &Connection) -> Malformed {
    let notification = Notification { code: code::HOLD_TIMER, subcode: 0, data: vec![] };
    let hold = connection.negotiated().map(|n| n.hold_time).filter(|hold| !hold.is_zero());
    let seconds = hold.unwrap_or(OPEN_HOLD).as_secs();
    Malformed { notification, why: format!("nothing came from the peer for {seconds} s") }
}

/// RFC 6608.
fn unexpected(state: State, message: &Message) -> Malformed {
    let (kind, name) = match message {
        Message::Open(_) => (1, "OPEN"),
        Message::Update(_) => (2, "UPDATE"),
        Message::Notification(_) => (3, "NOTIFICATION"),
        Message::Keepalive => (4, "KEEPALIVE"),
        Message::RouteRefresh(_) => (5, "ROUTE-REFRESH"),
    };
    let subcode = match state {
        State::OpenSent => 1,
        State::OpenConfirm => 2,
        _ => 3,
    };
    let notification = Notification { code: code::FSM, subcode, data: vec![kind] };
    Malformed { notification, why: format!("the peer sent {name} in {state}") }
}
