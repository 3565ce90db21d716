//! What the kernel answers: datagrams of messages, each a header (struct nlmsghdr) and a body.

use crate::attributes::find;
use crate::error::{Error, Result};
use netlink_packet_core::NLM_F_DUMP_INTR;

/// Message types of include/uapi/linux/netlink.h.
pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bytes of a netlink header.
pub(crate) const HEADER: usize = 16;

/// The answer to a request, as far as it was read ([`Verb::read`](crate::Verb::read)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What the replies say.
    pub found: Vec<T>,
    /// No further datagram belongs to it.
    pub complete: bool,
    /// A notification came in between.
    pub notified: bool,
    /// Another's change interrupted the dump.
    interrupted: bool,
}

impl<T> Default for Answer<T> {
    fn default() -> Self {
        Answer { found: Vec::new(), complete: false, notified: false, interrupted: false }
    }
}

impl<T> Answer<T> {
    /// Reads one more datagram. `single`: one reply is all.
    pub(crate) fn read(
        &mut self,
        datagram: &[u8],
        sequence: u32,
        what: &str,
        single: bool,
        parse: fn(u16, &[u8]) -> Option<T>,
    ) -> Result<()> {
        let mut rest = datagram;
        while let Some((reply, tail)) = next_reply(rest) {
            rest = tail;
            if reply.sequence != sequence {
                self.notified = true;
                continue;
            }
            self.interrupted |= reply.flags & NLM_F_DUMP_INTR != 0;
            match reply.kind {
                NLMSG_DONE if self.interrupted => {
                    return Err(Error::of(what, libc::EINTR, "the dump was interrupted"));
                }
                NLMSG_DONE | NLMSG_ERROR => {
                    self.complete = true;
                    return refusal(reply.body, what).map_or(Ok(()), Err);
                }
                kind => self.found.extend(parse(kind, reply.body)),
            }
            if single {
                self.complete = true;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// One message of the kernel.
pub(crate) struct Reply<'a> {
    pub(crate) kind: u16,
    flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// Splits one message, padded to four bytes, off the front.
pub(crate) fn next_reply(bytes: &[u8]) -> Option<(Reply<'_>, &[u8])> {
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *bytes else { return None };
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let body = bytes.get(HEADER..length)?;
    let reply = Reply {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        body,
    };
    Some((reply, &bytes[length.next_multiple_of(4).min(bytes.len())..]))
}

/// The error in the body of NLMSG_ERROR or NLMSG_DONE; `None` for success.
pub(crate) fn refusal(body: &[u8], what: &str) -> Option<Error> {
    let errno = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (errno != 0).then(|| Error::of(what, errno.wrapping_neg(), extended_ack(&body[4..])))
}

/// The text in the attributes that follow the echoed header (NETLINK_EXT_ACK). No crate parses
/// them.
fn extended_ack(echo: &[u8]) -> String {
    // With NETLINK_CAP_ACK only the request's header is echoed.
    let text = find(echo.get(HEADER..).unwrap_or_default(), NLMSGERR_ATTR_MSG).unwrap_or_default();
    String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_text_is_found() {
        let mut header = vec![0; 16];
        header.extend([8, 0, 2, 0, 1, 2, 3, 4]);
        header.extend([9, 0, 1, 0]);
        header.extend(b"Nope\0\0\0\0");
        assert_eq!(extended_ack(&header), "Nope");
        assert_eq!(extended_ack(&[0; 16]), "");
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest: &[u8] = &bytes;
            while let Some((reply, tail)) = next_reply(rest) {
                prop_assert!(tail.len() < rest.len());
                let _ = refusal(reply.body, "");
                rest = tail;
            }
            let _ = refusal(&bytes, "");
        }
    }
}
