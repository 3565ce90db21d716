//! Two connections to one peer, of which one stays (RFC 4271 section 6.8).

use super::super::connection::Phase;
use super::super::establish::{ours_stays, settle};
use super::super::{COLLISION_WAIT, ConnectionId, Negotiated, State};
use super::Session;
use crate::codec::{self, Notification, Open, cease};

impl Session {
    /// A second connection of one direction replaces one whose OPEN never came: the peer has
    /// forgotten that one.
    pub(super) fn makes_room(&mut self, incoming: bool) -> bool {
        let Some(index) = self.connections.iter().position(|c| c.incoming == incoming) else {
            return true;
        };
        let stale = self.connections.get(index).is_some_and(|c| c.phase == Phase::OpenSent);
        if stale {
            let old = self.connections.remove(index);
            self.notify(old.id, &Notification::cease(cease::COLLISION));
        }
        stale
    }

    /// The peer's OPEN: it is checked, then a collision settled.
    pub(super) fn opened(&mut self, id: ConnectionId, open: &Open) {
        let negotiated = match settle(&self.config, open, id) {
            Ok(negotiated) => negotiated,
            Err(malformed) => return self.fail(id, malformed),
        };
        let other = self.connections.iter().find(|c| c.id != id);
        let other = other.map(|c| (c.id, c.state(), c.phase == Phase::OpenSent));
        let incoming = self.find(id).is_some_and(|connection| connection.incoming);
        let stays = ours_stays(&self.config, &negotiated) != incoming;
        match other {
            Some((_, State::Established, _)) => self.collide(id),
            Some((_, _, false)) if !stays => self.collide(id),
            Some((_, _, true)) if !stays => self.defer(id, negotiated),
            Some((other, _, false)) => {
                self.collide(other);
                self.confirm(id, negotiated);
            }
            _ => self.confirm(id, negotiated),
        }
    }

    fn defer(&mut self, id: ConnectionId, negotiated: Negotiated) {
        let until = self.now + COLLISION_WAIT;
        if let Some(connection) = self.find(id) {
            connection.phase = Phase::Deferred(Box::new(negotiated));
            connection.hold = Some(until);
        }
    }

    /// Goes on with the connection that waited, if the other is gone or takes too long.
    pub(super) fn resume(&mut self) {
        let waited = self.connections.iter().find_map(|c| match &c.phase {
            Phase::Deferred(negotiated) => Some((negotiated.as_ref().clone(), c.hold)),
            _ => None,
        });
        let Some((negotiated, hold)) = waited else { return };
        let (id, late) = (negotiated.connection, hold.is_none_or(|at| at <= self.now));
        let others = self.connections.iter().map(|c| c.id).filter(|other| *other != id);
        let others: Vec<_> = others.collect();
        if late || others.is_empty() {
            others.into_iter().for_each(|other| self.collide(other));
            self.confirm(id, negotiated);
            self.received(id, &[]);
        }
    }

    /// Accepts the peer's OPEN. Nothing is dialled from now on.
    fn confirm(&mut self, id: ConnectionId, negotiated: Negotiated) {
        self.cancel();
        let (now, random) = (self.now, self.random);
        if let Some(connection) = self.find(id) {
            connection.phase = Phase::OpenConfirm(Box::new(negotiated));
            connection.received(now);
            connection.said(now, random);
            self.send(id, codec::keepalive());
        }
    }

    /// Closes the connection that lost; the other lives.
    pub(super) fn collide(&mut self, id: ConnectionId) {
        if self.remove(id).is_some() {
            self.notify(id, &Notification::cease(cease::COLLISION));
        }
    }
}
