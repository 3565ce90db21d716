//! From the bytes of a connection to messages.

use super::super::ConnectionId;
use super::super::connection::Phase;
use super::super::establish::unsettled;
use super::Session;
use crate::codec::{self, MAX_MESSAGE, Malformed, Message, Notification, code};

/// Bytes that a connection may send before its OPEN is answered: of a peer that keeps to RFC 4271 a
/// KEEPALIVE now and then, and a NOTIFICATION at last.
pub(super) const UNANSWERED_MAX: usize = 2 * MAX_MESSAGE;

impl Session {
    /// Takes bytes of a connection; what is no whole message yet is kept, as is what a connection
    /// in [`Phase::Deferred`] sends, up to [`UNANSWERED_MAX`].
    pub(super) fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.find(id) else { return };
        let mut unread = std::mem::take(&mut connection.unread);
        unread.extend(bytes);
        let mut rest = unread.as_slice();
        while let Some(taken) = self.next_message(id, &mut rest) {
            match taken {
                Ok(message) => self.message(id, message),
                Err(malformed) => self.fail(id, malformed),
            }
        }
        let kept = rest.len();
        let Some(connection) = self.find(id) else { return };
        if kept > UNANSWERED_MAX {
            return self.fail(id, impatient(kept));
        }
        unread.drain(..unread.len() - kept);
        connection.unread = unread;
    }

    /// The next whole message at the beginning of `rest`, which then begins behind it.
    fn next_message(
        &mut self,
        id: ConnectionId,
        rest: &mut &[u8],
    ) -> Option<Result<Message, Malformed>> {
        let connection = self.find(id).filter(|c| !matches!(c.phase, Phase::Deferred(_)))?;
        let length = match codec::frame(rest) {
            Err(malformed) => return Some(Err(malformed)),
            Ok(length) => length?,
        };
        let (message, behind) = rest.split_at_checked(length)?;
        *rest = behind;
        let message = match connection.negotiated() {
            Some(negotiated) => codec::decode(message, &negotiated.context),
            None => codec::decode(message, &unsettled(&self.config)),
        };
        self.counters.messages_in += 1;
        Some(message)
    }
}

/// RFC 6608: messages that are not expected in OpenSent.
fn impatient(bytes: usize) -> Malformed {
    let notification = Notification { code: code::FSM, subcode: 1, data: vec![] };
    let why = format!("the peer sent {bytes} bytes before its OPEN was answered");
    Malformed { notification, why }
}
