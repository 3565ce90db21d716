//! `dellink LINK`: deletes a link and nothing else. What DEL cannot be faster than, for
//! scripts/bench.

#![allow(clippy::expect_used, reason = "it ends with what it says")]

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

const RTM_DELLINK: u16 = 17;
/// NLM_F_REQUEST | NLM_F_ACK.
const FLAGS: u16 = 1 | 4;

fn main() {
    let link = std::env::args().nth(1).expect("usage: dellink LINK");
    let index = if_nametoindex(link.as_str()).expect("a link of that name");
    // struct nlmsghdr, struct ifinfomsg.
    let mut message = Vec::from(32_u32.to_ne_bytes());
    message.extend(RTM_DELLINK.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.resize(20, 0);
    message.extend(index.to_ne_bytes());
    message.resize(32, 0);
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .expect("a netlink socket");
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty()).expect("send");
    let mut reply = [0; 512];
    let length = recv(socket.as_raw_fd(), &mut reply, MsgFlags::empty()).expect("an answer");
    assert!(length >= 20 && reply[16..20] == [0; 4], "the kernel refuses: {:?}", &reply[..length]);
}
