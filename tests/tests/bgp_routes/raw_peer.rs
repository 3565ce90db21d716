//! A peer that writes its messages by hand, and so can write wrong ones.

use crate::pair::{Pair, ROUTER};
use ferrule_tests::node::Place;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const NOTIFICATION: u8 = 3;
pub const KEEPALIVE: u8 = 4;

/// AS 65100 at the router's end of the wire.
pub struct RawPeer {
    /// `None` where the peer has dialled.
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

/// A message: marker, length, type, body (RFC 4271 section 4.1).
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

/// An UPDATE that announces 10.244.`third`.0/24 with these path attributes.
pub fn update(attributes: &[&[u8]], third: u8) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(UPDATE, &[&[0, 0], &length[..], &attributes, &[24, 10, 244, third]].concat())
}

pub const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
/// AS_SEQUENCE of 65100, in four octets.
pub const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4c];
/// 172.16.0.2.
pub const NEXT_HOP: &[u8] = &[0x40, 3, 4, 172, 16, 0, 2];

impl RawPeer {
    /// Listens; the node may dial from now on.
    pub fn listen(pair: &Pair) -> RawPeer {
        RawPeer::listen_at(pair, ROUTER)
    }

    /// As [`RawPeer::listen`], at another address of the router.
    pub fn listen_at(pair: &Pair, address: &str) -> RawPeer {
        let listener = pair.router.ns().enter(|| TcpListener::bind((address, 179)).unwrap());
        RawPeer { listener: Some(listener), stream: None, received: vec![] }
    }

    /// Dials the node, whose `listen` has to say so.
    pub fn dial(pair: &Pair, node: &str) -> RawPeer {
        let stream = pair.router.ns().enter(|| TcpStream::connect((node, 179)).unwrap());
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        RawPeer { listener: None, stream: Some(stream), received: vec![] }
    }

    /// Takes the node's connection.
    pub fn accept(&mut self) {
        self.stream = None;
        self.received.clear();
        let listener = self.listener.as_ref().unwrap();
        listener.set_nonblocking(true).unwrap();
        let accepted = ferrule_tests::within(Duration::from_secs(20), || listener.accept().ok());
        let (stream, _) = accepted.expect("the node dials");
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        self.stream = Some(stream);
    }

    /// Takes the node's connection and opens the session, with this hold time.
    pub fn open(&mut self, hold_time: u16) {
        self.accept();
        self.answer(hold_time);
    }

    /// Opens the session on the connection that there is.
    pub fn answer(&mut self, hold_time: u16) {
        self.say_open(hold_time);
        self.send(&message(KEEPALIVE, &[]));
        self.expect(KEEPALIVE);
    }

    /// Sends an OPEN.
    pub fn say_open(&mut self, hold_time: u16) {
        let [high, low] = hold_time.to_be_bytes();
        // IPv4 unicast, 4-octet AS number.
        let capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfe, 0x4c];
        let head = [4, 0xfe, 0x4c, high, low, 192, 0, 2, 254, 14, 2, 12];
        self.send(&message(OPEN, &[&head[..], &capabilities].concat()));
    }

    /// The connection, for another thread.
    pub fn stream(&self) -> TcpStream {
        self.stream.as_ref().unwrap().try_clone().unwrap()
    }

    /// As [`RawPeer::open`], of both families.
    pub fn open_both(&mut self) {
        self.accept();
        let capabilities = [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, 0, 0, 0xfe, 0x4c];
        let head = [4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 254, 20, 2, 18];
        self.send(&message(OPEN, &[&head[..], &capabilities].concat()));
        self.send(&message(KEEPALIVE, &[]));
        self.expect(KEEPALIVE);
    }

    /// Closes the connection without a word.
    pub fn close(&mut self) {
        self.stream = None;
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.as_ref().unwrap().write_all(bytes).unwrap();
    }

    /// The bodies of all messages up to the first of this type, whose body comes last.
    pub fn expect(&mut self, kind: u8) -> Vec<u8> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            while let Some((found, body)) = self.next() {
                if found == kind {
                    return body;
                }
            }
            assert!(Instant::now() < end, "no message of type {kind}");
            let mut part = [0; 4096];
            match self.stream.as_ref().unwrap().read(&mut part) {
                Ok(0) => panic!("the node closed the connection before a message of type {kind}"),
                Ok(length) => self.received.extend(&part[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let length =
            usize::from(u16::from_be_bytes([*self.received.get(16)?, *self.received.get(17)?]));
        let whole: Vec<u8> = self.received.get(..length)?.to_vec();
        self.received.drain(..length);
        Some((whole[18], whole[19..].to_vec()))
    }
}
