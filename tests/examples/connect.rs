//! `connect SERVER_NETNS CLIENT_NETNS ADDRESS SOURCE SECONDS [DIALLED]`: how many TCP connections a
//! second one client makes, one after the other; for scripts/bench. The server holds that each comes
//! from SOURCE: the node's address where it was masqueraded. The client dials another address where
//! that leads to the server's.

#![allow(clippy::expect_used, reason = "it ends with what it says")]

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Enough for a client that takes another port each time, so that none is taken.
const PORTS: u16 = 8;
const FIRST_PORT: u16 = 5000;

fn enter(netns: &str) {
    setns(File::open(netns).expect(netns), CloneFlags::CLONE_NEWNET).expect("enter the netns");
}

fn serve(listener: TcpListener, source: IpAddr) {
    for mut stream in listener.incoming().flatten() {
        let peer = stream.peer_addr().map(|peer| peer.ip());
        // Reset already: no peer is left to ask. A panic closes the port to the client.
        assert!(peer.is_err() || peer.is_ok_and(|peer| peer == source), "not masqueraded");
        // The client's reset ends it.
        let _ = stream.read(&mut [0]);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, client, address, source, seconds, dialled @ ..] = &args[..] else {
        panic!("usage: connect SERVER_NETNS CLIENT_NETNS ADDRESS SOURCE SECONDS [DIALLED]");
    };
    let dialled: IpAddr = dialled.first().unwrap_or(address).parse().expect("an address");
    let address: IpAddr = address.parse().expect("an address");
    let source: IpAddr = source.parse().expect("an address");
    let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
    let (ready, listening) = channel();
    let server = server.clone();
    std::thread::spawn(move || {
        enter(&server);
        for port in FIRST_PORT..FIRST_PORT + PORTS {
            let listener = TcpListener::bind(SocketAddr::new(address, port)).expect("listen");
            std::thread::spawn(move || serve(listener, source));
        }
        ready.send(()).expect("the client waits");
    });
    listening.recv().expect("a server");
    enter(client);
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    let start = Instant::now();
    let mut made = 0_u32;
    while start.elapsed() < time {
        let port = FIRST_PORT + (made % u32::from(PORTS)) as u16;
        let stream = TcpStream::connect(SocketAddr::new(dialled, port)).expect("connect");
        // It ends with a reset: neither end keeps anything of the connection.
        setsockopt(&stream, sockopt::Linger, &linger).expect("SO_LINGER");
        made += 1;
    }
    #[allow(clippy::print_stdout, reason = "the answer")]
    {
        println!("{:.0}", f64::from(made) / start.elapsed().as_secs_f64());
    }
}
