//! Many changes in few system calls.

use crate::error::Result;
use crate::message::frame;
use crate::reply::{NLMSG_ERROR, refusal, replies};
use crate::socket::Socket;
use crate::verb::Verb;
use netlink_packet_core::NLM_F_ACK;

/// Changes in one send. When every one is refused, each refusal waits in the receive buffer, and
/// one that finds no room is lost: ENOBUFS. In the default of 212,992 bytes
/// (net.core.rmem_default) there is room for 256 with the kernel's words, but not for 512.
const CHANGES: usize = 128;
/// Bytes in one send, unless one message alone has more.
const BYTES: usize = 64 << 10;

impl Socket {
    /// Carries out changes in their order, each whether or not those before were refused, and
    /// gives the outcome of each, in the same order. It is for thousands: a change costs hardly
    /// more than the kernel's own work.
    ///
    /// # Errors
    /// The socket's. What was then done is not known.
    pub fn set_each(&mut self, verbs: &[Verb<()>]) -> Result<Vec<Result<()>>> {
        let mut outcomes = Vec::with_capacity(verbs.len());
        let mut rest = verbs;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            self.set_some(now, &mut outcomes)?;
            rest = later;
        }
        Ok(outcomes)
    }

    /// Only the last change asks for an acknowledgement, which says that all are done; refusals
    /// come unasked (net/netlink/af_netlink.c, netlink_rcv_skb).
    fn set_some(&mut self, verbs: &[Verb<()>], outcomes: &mut Vec<Result<()>>) -> Result<()> {
        let mut bytes = Vec::with_capacity(BYTES);
        let mut sequences = Vec::with_capacity(verbs.len());
        for (i, verb) in verbs.iter().enumerate() {
            let acknowledge = if i + 1 == verbs.len() { NLM_F_ACK } else { 0 };
            let sequence = self.next_sequence();
            sequences.push(sequence);
            let flags = verb.flags & !NLM_F_ACK | acknowledge;
            frame(&mut bytes, verb.kind, flags, sequence, &verb.body);
        }
        self.send(&bytes, "carry out changes")?;
        self.read_outcomes(verbs, &sequences, outcomes)
    }

    fn read_outcomes(
        &mut self,
        verbs: &[Verb<()>],
        sequences: &[u32],
        outcomes: &mut Vec<Result<()>>,
    ) -> Result<()> {
        let start = outcomes.len();
        outcomes.extend(verbs.iter().map(|_| Ok(())));
        loop {
            for reply in replies(self.receive("carry out changes")?) {
                let at = sequences.iter().position(|sequence| *sequence == reply.sequence);
                let Some(at) = at.filter(|_| reply.kind == NLMSG_ERROR) else { continue };
                outcomes[start + at] = refusal(&reply, &verbs[at].what).map_or(Ok(()), Err);
                if at + 1 == verbs.len() {
                    return Ok(());
                }
            }
        }
    }
}

/// How many of the first changes go in one send.
fn fitting(verbs: &[Verb<()>]) -> usize {
    let mut bytes = 0;
    let fits = |verb: &&Verb<()>| {
        bytes += verb.body.len() + 20;
        bytes <= BYTES
    };
    verbs.iter().take(CHANGES).take_while(fits).count().max(1)
}
