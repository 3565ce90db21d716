//! One blocking NETLINK_NETFILTER socket: batches, questions and dumps.

use std::io;

use netlink_packet_core::{
    DecodeError, DefaultNla, ErrorMessage, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_REQUEST,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator, Parseable,
};
use netlink_packet_netfilter::nftables::{
    ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::answer::Answer;
use crate::batch::{Batch, request};
use crate::error::{Error, Result};
use crate::raw;
use crate::sound::{
    FIRST_TYPE, NF_TABLES, NFGENMSG, NFT_MSG_NEWSETELEM, NFTA_SET_ELEM_LIST_ELEMENTS, is_sound,
};

/// NFNL_MSG_BATCH_BEGIN and its attribute NFNL_BATCH_GENID.
const BATCH_BEGIN: u8 = 16;
const BATCH_GENID: u16 = 1;
/// NLMSGERR_ATTR_MSG: the kernel's words, ending in a NUL.
const ERROR_TEXT: u16 = 1;
/// nlmsghdr, in bytes.
const HEADER: usize = 16;
/// The largest datagram that the kernel makes for a dump is 32 KiB (netlink_dump).
const BUFFER: usize = 64 * 1024;
/// How often EINTR and EAGAIN are answered by sending the same again.
const REPEATS: u32 = 16;

type Message = NetlinkMessage<NetfilterMessage>;

/// The socket; it belongs to the network namespace that the thread was in at [`Socket::open`].
#[derive(Debug)]
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(crate) fn open() -> Result<Self> {
        let what = "open a netfilter netlink socket";
        let socket = netlink_sys::Socket::new(NETLINK_NETFILTER).map_err(|source| match source
            .raw_os_error()
        {
            Some(errno @ (libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)) => {
                Error::from_kernel(what, errno, None)
            }
            _ => Error::Socket { what: what.to_owned(), source },
        })?;
        // Errors carry the kernel's words, and not our whole request once more. Kernels before
        // 4.12 know neither; then the errno must do.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
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
        let title = batch.table.title;
        let begin = self.next_sequence();
        let mut bytes = Vec::with_capacity(4096);
        emit(&mut bytes, control(begin_message(generation)), begin);
        for message in batch.messages() {
            let sequence = self.next_sequence();
            emit(&mut bytes, message, sequence);
        }
        let last = self.sequence;
        let end = self.next_sequence();
        emit(&mut bytes, control(ControlMessage::BatchEnd), end);
        let what = format!("change table {title}");
        self.send(&what, &bytes)?;

        let mut failure = None;
        let mut acknowledged = false;
        for message in self.receive_queued(&what)? {
            let NetlinkPayload::Error(error) = &message.payload else { continue };
            let sequence = message.header.sequence_number;
            if error.code.is_none() {
                acknowledged |= sequence == last;
            } else if failure.is_none() && sequence.wrapping_sub(begin) <= end.wrapping_sub(begin) {
                let at = sequence.wrapping_sub(begin) as usize;
                let step = at.checked_sub(1).and_then(|i| batch.steps().get(i));
                let what = match step {
                    Some(step) => format!("{} in table {title}", step.what),
                    None => what.clone(),
                };
                failure = Some((at, kernel_error(&what, &message.header, error)));
            }
        }
        match failure {
            // nfnetlink_rcv_batch, at the first message: no such subsystem. Further on it is an
            // answer to that step, such as a base chain that cannot be moved to another hook.
            Some((0, Error::Kernel { what, errno: errno @ nix::Error::EOPNOTSUPP, .. })) => {
                Err(Error::Unsupported { what, errno })
            }
            Some((_, error)) => Err(error),
            None if acknowledged => Ok(()),
            None => Err(protocol(&what, "no acknowledgement")),
        }
    }

    /// Asks for one object. None: it, or what it lies in, does not exist (ENOENT).
    pub(crate) fn get(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: &NfTablesMessage,
    ) -> Result<Option<Answer>> {
        for _ in 0..=REPEATS {
            let sequence = self.next_sequence();
            let mut bytes = Vec::with_capacity(256);
            emit(&mut bytes, request(family, question.clone()), sequence);
            self.send(what, &bytes)?;
            let mut transient = false;
            for message in self.receive_queued(what)? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        match kernel_error(what, &message.header, &error) {
                            gone if gone.is_gone() => return Ok(None),
                            // nfnetlink_rcv_msg: no nf_tables is EINVAL here, EOPNOTSUPP in a batch.
                            Error::Kernel {
                                what,
                                errno: errno @ nix::Error::EINVAL,
                                ext_ack: None,
                            } => {
                                return Err(Error::Unsupported { what, errno });
                            }
                            Error::Kernel { errno, .. } if is_transient(errno) => transient = true,
                            error => return Err(error),
                        }
                    }
                    payload => return tables_message(what, payload).map(Some),
                }
            }
            if !transient {
                return Err(protocol(what, "no answer"));
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
        self.dump_as(what, family, question, |what, frame| {
            tables_message(what, message(what, frame)?.payload)
        })
    }

    /// The expressions of each rule of a dump, as bytes.
    pub(crate) fn rules(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<Vec<Vec<u8>>> {
        self.dump_as(what, family, question, |what, frame| {
            let attributes = frame.bytes.get(HEADER + NFGENMSG..).and_then(raw::expressions);
            attributes.ok_or_else(|| protocol(what, "a rule that is not well formed"))
        })
    }

    /// How many objects a dump has, without reading them, which is dear (see [`raw`]).
    pub(crate) fn count(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
    ) -> Result<usize> {
        Ok(self.dump_as(what, family, question, |_, _| Ok(()))?.len())
    }

    fn dump_as<T>(
        &mut self,
        what: &str,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
        read: fn(&str, &Frame<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let sequence = self.next_sequence();
        let mut question = request(family, question);
        question.header.flags |= NLM_F_DUMP;
        let mut bytes = Vec::with_capacity(256);
        emit(&mut bytes, question, sequence);
        self.send(what, &bytes)?;
        let mut dump = Vec::new();
        loop {
            self.receive(what, 0)?;
            let mut rest = self.buffer.as_slice();
            while let Some(frame) = next_frame(what, &mut rest)? {
                if frame.sequence != sequence {
                    continue;
                }
                if frame.kind >= FIRST_TYPE {
                    dump.push(read(what, &frame)?);
                    continue;
                }
                let message = message(what, &frame)?;
                match message.payload {
                    NetlinkPayload::Done(done) if done.code == 0 => return Ok(dump),
                    NetlinkPayload::Done(done) if done.code == -libc::ENOENT => return Ok(dump),
                    NetlinkPayload::Done(done) => {
                        return Err(Error::from_kernel(what, done.code.wrapping_neg(), None));
                    }
                    NetlinkPayload::Error(error) => {
                        let error = kernel_error(what, &message.header, &error);
                        return if error.is_gone() { Ok(dump) } else { Err(error) };
                    }
                    _ => {}
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        // 0 is what notifications carry.
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Makes room for a datagram that is larger than the buffer that sockets have by default
    /// (net.core.wmem_default, 208 KiB): netlink_sendmsg would refuse it with EMSGSIZE. Without
    /// CAP_NET_ADMIN over the machine `send` reports that.
    fn make_room(&self, bytes: usize) {
        const USUAL: usize = 128 * 1024;
        if bytes > USUAL {
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(2 * bytes));
        }
    }

    fn send(&self, what: &str, bytes: &[u8]) -> Result<()> {
        self.make_room(bytes.len());
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Socket { what: what.to_owned(), source }),
            }
        }
    }

    /// All that waits in the socket. The kernel handles a request within `send`, so every
    /// answer but a dump's later parts is there already; taking all leaves none for the next.
    fn receive_queued(&mut self, what: &str) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while self.receive(what, libc::MSG_DONTWAIT)? {
            messages.extend(parse(what, &self.buffer)?);
        }
        Ok(messages)
    }

    /// Fills the buffer with one datagram; false: nothing waits (with MSG_DONTWAIT).
    fn receive(&mut self, what: &str, flags: libc::c_int) -> Result<bool> {
        loop {
            self.buffer.clear();
            // `BufMut for Vec` offers its spare capacity, BUFFER bytes.
            match self.socket.recv(&mut self.buffer, flags | libc::MSG_TRUNC) {
                Ok(len) if len > self.buffer.len() => {
                    return Err(protocol(what, "a datagram larger than the buffer"));
                }
                Ok(_) => return Ok(true),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Socket { what: what.to_owned(), source }),
            }
        }
    }
}

