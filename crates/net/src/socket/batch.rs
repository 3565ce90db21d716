//! Many changes in few system calls.

use super::{Socket, Verb};
use crate::answer::{NLMSG_ERROR, next_reply, refusal};
use crate::error::{Error, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use std::io;
use std::ops::Range;

/// Changes in one send. When every one is refused, each refusal waits in the receive buffer, and
/// one that finds no room is lost: ENOBUFS. In the default of 212,992 bytes
/// (net.core.rmem_default) there is room for 256 with the kernel's words, but not for 512.
const CHANGES: usize = 128;
/// Bytes in one send, unless one message alone has more.
const BYTES: usize = 64 << 10;

/// Where a message has its flags (struct nlmsghdr).
const FLAGS: Range<usize> = 6..8;

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
            let first = self.sequence.wrapping_add(1);
            let (bytes, count) = chunk(rest, first);
            let (now, later) = rest.split_at(count);
            self.sequence = self.sequence.wrapping_add(count as u32);
            let io = |error: io::Error| Error::io("carry out changes", &error);
            self.socket.send(&bytes, 0).map_err(io)?;
            self.outcomes(now, first, &mut outcomes)?;
            rest = later;
        }
        Ok(outcomes)
    }

    /// Reads the answers to changes whose first has this sequence number.
    fn outcomes(
        &mut self,
        changes: &[Verb<()>],
        first: u32,
        outcomes: &mut Vec<Result<()>>,
    ) -> Result<()> {
        let start = outcomes.len();
        outcomes.extend(changes.iter().map(|_| Ok(())));
        loop {
            self.buffer.clear();
            let io = |error: io::Error| Error::io("carry out changes", &error);
            self.socket.recv(&mut self.buffer, 0).map_err(io)?;
            let mut rest: &[u8] = &self.buffer;
            while let Some((reply, tail)) = next_reply(rest) {
                rest = tail;
                let at = reply.sequence.wrapping_sub(first) as usize;
                let Some(verb) = changes.get(at).filter(|_| reply.kind == NLMSG_ERROR) else {
                    continue;
                };
                outcomes[start + at] = refusal(reply.body, &verb.what).map_or(Ok(()), Err);
                if at + 1 == changes.len() {
                    return Ok(());
                }
            }
        }
    }
}

/// The messages of the first changes, and how many. Only the last asks for an acknowledgement,
/// which says that all are done; refusals come unasked (net/netlink/af_netlink.c,
/// netlink_rcv_skb).
fn chunk(verbs: &[Verb<()>], first: u32) -> (Vec<u8>, usize) {
    let mut bytes: Vec<u8> = Vec::with_capacity(BYTES);
    let mut sequence = first;
    let mut last = None;
    for verb in verbs.iter().take(CHANGES) {
        let mut message = verb.to_bytes(sequence);
        if !bytes.is_empty() && bytes.len() + message.len() > BYTES {
            break;
        }
        let flags = (verb.flags | NLM_F_REQUEST) & !NLM_F_ACK;
        message[FLAGS].copy_from_slice(&flags.to_ne_bytes());
        last = Some((bytes.len(), flags | NLM_F_ACK));
        bytes.extend(message);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        sequence = sequence.wrapping_add(1);
    }
    if let Some((start, flags)) = last {
        bytes[start..][FLAGS].copy_from_slice(&flags.to_ne_bytes());
    }
    (bytes, sequence.wrapping_sub(first) as usize)
}
