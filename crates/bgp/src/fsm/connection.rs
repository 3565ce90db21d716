//! One TCP connection of a session: its phase, its timers, its unread bytes.

use super::{ConnectionId, Negotiated, OPEN_HOLD, State};
use std::time::{Duration, Instant};

/// How far a connection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    OpenSent,
    /// The peer's OPEN is accepted, but another connection will stay if its OPEN comes: neither
    /// answered nor read, until `hold` fires or the other one's fate is known.
    Deferred(Box<Negotiated>),
    OpenConfirm(Box<Negotiated>),
    Established(Box<Negotiated>),
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) incoming: bool,
    pub(super) phase: Phase,
    /// HoldTimer; `None` is a hold time of zero.
    pub(super) hold: Option<Instant>,
    /// KeepaliveTimer.
    pub(super) keepalive: Option<Instant>,
    /// The peer has sent all its routes, judging by its silence.
    pub(super) ended: bool,
    /// The beginning of a message.
    pub(super) unread: Vec<u8>,
}

impl Connection {
    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent | Phase::Deferred(_) => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::Deferred(negotiated)
            | Phase::OpenConfirm(negotiated)
            | Phase::Established(negotiated) => Some(negotiated),
        }
    }

    /// A message was received: restarts the hold timer. With a hold time of zero the wait for the
    /// peer's first KEEPALIVE is limited too; RFC 4271 would wait without end.
    pub(super) fn received(&mut self, now: Instant) {
        let Some(hold) = self.negotiated().map(|negotiated| negotiated.hold_time) else { return };
        self.hold = match self.phase {
            Phase::OpenConfirm(_) if hold.is_zero() => Some(now + OPEN_HOLD),
            _ => (!hold.is_zero()).then(|| now + hold),
        };
    }

    /// A KEEPALIVE or UPDATE was sent: restarts the keepalive timer.
    pub(super) fn said(&mut self, now: Instant, random: u32) {
        if let Some(interval) = self.negotiated().map(|negotiated| negotiated.keepalive) {
            self.keepalive = (!interval.is_zero()).then(|| now + jittered(interval, random));
        }
    }
}

/// `interval` times 0.75 to 1 (RFC 4271 section 10).
pub(super) fn jittered(interval: Duration, random: u32) -> Duration {
    interval.mul_f64(0.75 + 0.25 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_quarter() {
        let minute = Duration::from_secs(60);
        assert_eq!(jittered(minute, 0), Duration::from_secs(45));
        assert_eq!(jittered(minute, u32::MAX), minute);
    }
}