fn is_transient(errno: nix::Error) -> bool {
    matches!(errno, nix::Error::EAGAIN | nix::Error::EINTR)
}

fn begin_message(generation: Option<u32>) -> ControlMessage {
    match generation {
        None => ControlMessage::BatchBegin,
        Some(id) => ControlMessage::Other {
            message_type: BATCH_BEGIN,
            attributes: vec![DefaultNla::new(BATCH_GENID, id.to_be_bytes().to_vec())],
        },
    }
}

fn control(message: ControlMessage) -> Message {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NF_TABLES);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, message));
    message.header.flags = NLM_F_REQUEST;
    message
}

/// Appends a message to a buffer; all of nf_tables' messages are multiples of 4 bytes long.
pub(crate) fn emit(bytes: &mut Vec<u8>, mut message: Message, sequence: u32) {
    message.header.sequence_number = sequence;
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len(), 0);
    message.serialize(&mut bytes[start..]);
}

/// One message of a datagram, header included.
struct Frame<'a> {
    kind: u16,
    sequence: u32,
    bytes: &'a [u8],
}

/// Splits the next message, padded to four bytes, off the front.
fn next_frame<'a>(what: &str, bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>> {
    let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = **bytes else { return Ok(None) };
    let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
    let frame = bytes.get(..length).filter(|frame| frame.len() >= HEADER);
    let frame = frame.ok_or_else(|| protocol(what, "a message of a wrong length"))?;
    *bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    let kind = u16::from_ne_bytes([k0, k1]);
    Ok(Some(Frame { kind, sequence: u32::from_ne_bytes([s0, s1, s2, s3]), bytes: frame }))
}

