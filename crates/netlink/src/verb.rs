//! Requests, and what their replies mean.

use crate::error::{Error, Result};
use crate::message::frame;
use crate::reply::{NLMSG_DONE, NLMSG_ERROR, Reply, refusal, replies};
use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR};

/// A request to the kernel and the parser of its replies.
///
/// It holds the message's bytes, and the parser gets a reply's: a type that could be any message
/// of rtnetlink would bring the code for all of them into every executable, a quarter of its size.
pub struct Verb<T> {
    /// Message type.
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    /// Flags beside NLM_F_REQUEST.
    pub(crate) flags: u16,
    /// What a reply means, by its type and body; `None` when it is not about what was asked.
    parse: fn(u16, &[u8]) -> Option<T>,
    /// The request in words, for errors.
    pub(crate) what: String,
}

impl Verb<()> {
    /// A change, answered by an acknowledgement only.
    pub fn change(kind: u16, message: &impl Emitable, flags: u16, what: String) -> Verb<()> {
        Verb::new(kind, message, flags | NLM_F_ACK, |_, _| None, what)
    }
}

impl<T> Verb<T> {
    /// A question: with NLM_F_DUMP among the flags for all of a kind, otherwise for one thing.
    pub fn new(
        kind: u16,
        message: &impl Emitable,
        flags: u16,
        parse: fn(u16, &[u8]) -> Option<T>,
        what: String,
    ) -> Verb<T> {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Verb { kind, body, flags, parse, what }
    }

    /// The bytes that go to the kernel: a header (struct nlmsghdr) and the message.
    pub fn to_bytes(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body.len() + 20);
        frame(&mut bytes, self.kind, self.flags, sequence, &self.body);
        bytes
    }

    /// Adds what a datagram of the kernel says to the answer to the request of that sequence
    /// number.
    ///
    /// # Errors
    /// The kernel's refusal; EINTR for a dump that another program's change interrupted.
    pub fn read(&self, datagram: &[u8], sequence: u32, answer: &mut Answer<T>) -> Result<()> {
        for reply in replies(datagram) {
            if reply.sequence != sequence {
                answer.notified = true;
                continue;
            }
            self.read_reply(&reply, answer)?;
            if answer.complete {
                break;
            }
        }
        Ok(())
    }

    fn read_reply(&self, reply: &Reply<'_>, answer: &mut Answer<T>) -> Result<()> {
        answer.interrupted |= reply.flags & NLM_F_DUMP_INTR != 0;
        match reply.kind {
            NLMSG_DONE if answer.interrupted => {
                return Err(Error::of(&self.what, libc::EINTR, "the dump was interrupted"));
            }
            NLMSG_DONE | NLMSG_ERROR => {
                answer.complete = true;
                return refusal(reply, &self.what).map_or(Ok(()), Err);
            }
            kind => answer.found.extend((self.parse)(kind, reply.body)),
        }
        answer.complete |= self.flags & (NLM_F_DUMP | NLM_F_ACK) == 0;
        Ok(())
    }
}

/// The answer to a request, as far as it was read ([`Verb::read`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What the replies say.
    pub found: Vec<T>,
    /// No further datagram belongs to it.
    pub complete: bool,
    /// A notification came in between.
    pub notified: bool,
    /// Another program's change interrupted the dump.
    interrupted: bool,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Answer { found: Vec::new(), complete: false, notified: false, interrupted: false }
    }
}
