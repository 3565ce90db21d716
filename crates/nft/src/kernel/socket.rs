//! Batches, questions and dumps over one blocking NETLINK_NETFILTER socket.

use netlink::{HEADER, Message, NLMSG_ERROR, Protocol, Reply, Verb, frame, refusal, replies};
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
    NlasIterator, Parseable,
};
use netlink_packet_netfilter::nftables::{
    ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::kernel::answer::Answer;
use crate::kernel::batch::{Batch, Step, message};
use crate::kernel::counted::counted;
use crate::kernel::error::{Error, Result};
use crate::kernel::raw;
use crate::kernel::ruling::Ruling;
use crate::kernel::well_formed::{
    FIRST_TYPE, NF_TABLES, NFGENMSG, NFT_MSG_NEWSETELEM, NFTA_SET_ELEM_LIST_ELEMENTS,
    is_well_formed,
};

/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// NFNL_BATCH_GENID, an attribute of NFNL_MSG_BATCH_BEGIN.
const BATCH_GENID: u16 = 1;
/// include/uapi/linux/netfilter/nfnetlink.h
const NFNLGRP_NFTABLES: u32 = 7;
/// How often EINTR and EAGAIN are answered by sending the same again.
const REPEATS: u32 = 16;

/// What a part of a dump or an answer is read as; the error says why it cannot be.
type Read<T> = std::result::Result<T, String>;

/// How many datagrams of a dump show whether it has anything: a short one ends with the second.
const BEGINNING: u32 = 2;

/// The socket; it belongs to the network namespace that the thread was in at [`Socket::open`].
pub(crate) struct Socket {
    current: netlink::Socket,
    /// Former ones, whose dumps were not read to their end.
    unread: Vec<netlink::Socket>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Socket")
    }
}

impl Socket {
    pub(crate) fn open() -> Result<Self> {
        let current = netlink::Socket::open(Protocol::Netfilter)?;
        Ok(Self { current, unread: Vec::new() })
    }

