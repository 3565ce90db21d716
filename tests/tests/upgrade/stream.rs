//! A flow that runs while others act, and counts what it loses.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ferrule_tests::node::Place;

/// Datagrams from a pod that a server elsewhere returns, one every few milliseconds.
pub struct Stream {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    client: Option<JoinHandle<Vec<u32>>>,
    server: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts one from `from` to an address of `to`.
    pub fn start(from: &impl Place, to: &impl Place, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let server = to.ns().enter(|| UdpSocket::bind(SocketAddr::new(address, 0))).unwrap();
        let client = from.ns().enter(|| UdpSocket::bind(any)).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        }
        let target = server.local_addr().unwrap();
        client.connect(target).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU32::new(0));
        let (stop, count) = (ended.clone(), sent.clone());
        let client = thread::spawn(move || turns(&client, &stop, &count));
        let stop = ended.clone();
        let server = thread::spawn(move || echo(&server, &stop));
        Self { ended, sent, client: Some(client), server: Some(server) }
    }

    /// Ends it: how many datagrams were sent, and which did not return.
    fn end(&mut self) -> (u32, Vec<u32>) {
        // One more turn begins and ends with all that was done seen.
        thread::sleep(Duration::from_millis(30));
        self.ended.store(true, Ordering::Relaxed);
        let lost = self.client.take().map(|thread| thread.join().unwrap()).unwrap_or_default();
        if let Some(thread) = self.server.take() {
            thread.join().unwrap();
        }
        (self.sent.load(Ordering::Relaxed), lost)
    }

    /// Ends it; fails if anything was lost.
    #[track_caller]
    pub fn lost_nothing(mut self, whose: &str) {
        let (sent, lost) = self.end();
        assert!(sent > 3, "{whose}: only {sent} datagrams were sent");
        assert!(lost.is_empty(), "{whose}: of {sent} datagrams these were lost: {lost:?}");
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

fn turns(client: &UdpSocket, ended: &AtomicBool, sent: &AtomicU32) -> Vec<u32> {
    let mut lost = vec![];
    while !ended.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let mut word = [0; 4];
        let answered = client
            .send(&number.to_be_bytes())
            .and_then(|_| client.recv(&mut word))
            .is_ok_and(|_| word == number.to_be_bytes());
        if !answered {
            lost.push(number);
        }
        thread::sleep(Duration::from_millis(5));
    }
    lost
}

fn echo(server: &UdpSocket, ended: &AtomicBool) {
    let mut word = [0; 4];
    while !ended.load(Ordering::Relaxed) {
        match server.recv_from(&mut word) {
            Ok((length, peer)) => drop(server.send_to(&word[..length], peer)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {}
        }
    }
}
