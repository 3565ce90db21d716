//! Messages written by hand: netlink-packet-route's types of a route or a link bring the code for
//! every attribute there is into each executable.

use crate::reply::HEADER;
use netlink_packet_core::{Emitable, NLM_F_REQUEST};
use std::net::IpAddr;

/// Appends one request: a header (struct nlmsghdr), the body, and padding to four bytes. `flags`
/// are those beside NLM_F_REQUEST.
pub fn frame(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The body of a message: a fixed header and attributes.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

const NLA_F_NESTED: u16 = 1 << 15;

impl Message {
    /// A message that begins with these bytes, the protocol's own header.
    pub fn new(header: &[u8]) -> Message {
        Message(header.to_vec())
    }

    /// Bytes without a header of attributes, such as those of a struct rtnexthop.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.0.extend(value);
        self.close(start);
    }

    /// An attribute in the machine's byte order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An address as its four or sixteen bytes.
    pub fn put_ip(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(kind, &address.octets()),
            IpAddr::V6(address) => self.put(kind, &address.octets()),
        }
    }

    /// An attribute of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// What `fill` appends, its length written into its first two bytes.
    pub fn measured(&mut self, fill: impl FnOnce(&mut Message)) {
        let start = self.0.len();
        fill(self);
        self.close(start);
    }

    /// The bytes of the message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.0.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0);
    }
}
