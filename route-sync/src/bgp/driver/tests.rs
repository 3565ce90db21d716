use super::*;
use crate::bgp::config::{Password, Peer};
use crate::bgp::netns;
use bgp_speaker::codec::{self, Notification, cease};
use bgp_speaker::fsm::State;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// A speaker that listens at the loopback device, with a peer there that dials.
fn speaker(alter: impl FnOnce(&mut Bgp)) -> (Speaker, SocketAddr) {
    let text = "[bgp]\nasn = 65000\nlisten = [\"127.0.0.1\"]\n\
                [[bgp.peer]]\naddress = \"192.0.2.2\"\nasn = 65000\npassive = true\n\
                [node]\naddresses = [\"192.0.2.1\"]\npod-cidrs = [\"10.244.1.0/24\"]";
    let mut bgp = crate::config::read::parse(text, Some("host")).unwrap().bgp.unwrap();
    bgp.peers[0].address = Ipv4Addr::LOCALHOST.into();
    alter(&mut bgp);
    let address = bgp.listen[0];
    let mut speaker = Speaker::new(bgp).unwrap();
    speaker.identify(Some(&node()));
    (speaker, address)
}

fn node() -> Node {
    let (name, address) = ("host".to_owned(), Ipv4Addr::new(192, 0, 2, 1));
    Node { name, addresses: vec![address.into()], pod_cidrs: vec![] }
}

/// While the kernel does not take a password, no peer can connect, and a problem is reported.
#[tokio::test]
async fn a_peer_whose_key_cannot_be_set_is_refused() {
    for (length, read) in [(81, 0), (0, 1)] {
        netns::enter();
        let (mut speaker, address) = speaker(|bgp| {
            bgp.peers[0].password = (length > 0).then(|| Password(vec![b'x'; length]));
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let received = speaker.next_event().await;
        assert!(matches!(received, Some(NetworkEvent::Accepted(..))), "{received:?}");
        speaker.act(received);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), read);
        let of_password = |problem: &crate::report::Problem| problem.what.starts_with("password");
        assert_eq!(speaker.problems().iter().any(of_password), read == 0);
    }
}

/// Neither being asked nor another's password makes a problem new.
#[tokio::test]
async fn a_problem_keeps_its_age() {
    netns::enter();
    let (mut speaker, _) = speaker(|bgp| {
        bgp.peers[0].password = Some(Password(vec![b'x'; 81]));
        let address = "127.0.0.2".parse().unwrap();
        bgp.peers.push(Peer { address, password: None, ..bgp.peers[0].clone() });
    });
    let since = |speaker: &Speaker, what: &str| {
        let problems = speaker.problems();
        let of_it = problems.iter().find(|problem| problem.what.starts_with(what));
        of_it.unwrap_or_else(|| panic!("{problems:?}")).since
    };
    speaker.keyless.values_mut().for_each(|(_, since)| *since = 7);
    let mut bgp = speaker.bgp.clone();
    bgp.peers[1].password = Some(Password(b"secret".to_vec()));
    speaker.reconfigure(bgp);
    assert_eq!(since(&speaker, "password of bgp peer 127.0.0.1"), 7);
    (speaker.identity, speaker.begun) = (None, 8);
    assert_eq!(since(&speaker, "bgp"), 8);
}

/// Connections made before a peer's key was set needed no key: they are closed, accepted or not.
/// From then on the key is required.
#[tokio::test]
async fn a_key_added_later_is_required_of_every_peer() {
    netns::enter();
    let (mut speaker, address) = speaker(|bgp| bgp.peers[0].address = "127.0.0.2".parse().unwrap());
    let mut accepted = TcpStream::connect(address).await.unwrap();
    let received = speaker.next_event().await;
    // Blocks the runtime: the kernel alone knows of it.
    let waiting = std::net::TcpStream::connect(address).unwrap();
    let mut bgp = speaker.bgp.clone();
    let mut peer = bgp.peers[0].clone();
    peer.address = Ipv4Addr::LOCALHOST.into();
    peer.password = Some(Password(b"secret".to_vec()));
    bgp.peers.push(peer);
    speaker.reconfigure(bgp);
    speaker.act(received);
    assert_eq!(accepted.read(&mut [0]).await.unwrap(), 0);
    waiting.set_nonblocking(true).unwrap();
    let mut waiting = TcpStream::from_std(waiting).unwrap();
    assert!(waiting.read(&mut [0]).await.is_err(), "it is reset");
    assert!(speaker.connections.is_empty());

    let patience = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(patience, TcpStream::connect(address)).await.is_err());
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    net::tcp::set_md5_key(&socket, address.ip(), b"secret").unwrap();
    let _signed = socket.connect(address).await.unwrap();
    let received = speaker.next_event().await;
    speaker.act(received);
    assert_eq!(speaker.connections.len(), 1);
}

/// A dial of the previous session had no password; its failure is not one of the new session.
#[tokio::test]
async fn a_dial_of_the_previous_session_does_not_count_for_the_new_one() {
    for listens in [true, false] {
        netns::enter();
        let port = 1790;
        let listen = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let _listener = listens.then(listen);
        let (mut speaker, _) = speaker(|bgp| {
            let peer = &mut bgp.peers[0];
            (peer.passive, peer.port) = (false, port);
        });
        let received = speaker.next_event().await;
        assert!(
            matches!(&received, Some(NetworkEvent::Dialled(_, _, dialled)) if dialled.is_ok() == listens)
        );
        let mut bgp = speaker.bgp.clone();
        bgp.peers[0].password = Some(Password(b"secret".to_vec()));
        speaker.reconfigure(bgp);
        speaker.act(received);
        assert!(speaker.connections.is_empty());
        let peer = speaker.peers.values().next().unwrap();
        assert_eq!((peer.session.state(), peer.session.last_error()), (State::Connect, None));
        assert!(peer.dialling.is_some());
    }
}

