//! Why the session is not there: the cause, which what follows it may not cover.

use super::Session;
use crate::codec::{cease, code};
use crate::fsm::Reason;

impl Session {
    /// Why there is no session: the last NOTIFICATION that was sent or received, as long as there
    /// was one, else what happened last. `None` while established, and before anything happened.
    pub fn last_error(&self) -> Option<&Reason> {
        self.last_error.as_ref()
    }

    /// Where the cause is a NOTIFICATION and the peer has not been reached since: why not.
    pub fn unreachable(&self) -> Option<&Reason> {
        let absent =
            |reason: &&Reason| matches!(reason, Reason::Unreachable(_) | Reason::ConnectTimeout);
        self.latest_error.as_ref().filter(absent).filter(|_| self.latest_error != self.last_error)
    }

    /// Notes why an attempt or the session ended.
    pub(super) fn note_error(&mut self, reason: &Reason) {
        let before = self.last_error.as_ref().map_or(0, weight);
        if weight(reason) >= before {
            self.last_error = Some(reason.clone());
        }
        self.latest_error = Some(reason.clone());
    }

    /// A session stands.
    pub(super) fn forget_errors(&mut self) {
        (self.last_error, self.latest_error) = (None, None);
    }
}

/// How much a reason says about the cause. A peer that waits in Idle after an error refuses
/// connections with a Cease that does not name the error, or resets them.
fn weight(reason: &Reason) -> u8 {
    match reason {
        Reason::Received(n) | Reason::Sent { notification: n, .. } => {
            let resting = matches!(n.subcode, cease::REJECTED | cease::COLLISION);
            if n.code == code::CEASE && resting { 1 } else { 2 }
        }
        Reason::Stopped => 2,
        _ => 0,
    }
}