    /// It, and those of dumps that were not read to their end.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.current].into_iter().chain(&self.unread).map(AsFd::as_fd)
    }

    /// Applies a batch: all of it or, on error, nothing. With a generation only if the ruleset
    /// is still at it ([`Error::is_outdated`] else; that costs nothing, while a batch that fails
    /// later waits for an RCU grace period, milliseconds, in __nf_tables_abort).
    pub(crate) fn commit(&mut self, batch: &Batch, generation: Option<u32>) -> Result<()> {
        for _ in 0..REPEATS {
            match self.commit_once(batch, generation) {
                // EAGAIN: a module was loaded, or a validation did not finish, too often for the
                // kernel's own replay. EINTR: nfnetlink_rcv_batch saw a signal between two
                // messages. Neither applied anything.
                Err(Error::Kernel { errno, .. }) if is_transient(errno) => {}
                result => return result,
            }
        }
        self.commit_once(batch, generation)
    }

    fn commit_once(&mut self, batch: &Batch, generation: Option<u32>) -> Result<()> {
        let what = format!("change table {}", batch.table.title);
        let mut bytes = Vec::with_capacity(4096);
        let begin = self.current.next_sequence();
        frame(&mut bytes, BATCH_BEGIN, 0, begin, &begin_body(generation));
        let mut last = begin;
        for (message, flags) in batch.messages() {
            last = self.current.next_sequence();
            frame(&mut bytes, message.message_type(), flags, last, &body(&message));
        }
        let end = self.current.next_sequence();
        frame(&mut bytes, BATCH_END, 0, end, &begin_body(None));
        self.current.send(&bytes, &what)?;
        self.outcome(batch, &what, begin, last)
    }

    /// Reads the answers to a batch whose first message has the sequence number `begin`, and whose
    /// last step, which alone asks for an acknowledgement, has `last`.
    fn outcome(&mut self, batch: &Batch, what: &str, begin: u32, last: u32) -> Result<()> {
        let mut failure = None;
        let mut acknowledged = false;
        while let Some(datagram) = self.current.receive_waiting(what)? {
            for reply in replies(datagram).filter(|reply| reply.kind == NLMSG_ERROR) {
                let at = reply.sequence.wrapping_sub(begin) as usize;
                let refused = refusal(&reply, &step_name(batch, at));
                acknowledged |= refused.is_none() && reply.sequence == last;
                let ours = at <= batch.steps().len() + 1;
                failure = failure.or(refused.filter(|_| ours).map(|refused| (at, refused.into())));
            }
        }
        match failure {
            // nfnetlink_rcv_batch, at the first message: no such subsystem. Further on it is an
            // answer to that step, such as a base chain that cannot be moved to another hook.
            Some((0, Error::Kernel { what, errno: errno @ Errno::EOPNOTSUPP, .. })) => {
                Err(Error::Unsupported { what, errno })
            }
            Some((_, error)) => Err(error),
            None if acknowledged => Ok(()),
            None => Err(protocol(what, "no acknowledgement")),
        }
    }

    /// Asks for one object. None: it, or what it lies in, does not exist (ENOENT).
    pub(crate) fn get(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Option<Answer>> {
        let verb = verb(what, family, question, 0, answer);
        for _ in 0..=REPEATS {
            let mut found = None;
            match self.current.exchange(&verb, |answer| found = Some(answer)).map_err(Error::from) {
                Ok(()) => {
                    return found.transpose().map_err(|detail| protocol(what, &detail));
                }
                Err(gone) if gone.is_gone() => return Ok(None),
                // nfnetlink_rcv_msg: no nf_tables is EINVAL here, EOPNOTSUPP in a batch.
                Err(Error::Kernel { what, errno: errno @ Errno::EINVAL, ext_ack: None }) => {
                    return Err(Error::Unsupported { what, errno });
                }
                Err(Error::Kernel { errno, .. }) if is_transient(errno) => {}
                Err(error) => return Err(error),
            }
        }
        Err(protocol(what, "the kernel keeps asking to try again"))
    }

    /// Asks for all objects that the question matches. They are true only if the generation is
    /// the same before and after: dumps miss live elements while others write, mostly without
    /// the flag (NLM_F_DUMP_INTR) that should tell.
    pub(crate) fn dump(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Vec<Answer>> {
        self.dump_as(verb(what, family, question, NLM_F_DUMP, answer), what)
    }

    /// Whether the answer to a question for a set's elements has any, however many: only the
    /// beginning is read. After a longer answer the questions go by another socket, opened in the
    /// network namespace of the thread.
    pub(crate) fn has_elements(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<bool> {
        let verb = verb(what, family, question, NLM_F_DUMP, lists_elements);
        let mut found = false;
        let read = self.current.exchange_beginning(&verb, BEGINNING, |part| {
            found |= part.unwrap_or_default();
        });
        match read.map_err(Error::from) {
            Ok(false) => {
                let next = netlink::Socket::open(Protocol::Netfilter)?;
                self.unread.push(std::mem::replace(&mut self.current, next));
            }
            Err(error) if !error.is_gone() && error.errno() != Some(Errno::EINTR) => {
                return Err(error);
            }
            _ => {}
        }
        Ok(found)
    }

    /// What each rule of a dump does.
    pub(crate) fn rulings(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Vec<Ruling>> {
        let ruling = |_, body: &[u8]| {
            let ruling = body.get(NFGENMSG..).and_then(Ruling::read);
            Some(ruling.ok_or_else(|| "a rule that is not well formed".to_owned()))
        };
        self.dump_as(verb(what, family, question, NLM_F_DUMP, ruling), what)
    }

    /// Each rule of a dump: the chain that it is in, and its expressions as bytes.
    pub(crate) fn rules(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let rule = |_, body: &[u8]| {
            let rule = body.get(NFGENMSG..).and_then(raw::rule);
            Some(rule.ok_or_else(|| "a rule that is not well formed".to_owned()))
        };
        self.dump_as(verb(what, family, question, NLM_F_DUMP, rule), what)
    }

    /// The keys of a set's elements, each with the packets that it counted.
    pub(crate) fn counted(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Vec<(Vec<u8>, u64)>> {
        let counted =
            |kind: u16, body: &[u8]| (kind == NFT_MSG_NEWSETELEM).then(|| Ok(counted(body)));
        let parts = self.dump_as(verb(what, family, question, NLM_F_DUMP, counted), what)?;
        Ok(parts.concat())
    }

    /// The socket's netlink port, which notifications of its changes name.
    pub(crate) fn port(&self) -> u32 {
        self.current.port()
    }

    /// Waits until no question is answered by something of which `holds` is true, woken by the
    /// notifications of nf_tables; whether that came within `patience`.
    pub(crate) fn wait_until_none(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        questions: &[NfTablesMessage],
        patience: Duration,
        holds: impl Fn(&Answer) -> bool,
    ) -> Result<bool> {
        let ask = |socket: &mut netlink::Socket| {
            for question in questions {
                let found = socket.get(&verb(what, family, question.clone(), 0, answer))?;
                if found.is_some_and(|found| found.is_ok_and(|found| holds(&found))) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        match self.current.wait(&[NFNLGRP_NFTABLES], what, patience, ask) {
            Err(error) if error.is_timeout() => Ok(false),
            waited => Ok(waited.map(|()| true)?),
        }
    }

    fn dump_as<T>(&mut self, verb: Verb<Read<T>>, what: &str) -> Result<Vec<T>> {
        let mut dump = Vec::new();
        let mut wrong = None;
        let ended = self.current.exchange(&verb, |part| match part {
            Ok(part) => dump.push(part),
            Err(detail) => wrong = Some(protocol(what, &detail)),
        });
        match ended.map_err(Error::from) {
            Err(error) if !error.is_gone() && error.errno() != Some(Errno::EINTR) => Err(error),
            _ => wrong.map_or(Ok(dump), Err),
        }
    }
}

fn is_transient(errno: Errno) -> bool {
    matches!(errno, Errno::EAGAIN | Errno::EINTR)
}

/// What the message at a place of a batch does; the first is the batch's own.
fn step_name(batch: &Batch, at: usize) -> String {
    let title = batch.table.title;
    match at.checked_sub(1).and_then(|i| batch.steps().get(i)) {
        Some(Step { what, elsewhere: Some((_, title)), .. }) => format!("{what} in table {title}"),
        Some(Step { what, .. }) => format!("{what} in table {title}"),
        None => format!("change table {title}"),
    }
}

/// struct nfgenmsg of a batch's beginning or end, which names the subsystem, and the generation.
fn begin_body(generation: Option<u32>) -> Vec<u8> {
    let [high, low] = NF_TABLES.to_be_bytes();
    let mut message = Message::new(&[0, 0, high, low]);
    if let Some(id) = generation {
        message.put(BATCH_GENID, &id.to_be_bytes());
    }
    message.into_bytes()
}

/// The bytes of a message behind its netlink header.
pub(crate) fn body(message: &NetfilterMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn verb<T>(
    what: &str,
    family: NetfilterProtoFamily,
    question: NfTablesMessage,
    flags: u16,
    parse: fn(u16, &[u8]) -> Option<Read<T>>,
) -> Verb<Read<T>> {
    let question = message(family, question);
    let message = Message::new(&body(&question));
    Verb::new(question.message_type(), &message, flags, parse, what.to_owned())
}

/// What an object of nf_tables is; `None` for a message of another protocol.
fn answer(kind: u16, body: &[u8]) -> Option<Read<Answer>> {
    let read = || -> std::result::Result<NetfilterMessage, DecodeError> {
        if kind == NFT_MSG_NEWSETELEM {
            return elements(body);
        }
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        header.length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        NetfilterMessage::deserialize(&header, body)
    };
    if kind < FIRST_TYPE {
        return None;
    }
    if !is_well_formed(kind, body) {
        return Some(Err("a message that is not well formed".to_owned()));
    }
    Some(match read().map(|message| message.inner) {
        Ok(NetfilterMessageInner::NfTables(message)) => Ok(Answer::of(message)),
        Ok(_) => Err("not a message of nf_tables".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}

/// Whether a part of a dump of elements has any; `None` for another message.
fn lists_elements(kind: u16, body: &[u8]) -> Option<Read<bool>> {
    let attributes = || NlasIterator::new(body.get(NFGENMSG..).unwrap_or_default());
    let list = || attributes().flatten().find(|nla| nla.kind() == NFTA_SET_ELEM_LIST_ELEMENTS);
    (kind == NFT_MSG_NEWSETELEM).then(|| Ok(list().is_some_and(|list| !list.value().is_empty())))
}

/// Elements of a set, without the crate's own reading of their list: for each element that
/// (0.4.0, VecListAttribute) writes the text of an error that quotes the whole list. Measured:
/// 50 s for 40,000 elements in an unoptimised build.
fn elements(body: &[u8]) -> std::result::Result<NetfilterMessage, DecodeError> {
    let mut list = Vec::new();
    for nla in NlasIterator::new(body.get(NFGENMSG..).unwrap_or_default()) {
        let nla = nla?;
        if nla.kind() != NFTA_SET_ELEM_LIST_ELEMENTS {
            continue;
        }
        for element in NlasIterator::new(nla.value()) {
            let element = element?;
            let mut attributes = Vec::new();
            for attribute in NlasIterator::new(element.value()) {
                attributes.push(SetElementAttribute::parse(&attribute?)?);
            }
            list.push(ListAttribute::Element(attributes));
        }
    }
    let answer = SetElementMessage { attributes: vec![SetElementList::Elements(list)] };
    Ok(message(NetfilterProtoFamily::Unspec, NfTablesMessage::NewSetElement(answer)))
}

/// What the kernel says in a datagram, as far as this crate looks at it.
///
/// # Errors
/// [`Error::Protocol`] where it is not one of nf_tables; the kernel's refusal.
pub fn read(datagram: &[u8]) -> Result<Vec<Answer>> {
    let what = "read an answer of nf_tables";
    let read = |reply: Reply<'_>| match reply.kind {
        NLMSG_ERROR => refusal(&reply, what).map(|refused| Err(refused.into())),
        kind => answer(kind, reply.body).map(|read| read.map_err(|detail| protocol(what, &detail))),
    };
    replies(datagram).filter_map(read).collect()
}

fn protocol(what: &str, detail: &str) -> Error {
    Error::Protocol { what: what.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_may_name_the_generation_that_it_was_made_for() {
        let mut bytes = Vec::new();
        frame(&mut bytes, BATCH_BEGIN, 0, 3, &begin_body(Some(7)));
        let length = 28_u32.to_ne_bytes();
        assert_eq!(bytes[..4], length);
        assert_eq!(bytes[4..8], [16, 0, 1, 0], "type and flags");
        assert_eq!(bytes[16..], [0, 0, 0, 10, 8, 0, 1, 0, 0, 0, 0, 7]);
    }
}
