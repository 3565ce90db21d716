//! Frames of a host that pretends to be a router: advertisements and redirects, which no pod should
//! take from a pod.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::node::Place;
use crate::raw::{self, Mac};

/// What an advertisement promises: addresses of this subnet, and a default route.
pub const PREFIX: &str = "2001:db8:bad::";
/// What IPv4 redirects lead astray.
pub const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// What IPv6 redirects lead astray.
pub const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9);
/// The router that IPv6 redirects pretend to be from.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);

/// The link-local address that a MAC address makes (RFC 4291 appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let word = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f))
}

/// A router advertisement to all nodes of the link, in a frame to one MAC address: a default route
/// for half an hour and the prefix [`PREFIX`].
pub fn advertisement(from: Mac, to: Mac) -> Vec<u8> {
    let prefix: Ipv6Addr = PREFIX.parse().expect("an address");
    let head = [134, 0, 0, 0, 64, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let lifetimes = [0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0];
    let option = [&[3, 4, 64, 0xc0][..], &lifetimes, &prefix.octets()].concat();
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    icmp6((from, link_local(from)), (to, all), [&head[..], &option].concat())
}

/// An IPv6 redirect of [`FAR6`] from [`ROUTER6`] to the sender itself.
pub fn redirect6(from: Mac, to: Mac) -> Vec<u8> {
    let own = link_local(from).octets();
    let head = [137, 0, 0, 0, 0, 0, 0, 0];
    let body = [&head[..], &own, &FAR6.octets(), &[2, 1], &from].concat();
    icmp6((from, ROUTER6), (to, link_local(to)), body)
}

/// An IPv4 redirect of [`FAR4`] from a gateway to another address, for a host that sent there.
pub fn redirect4(
    from: Mac,
    to: Mac,
    gateway: Ipv4Addr,
    astray: Ipv4Addr,
    host: Ipv4Addr,
) -> Vec<u8> {
    let sent = ip4(host, FAR4, &ECHO_REPLY);
    let mut icmp = [&[5, 1, 0, 0][..], &astray.octets(), &sent].concat();
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    [&to[..], &from, &[0x08, 0], &ip4(gateway, host, &icmp)].concat()
}

/// The kernel takes a redirect of its own echo replies at once, and of others by their sockets
/// (net/ipv4/icmp.c, icmp_err).
const ECHO_REPLY: [u8; 8] = [0, 0, 0xff, 0xff, 0, 0, 0, 0];

/// What a place took of all this: addresses and routes, as iproute2 shows them.
pub fn taken(place: &impl Place, astray: Ipv4Addr) -> Vec<String> {
    let shown = place.sh(&format!(
        "ip -6 -o addr show; ip -6 route show; ip route get {FAR4} || true
         ip -6 route get {FAR6} || true"
    ));
    let by = format!("{FAR4} via {astray} ");
    let wrong = |line: &&str| {
        let six = line.starts_with(&format!("{FAR6} from :: via fe80:"))
            && !line.contains(&format!("{ROUTER6} "));
        line.contains("proto ra") || line.contains("2001:db8:bad:") || line.contains(&by) || six
    };
    shown.lines().filter(wrong).map(str::to_owned).collect()
}

/// The MAC address of a place's interface.
pub fn mac_of(place: &impl Place, link: &str) -> Mac {
    raw::mac(place.link(link).expect("the link")["address"].as_str().expect("a MAC address"))
}

fn icmp6(from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), mut body: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short packet").to_be_bytes();
    let (source, target) = (from.1.octets(), to.1.octets());
    let pseudo = [&source[..], &target, &[0, 0], &length, &[0, 0, 0, 58], &body].concat();
    body[2..4].copy_from_slice(&checksum(&pseudo));
    let header = [&[0x60, 0, 0, 0], &length[..], &[58, 255], &source, &target].concat();
    [&to.0[..], &from.0, &[0x86, 0xdd], &header, &body].concat()
}

fn ip4(source: Ipv4Addr, target: Ipv4Addr, icmp: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + icmp.len()).expect("a short packet").to_be_bytes();
    let head = [0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, 1, 0, 0];
    let mut header = [&head[..], &source.octets(), &target.octets()].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&header[..], icmp].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).expect("16 bits")).to_be_bytes()
}
