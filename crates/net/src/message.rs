//! Messages written by hand: netlink-packet-route's types of a route or a link bring the code for
//! every attribute there is into each executable.

use netlink_packet_core::Emitable;
use std::net::IpAddr;

/// The body of a message: a fixed header and attributes.
pub(crate) struct Message(Vec<u8>);

const NLA_F_NESTED: u16 = 1 << 15;

impl Message {
    pub(crate) fn new(header: &[u8]) -> Message {
        Message(header.to_vec())
    }

    /// Bytes without a header of attributes, such as those of a struct rtnexthop.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// An attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.0.extend(value);
        self.close(start);
    }

    /// An attribute in the machine's byte order.
    pub(crate) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An address as its four or sixteen bytes.
    pub(crate) fn put_ip(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.put(kind, &address.octets()),
            IpAddr::V6(address) => self.put(kind, &address.octets()),
        }
    }

    /// An attribute of attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// What `fill` appends, its length written into its first two bytes.
    pub(crate) fn measured(&mut self, fill: impl FnOnce(&mut Message)) {
        let start = self.0.len();
        fill(self);
        self.close(start);
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