fn message(what: &str, frame: &Frame<'_>) -> Result<Message> {
    let (header, body) = frame.bytes.split_at(HEADER);
    if !is_sound(frame.kind, body) {
        return Err(protocol(what, "a message that is not well formed"));
    }
    let message = match frame.kind {
        NFT_MSG_NEWSETELEM => elements(header, body),
        _ => Message::deserialize(frame.bytes),
    };
    message.map_err(|e| protocol(what, &e.to_string()))
}

fn parse(what: &str, mut bytes: &[u8]) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    while let Some(frame) = next_frame(what, &mut bytes)? {
        messages.push(message(what, &frame)?);
    }
    Ok(messages)
}

/// Elements of a set, without the crate's own reading of their list: for each element that
/// (0.4.0, VecListAttribute) writes the text of an error that quotes the whole list. Measured:
/// 50 s for 40,000 elements in an unoptimised build.
fn elements(header: &[u8], body: &[u8]) -> std::result::Result<Message, DecodeError> {
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
    let answer = NfTablesMessage::NewSetElement(answer);
    let family = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
    let header = NetlinkHeader::parse(&NetlinkBuffer::new(&header))?;
    let answer = NetlinkPayload::InnerMessage(NetfilterMessage::new(family, answer));
    Ok(NetlinkMessage::new(header, answer))
}