/// A port that is listened on stays so when another joins it.
#[tokio::test]
async fn it_listens_at_the_same_port_again() {
    netns::enter();
    let (mut speaker, address) = speaker(|_| {});
    // The task that accepts runs.
    let _stream = TcpStream::connect(address).await.unwrap();
    let mut bgp = speaker.bgp.clone();
    bgp.listen = vec![address, "[::1]:179".parse().unwrap()];
    speaker.reconfigure(bgp);
    assert_eq!(speaker.listeners.sockets.len(), 2);
    TcpStream::connect(address).await.unwrap();
}

/// An address that cannot be listened on is reported and retried; the old listeners remain.
#[tokio::test]
async fn a_failed_listen_keeps_the_old_listeners() {
    netns::enter();
    let (mut speaker, address) = speaker(|_| {});
    let mut bgp = speaker.bgp.clone();
    bgp.connect_retry = Duration::from_millis(10);
    speaker.reconfigure(bgp.clone());
    let wanted: SocketAddr = "127.0.0.1:1790".parse().unwrap();
    let taken = std::net::TcpListener::bind(wanted).unwrap();
    bgp.listen = vec![wanted, address];
    speaker.reconfigure(bgp);
    let of_it = |speaker: &Speaker| {
        speaker.problems().into_iter().find(|problem| problem.what == "bgp.listen")
    };
    for _ in 0..3 {
        TcpStream::connect(address).await.unwrap();
        let problem = of_it(&speaker).unwrap();
        assert!(
            problem.error.contains(&format!("{wanted}: Address already in use")),
            "{problem:?}"
        );
        let again = speaker.listen_failure.as_ref().unwrap().again;
        while speaker.listen_failure.as_ref().unwrap().again == again {
            let received = speaker.next_event().await;
            speaker.act(received);
        }
    }
    drop(taken);
    while of_it(&speaker).is_some() {
        let received = timeout(Duration::from_secs(20), speaker.next_event()).await.unwrap();
        speaker.act(received);
    }
    TcpStream::connect(wanted).await.unwrap();
    TcpStream::connect(address).await.unwrap();
}

/// An address may come later than the daemon: it listens there once it can.
#[tokio::test]
async fn it_listens_once_the_address_is_free() {
    netns::enter();
    let later: SocketAddr = "192.0.2.1:179".parse().unwrap();
    let (mut speaker, _) = speaker(|bgp| {
        (bgp.listen, bgp.connect_retry) = (vec![later], Duration::from_millis(10));
    });
    let problems = speaker.problems();
    let problem = problems.iter().find(|problem| problem.what == "bgp.listen").unwrap();
    assert!(problem.error.contains(&format!("cannot listen on {later}: ")), "{problem:?}");
    let address = net::address::add(1, later.ip().into(), false);
    net::Socket::open().unwrap().set(&address).unwrap();
    while speaker.listen_failure.is_some() {
        let received = timeout(Duration::from_secs(20), speaker.next_event()).await.unwrap();
        speaker.act(received);
    }
    TcpStream::connect(later).await.unwrap();
}

/// The kernel's routes to pods and the link-local ones of their links come and go all the time and
/// lead to no next hop.
#[tokio::test]
async fn routes_to_pods_cause_no_lookup_of_next_hops() {
    netns::enter();
    let (mut speaker, _) = speaker(|_| {});
    for (dst, protocol, moved) in [
        ("192.0.2.5/32", POD, false),
        ("fe80::/64", 2, false),
        ("192.0.2.5/32", 4, true),
        ("2001:db8:5::/64", 2, true),
    ] {
        let route = net::route::Route::new(dst.parse().unwrap(), None, 2);
        speaker.moved = false;
        speaker.events(&[net::Event::Route(net::route::Route { protocol, ..route })]);
        assert_eq!(speaker.moved, moved, "{dst}");
    }
}

/// A speaker with one connection, and the peer's end of it: this has sent its OPEN, and no more.
async fn connected() -> (Speaker, std::net::TcpStream) {
    let (mut speaker, address) = speaker(|_| ());
    let peer = std::net::TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let received = speaker.next_event().await;
    speaker.act(received);
    assert_eq!(speaker.connections.len(), 1);
    (speaker, peer)
}

/// Nothing else of the runtime runs after the stop.
#[tokio::test]
async fn a_stop_ends_when_the_peers_are_notified() {
    netns::enter();
    let (mut speaker, mut peer) = connected().await;
    speaker.stop().await;
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut peer, &mut all).unwrap();
    let cease = Notification::cease(cease::SHUTDOWN);
    assert!(all.ends_with(&codec::notification(&cease)), "{all:02x?}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_peer_that_reads_nothing() {
    netns::enter();
    let (mut speaker, _peer) = connected().await;
    // More than the kernel holds.
    let (_, connection) = speaker.connections.values().next().unwrap();
    connection.send(vec![0; 64 << 20]);
    // The writing task has its turn, and is at it when the session ends.
    tokio::task::yield_now().await;
    timeout(Duration::from_secs(20), speaker.stop()).await.unwrap();
}
