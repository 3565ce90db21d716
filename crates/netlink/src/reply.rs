//! What the kernel answers: datagrams of messages, each a header (struct nlmsghdr) and a body.

use crate::attributes::{find, u32_of};
use crate::error::Error;
use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED};

// Message types of include/uapi/linux/netlink.h.
/// NLMSG_ERROR: a refusal, or with error 0 an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// NLMSG_DONE: the end of a dump.
pub const NLMSG_DONE: u16 = 3;
/// The kernel's words, ending in a NUL.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bytes of a netlink header.
pub const HEADER: usize = 16;

/// One message of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Its type: NLMSG_*, or one of the protocol.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// That of the request. In a notification 0, or that of whoever caused it.
    pub sequence: u32,
    /// The port of the socket that asked, or that caused what a notification is about; 0 for the
    /// kernel itself.
    pub port: u32,
    /// What follows the header, without padding.
    pub body: &'a [u8],
}

/// Splits one message, padded to four bytes, off the front.
pub fn next_reply(bytes: &[u8]) -> Option<(Reply<'_>, &[u8])> {
    let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3, ..] = *bytes else {
        return None;
    };
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let body = bytes.get(HEADER..length)?;
    let reply = Reply {
        kind: u16::from_ne_bytes([k0, k1]),
        flags: u16::from_ne_bytes([f0, f1]),
        sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
        port: u32::from_ne_bytes([p0, p1, p2, p3]),
        body,
    };
    Some((reply, &bytes[length.next_multiple_of(4).min(bytes.len())..]))
}

/// The messages of a datagram, as far as it is well formed.
pub fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let (reply, tail) = next_reply(rest)?;
        rest = tail;
        Some(reply)
    })
}

/// The error that NLMSG_ERROR or NLMSG_DONE carries; `None` for success.
pub fn refusal(reply: &Reply<'_>, what: &str) -> Option<Error> {
    let errno = i32::from_ne_bytes(reply.body.get(..4)?.try_into().ok()?);
    (errno != 0).then(|| Error::of(what, errno.wrapping_neg(), extended_ack(reply)))
}

/// The text in the attributes behind the echoed request (NETLINK_EXT_ACK); empty without one. No
/// crate parses them. With NLM_F_CAPPED (NETLINK_CAP_ACK) only the header of the request is echoed,
/// and an NLMSG_DONE echoes nothing (net/netlink/af_netlink.c, netlink_dump_done).
fn extended_ack(reply: &Reply<'_>) -> String {
    let echo = &reply.body[4..];
    let echoed = match (reply.kind, reply.flags & NLM_F_CAPPED) {
        (NLMSG_DONE, _) => Some(0),
        (_, 0) => {
            echo.get(..4).and_then(u32_of).map(|length| (length as usize).next_multiple_of(4))
        }
        _ => Some(HEADER),
    };
    let attributes = echoed
        .filter(|_| reply.flags & NLM_F_ACK_TLVS != 0)
        .and_then(|echoed| echo.get(echoed..))
        .unwrap_or_default();
    let text = find(attributes, NLMSGERR_ATTR_MSG).unwrap_or_default();
    String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(flags: u16, body: &[u8]) -> Reply<'_> {
        Reply { kind: NLMSG_ERROR, flags, sequence: 1, port: 0, body }
    }

    #[test]
    fn the_kernels_text_is_found_behind_a_capped_and_a_whole_echo() {
        let errno = (-libc::ENOENT).to_ne_bytes();
        let tlvs = [&[8, 0, 2, 0, 1, 2, 3, 4, 9, 0, 1, 0][..], b"Nope\0\0\0\0"].concat();
        let capped = [&errno[..], &[0xff; HEADER], &tlvs].concat();
        let both = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        assert_eq!(extended_ack(&error(both, &capped)), "Nope");
        assert_eq!(extended_ack(&error(NLM_F_CAPPED, &capped)), "");
        let mut whole = [&errno[..], &26_u32.to_ne_bytes(), &[0; 24]].concat();
        whole.extend(&tlvs);
        assert_eq!(extended_ack(&error(NLM_F_ACK_TLVS, &whole)), "Nope");
        assert_eq!(extended_ack(&error(NLM_F_ACK_TLVS, &whole[..20])), "");
        let refused = refusal(&error(both, &capped), "look").unwrap();
        assert_eq!(refused, Error::of("look", libc::ENOENT, "Nope"));
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_parsers_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flags in any::<u16>(),
        ) {
            let mut rest: &[u8] = &bytes;
            while let Some((reply, tail)) = next_reply(rest) {
                prop_assert!(tail.len() < rest.len());
                let _ = refusal(&reply, "");
                rest = tail;
            }
            for kind in [NLMSG_ERROR, NLMSG_DONE] {
                let _ = refusal(&Reply { kind, flags, sequence: 0, port: 0, body: &bytes }, "");
            }
        }
    }
}
