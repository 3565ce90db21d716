//! Packet sockets.

use crate::common::{in_netns, ip, ip_in, new_netns};
use net::PacketSocket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::net::UdpSocket;
use std::os::fd::AsFd;

fn wait(socket: &PacketSocket) {
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut ready, PollTimeout::from(20_000u16)), Ok(1), "nothing arrived");
}

/// The frames of another port, of another protocol and of another link never arrive; the socket works
/// from outside of its namespace.
#[test]
fn a_packet_socket_receives_one_port_of_one_link() {
    in_netns(|| {
        let pod = new_netns();
        ip("link set lo up");
        for (near, far, net) in [("near", "eth0", 1), ("other", "eth1", 2)] {
            let netns = format!("/proc/{}/fd/{}", std::process::id(), pod.raw_fd());
            ip(&format!("link add {near} up type veth peer name {far} netns {netns}"));
            ip(&format!("addr add 192.0.{net}.1/24 dev {near}"));
            ip_in(&pod, &format!("link set {far} up"));
            ip(&format!("neigh add 192.0.{net}.2 lladdr 02:00:00:00:00:99 dev {near}"));
        }
        let socket = pod.enter(|| PacketSocket::open("eth0", 68)).unwrap();
        let mut frame = [0; 2048];
        assert_eq!(socket.receive(&mut frame).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        for to in ["192.0.1.2:67", "192.0.2.2:68", "192.0.1.2:6868", "192.0.1.2:68"] {
            sender.send_to(to.as_bytes(), to).unwrap();
        }
        wait(&socket);
        let length = socket.receive(&mut frame).unwrap();
        assert!(frame[..length].ends_with(b"192.0.1.2:68"), "{:?}", &frame[..length]);
        assert!(socket.receive(&mut frame).is_err(), "one frame and no more");
        // What it sends arrives at the other end of its own link.
        let near = PacketSocket::open("near", 67).unwrap();
        frame[36..38].copy_from_slice(&67u16.to_be_bytes());
        socket.send(&frame[..length]).unwrap();
        wait(&near);
        assert_eq!(near.receive(&mut frame).unwrap(), length);
        assert_ne!(near.mac(), socket.mac());
        assert!(pod.enter(|| PacketSocket::open("eth9", 68)).unwrap_err().is_gone());
    });
}
