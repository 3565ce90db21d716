//! TCP options that no crate sets.

use netlink::{Error, Result};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of the longest key (TCP_MD5SIG_MAXKEYLEN).
pub const MD5_KEY_MAX: usize = 80;

/// Bytes of struct tcp_md5sig (include/uapi/linux/tcp.h): a sockaddr_storage, flags, prefix length,
/// key length, interface, key.
const MD5SIG: usize = 128 + 1 + 1 + 2 + 4 + MD5_KEY_MAX;

/// From now on every segment between this socket and `peer` carries an MD5 digest with this key
/// (RFC 2385), and others are dropped; what a listening socket accepts inherits it. An empty key
/// takes the one of the peer away.
///
/// # Errors
/// The kernel was built without CONFIG_TCP_MD5SIG or runs in FIPS mode; the key is too long;
/// ENOENT when there is none to be taken away.
pub fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> Result<()> {
    let what = || format!("set the MD5 key of TCP connections with {peer}");
    let mut option = [0_u8; MD5SIG];
    let address: Vec<u8> = match peer {
        // struct sockaddr_in and sockaddr_in6, from the family to the address.
        IpAddr::V4(v4) => {
            [&(libc::AF_INET as u16).to_ne_bytes()[..], &[0; 2], &v4.octets()].concat()
        }
        IpAddr::V6(v6) => {
            [&(libc::AF_INET6 as u16).to_ne_bytes()[..], &[0; 6], &v6.octets()].concat()
        }
    };
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let parts = [(0, &address[..]), (130, &length.to_ne_bytes()[..]), (136, key)];
    for (at, bytes) in parts {
        let Some(place) = option.get_mut(at..at + bytes.len()) else {
            let reason = format!("it has {} bytes, and at most {MD5_KEY_MAX} fit", key.len());
            return Err(Error::of(what(), libc::EINVAL, reason));
        };
        place.copy_from_slice(bytes);
    }
    let done = set_option(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &option);
    done.map_err(|error| Error::io(what(), &error))
}

/// From now on packets to this socket with a lower TTL (hop limit of IPv6) are dropped before TCP
/// sees them, also those that a listening socket would answer; what it accepts inherits it. 0 takes
/// all.
///
/// # Errors
/// The socket is of the other family.
pub fn set_least_ttl(socket: &impl AsFd, v4: bool, least: u8) -> Result<()> {
    // include/uapi/linux/in6.h; libc does not have it for every target.
    const IPV6_MINHOPCOUNT: i32 = 73;
    let (level, name) = match v4 {
        true => (libc::IPPROTO_IP, libc::IP_MINTTL),
        false => (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT),
    };
    let done = set_option(socket, level, name, &i32::from(least).to_ne_bytes());
    done.map_err(|error| Error::io(format!("set the least TTL {least} of a socket"), &error))
}

/// Where the kernel chooses the source of this IPv6 socket, it takes no temporary address
/// (RFC 5014). Without effect on one of IPv4.
///
/// # Errors
/// The kernel refuses.
pub fn prefer_public_source(socket: &impl AsFd) -> Result<()> {
    // include/uapi/linux/in6.h
    const IPV6_ADDR_PREFERENCES: i32 = 72;
    const IPV6_PREFER_SRC_PUBLIC: i32 = 2;
    let value = IPV6_PREFER_SRC_PUBLIC.to_ne_bytes();
    match set_option(socket, libc::IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, &value) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        done => done.map_err(|error| Error::io("prefer a lasting source".to_owned(), &error)),
    }
}

pub(crate) fn set_option(
    socket: &impl AsFd,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    // SAFETY: the kernel reads the bytes of `value`, which lives to the end of the call, and keeps
    // no pointer; the descriptor is open as long as `socket` is borrowed.
    #[expect(unsafe_code, reason = "nix and socket2 do not know TCP_MD5SIG and its like")]
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Loopback's packets have a TTL of 64.
    #[test]
    fn packets_from_too_far_are_dropped() {
        for (any, v4) in [("127.0.0.1:0", true), ("[::1]:0", false)] {
            let listener = TcpListener::bind(any).unwrap();
            let address = listener.local_addr().unwrap();
            let patience = std::time::Duration::from_millis(300);
            set_least_ttl(&listener, v4, 65).unwrap();
            let refused = TcpStream::connect_timeout(&address, patience).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
            set_least_ttl(&listener, v4, 64).unwrap();
            let stream = TcpStream::connect(address).unwrap();
            prefer_public_source(&stream).unwrap();
        }
    }

    /// Segments of one who does not know the key are dropped: the connection never comes about.
    #[test]
    fn the_key_is_asked_for() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let address = listener.local_addr().unwrap();
            let peer = address.ip();
            set_md5_key(&listener, peer, b"secret").unwrap();
            let patience = std::time::Duration::from_millis(300);
            let refused = TcpStream::connect_timeout(&address, patience).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
            set_md5_key(&listener, peer, b"").unwrap();
            assert_eq!(set_md5_key(&listener, peer, b"").unwrap_err().errno, libc::ENOENT);
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"!").unwrap();
            let mut byte = [0];
            listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"!");
            assert!(set_md5_key(&listener, peer, &[b'x'; 81]).is_err());
        }
    }
}
