//! Frames of one link that carry UDP over IPv4 to one port, for programs that must speak before the
//! link has an address (packet(7)).

use crate::monitor::attach;
use crate::{Error, Mac, Result, not_astray};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A packet socket, which does not block. It stays on its link and in the link's network namespace,
/// whatever the thread does afterwards.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    mac: Mac,
}

impl PacketSocket {
    /// Opens a socket on a link of the calling thread's network namespace, which receives IPv4 frames
    /// with UDP to `port`. The kernel drops all others before they wake anybody. (To open and to
    /// close one takes the kernel 10 ms: it waits until no processor handles a frame for it,
    /// `synchronize_net` in net/packet/af_packet.c.)
    ///
    /// # Errors
    /// There is no such link (ENODEV), or the kernel refuses.
    pub fn open(link: &str, port: u16) -> Result<PacketSocket> {
        not_astray()?;
        let failed = |errno: nix::Error| {
            Error::of(format!("open a packet socket on {link}"), errno as i32, "")
        };
        let address = address_of(link).map_err(failed)?;
        let address =
            address.ok_or_else(|| Error::of(format!("look up {link}"), libc::ENODEV, ""))?;
        let Some(mac) = address.addr() else {
            return Err(Error::of(
                format!("look up {link}"),
                libc::EOPNOTSUPP,
                "it has no MAC address",
            ));
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthIp);
        let socket = socket.map_err(failed)?;
        attach(&socket, &program(port))
            .map_err(|error| Error::io(format!("filter the frames of {link}"), &error))?;
        bind(socket.as_raw_fd(), &address).map_err(failed)?;
        Ok(PacketSocket { socket, mac: Mac(mac) })
    }

    /// The link's MAC address when the socket was opened.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame as it is, Ethernet header included.
    ///
    /// # Errors
    /// The kernel's: ENETDOWN, ENXIO where the link is gone, EAGAIN.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)?)
    }

    /// Receives a frame, Ethernet header included; `WouldBlock` where there is none.
    ///
    /// # Errors
    /// The kernel's: ENETDOWN once where the link goes down.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), frame, MsgFlags::empty())?)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The link's address for bind(2), as getifaddrs(3) returns it.
fn address_of(link: &str) -> nix::Result<Option<LinkAddr>> {
    let mut all = getifaddrs()?.filter(|one| one.interface_name == link);
    Ok(all.find_map(|one| one.address?.as_link_addr().copied()))
}

/// Offsets in a frame, in bytes: of IPv4's protocol and fragment offset, and of its header.
const PROTOCOL: u32 = 14 + 9;
const FRAGMENT: u32 = 14 + 6;
const HEADER: u32 = 14;

/// UDP, no later fragment, to the port.
fn program(port: u16) -> [libc::sock_filter; 9] {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let some = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    let (load, give) = (libc::BPF_LD | libc::BPF_ABS, libc::BPF_RET | libc::BPF_K);
    [
        step(load | libc::BPF_B, 0, 0, PROTOCOL),
        step(equal, 0, 5, libc::IPPROTO_UDP as u32),
        step(load | libc::BPF_H, 0, 0, FRAGMENT),
        step(some, 3, 0, 0x1fff),
        // The length of IPv4's header; the destination port is 2 bytes behind it.
        step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, HEADER),
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, HEADER + 2),
        step(equal, 1, 0, u32::from(port)),
        step(give, 0, 0, 0),
        step(give, 0, 0, u32::MAX),
    ]
}