/// What the kernel says in a datagram, as far as this crate looks at it.
///
/// # Errors
/// [`Error::Protocol`] where it is not one of nf_tables; the kernel's refusal.
pub fn read(datagram: &[u8]) -> Result<Vec<Answer>> {
    let what = "read an answer of nf_tables";
    let read = |message: Message| match message.payload {
        NetlinkPayload::Error(error) => match error.code {
            Some(_) => Err(kernel_error(what, &message.header, &error)),
            None => Ok(None),
        },
        NetlinkPayload::Done(_) => Ok(None),
        payload => tables_message(what, payload).map(Some),
    };
    parse(what, datagram)?.into_iter().filter_map(|message| read(message).transpose()).collect()
}

fn tables_message(what: &str, payload: NetlinkPayload<NetfilterMessage>) -> Result<Answer> {
    match payload {
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::NfTables(message),
            ..
        }) => Ok(Answer::of(message)),
        _ => Err(protocol(what, "not a message of nf_tables")),
    }
}

fn protocol(what: &str, detail: &str) -> Error {
    Error::Protocol { what: what.to_owned(), detail: detail.to_owned() }
}

fn kernel_error(what: &str, header: &NetlinkHeader, error: &ErrorMessage) -> Error {
    Error::from_kernel(what, error.raw_code().wrapping_abs(), ext_ack(header.flags, &error.header))
}

/// The kernel's words behind an error. `echo` is the header of the failed request, then (unless
/// NLM_F_CAPPED) the rest of that request, then with NLM_F_ACK_TLVS the attributes.
fn ext_ack(flags: u16, echo: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let skip = if flags & NLM_F_CAPPED != 0 {
        HEADER
    } else {
        let len: [u8; 4] = echo.get(..4)?.try_into().ok()?;
        (u32::from_ne_bytes(len) as usize).next_multiple_of(4)
    };
    for nla in NlasIterator::new(echo.get(skip..)?) {
        let nla = nla.ok()?;
        if nla.kind() == ERROR_TEXT {
            let text = nla.value().strip_suffix(&[0]).unwrap_or(nla.value());
            return Some(String::from_utf8_lossy(text).into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        use netlink_packet_core::Emitable;
        let nla = DefaultNla::new(kind, value.to_vec());
        let mut bytes = vec![0; nla.buffer_len()];
        nla.emit(&mut bytes);
        bytes
    }

    #[test]
    fn the_kernels_words_are_found_behind_a_capped_and_a_whole_echo() {
        let tlvs =
            [attribute(2, &[0, 0, 0, 9]), attribute(ERROR_TEXT, b"No such chain\0")].concat();
        let capped = [vec![0xff; HEADER], tlvs.clone()].concat();
        let flags = NLM_F_ACK_TLVS | NLM_F_CAPPED;
        assert_eq!(ext_ack(flags, &capped).as_deref(), Some("No such chain"));
        assert_eq!(ext_ack(NLM_F_CAPPED, &capped), None);

        let mut whole = vec![0; 26];
        whole[..4].copy_from_slice(&26_u32.to_ne_bytes());
        whole.resize(28, 0);
        whole.extend(tlvs);
        assert_eq!(ext_ack(NLM_F_ACK_TLVS, &whole).as_deref(), Some("No such chain"));
        assert_eq!(ext_ack(NLM_F_ACK_TLVS, &whole[..20]), None);
    }

    #[test]
    fn a_batch_may_name_the_generation_that_it_was_made_for() {
        let mut bytes = Vec::new();
        emit(&mut bytes, control(begin_message(Some(7))), 3);
        let length = 28_u32.to_ne_bytes();
        assert_eq!(bytes[..4], length);
        assert_eq!(bytes[4..8], [16, 0, 1, 0], "type and flags");
        assert_eq!(bytes[16..], [0, 0, 0, 10, 8, 0, 1, 0, 0, 0, 0, 7]);
    }
}
