//! `[bgp]` and `[[bgp.peer]]` of `route-sync.toml`.

use bgp_speaker::codec::Communities;
use daemon::config::value::{boolean, cidr, number, path, text};
use daemon::config::{Faults, Table, Value};
use ipnetwork::IpNetwork;
use net::tcp::MD5_KEY_MAX;
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// BGP's port (RFC 4271 section 8.2.1).
pub const PORT: u16 = 179;

/// The speaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// `asn`.
    pub asn: u32,
    /// `router-id`; by default the node's first IPv4 address.
    pub router_id: Option<Ipv4Addr>,
    /// `listen`: where peers may connect to; nowhere by default.
    pub listen: Vec<SocketAddr>,
    /// `announce`; by default the node's pod CIDRs.
    pub announce: Option<Vec<IpNetwork>>,
    /// `communities` of what is announced (RFC 1997, RFC 8092).
    pub communities: Communities,
    /// `import-cidrs`, by default `cluster-cidrs`: what is learned counts only inside of them.
    pub import_cidrs: Vec<IpNetwork>,
    /// The key `import-cidrs` is written: an empty list is meant.
    pub import_written: bool,
    /// `import-max-length-ipv4` and `-ipv6`: more specific prefixes do not count.
    pub import_max_length: (u8, u8),
    /// `hold-time` to offer, in seconds; 0 for a session without keepalives.
    pub hold_time: u16,
    /// `connect-retry`.
    pub connect_retry: Duration,
    /// `stale-time`: how long routes of an earlier run stay although a peer has not sent its own.
    pub stale_time: Duration,
    /// `[[bgp.peer]]`, each with an address of its own.
    pub peers: Vec<Peer>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `address`.
    pub address: IpAddr,
    /// `port` that is dialled.
    pub port: u16,
    /// `asn`; the speaker's own makes it iBGP.
    pub asn: u32,
    /// What `password-file` holds.
    pub password: Option<Password>,
    /// `multihop`: TTL of what is sent. By default 1 to peers of another AS, the kernel's for iBGP.
    pub multihop: Option<u8>,
    /// `ttl-security`: packets of the session have a TTL of 255, and of the peer's those with less
    /// than that less its `multihop` are dropped (RFC 5082).
    pub ttl_security: bool,
    /// `passive`: never dialled.
    pub passive: bool,
    /// `local-address` of the session; by default the kernel's choice.
    pub local_address: Option<IpAddr>,
    /// `extended-next-hop`: offer IPv6 next hops for IPv4 (RFC 8950).
    pub extended_next_hop: bool,
    /// `allowas-in`: how often the speaker's own AS may be in a path.
    pub allowas_in: u8,
    /// `enforce-first-as`: what comes by a path that does not begin with `asn` counts as withdrawn.
    pub enforce_first_as: bool,
    /// `max-prefixes`: how many prefixes of each family may be admitted before the session ends.
    pub max_prefixes: u32,
}

/// `max-prefixes` unless configured: some times what the largest clusters need. So many IPv4 routes
/// with equal attributes take 130 MB (`scripts/bench --only flaps`: 65 MB for 100,000); with the
/// largest that are kept of each path, see [`COMMUNITIES_MAX`](bgp_speaker::rib::COMMUNITIES_MAX)
/// and what is beside it, up to 1 KB each on top.
const MAX_PREFIXES: u32 = 200_000;

/// The key of TCP MD5 (RFC 2385).
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

/// Logs and panics do not show it.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Peer {
    /// With `ttl-security`, the lowest TTL that a packet of the peer can have here: one less for
    /// each router between.
    pub fn least_ttl(&self) -> Option<u8> {
        self.ttl_security.then(|| u8::MAX - (self.multihop.unwrap_or(1) - 1))
    }
}

impl Bgp {
    /// What the configuration can hardly mean, and what to do.
    pub fn warning(&self) -> Option<&'static str> {
        (self.import_cidrs.is_empty() && !self.import_written).then_some(
            "[bgp] has neither import-cidrs nor cluster-cidrs, so nothing that peers announce is \
             taken; write cluster-cidrs, or import-cidrs under [bgp] ([] if this is meant)",
        )
    }

    /// This peer is of the speaker's own AS.
    pub fn is_internal(&self, peer: &Peer) -> bool {
        self.asn == peer.asn
    }
}

/// Reads `[bgp]`; `None` when there is none, or with a fault.
pub(crate) fn read(top: &mut Table, cluster: &[IpNetwork], faults: &mut Faults) -> Option<Bgp> {
    if !top.has("bgp") {
        return None;
    }
    let mut table = top.table("bgp", faults);
    let asn = required(&mut table, "asn", faults, asn);
    let before = faults.count();
    let imported = table.has("import-cidrs");
    let import_cidrs = table.list("import-cidrs", faults, cidr);
    let announced = table.has("announce");
    let announce = table.list("announce", faults, cidr);
    let mut bgp = Bgp {
        asn: asn.unwrap_or(0),
        router_id: table.read("router-id", faults, router_id),
        listen: table.list("listen", faults, |value, _| listen(value)),
        announce: announced.then_some(announce),
        communities: communities(&mut table, faults),
        import_cidrs: if imported { import_cidrs } else { cluster.to_vec() },
        import_written: imported,
        import_max_length: (
            table.read("import-max-length-ipv4", faults, number(1, 32)).unwrap_or(32),
            table.read("import-max-length-ipv6", faults, number(1, 128)).unwrap_or(128),
        ),
        hold_time: table.read("hold-time", faults, hold_time).unwrap_or(90),
        connect_retry: seconds(&mut table, "connect-retry", faults, 10),
        stale_time: seconds(&mut table, "stale-time", faults, 120),
        peers: vec![],
    };
    bgp.peers = peers(&mut table, &bgp, faults);
    table.finish(faults);
    if bgp.peers.is_empty() && faults.count() == before {
        faults.add_whole("[bgp] has no peer: write [[bgp.peer]] with address and asn for each one");
    }
    asn.map(|_| bgp)
}

fn peers(table: &mut Table, bgp: &Bgp, faults: &mut Faults) -> Vec<Peer> {
    let mut peers = vec![];
    let mut known = BTreeSet::new();
    for mut table in table.tables("peer", faults) {
        let address = required(&mut table, "address", faults, |value| {
            let address = address(value)?;
            let new = known.insert(address);
            new.then_some(address).ok_or_else(|| "it is another peer's too; write it once".into())
        });
        let asn = required(&mut table, "asn", faults, asn);
        let passive = table.read("passive", faults, |value| passive(value, address, bgp));
        let peer = Peer {
            address: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
            port: table.read("port", faults, number(1, u16::MAX)).unwrap_or(PORT),
            asn: asn.unwrap_or(0),
            password: table.read("password-file", faults, password),
            multihop: table.read("multihop", faults, number(2, 255)),
            ttl_security: table.read("ttl-security", faults, boolean).unwrap_or(false),
            passive: passive.unwrap_or(false),
            local_address: table.read("local-address", faults, |value| local(value, address)),
            extended_next_hop: table
                .read("extended-next-hop", faults, boolean)
                .unwrap_or_else(|| address.is_some_and(|address| address.is_ipv6())),
            allowas_in: table.read("allowas-in", faults, number(0, 10)).unwrap_or(0),
            enforce_first_as: table.read("enforce-first-as", faults, boolean).unwrap_or(true),
            max_prefixes: table
                .read("max-prefixes", faults, number(1, u32::MAX))
                .unwrap_or(MAX_PREFIXES),
        };
        table.finish(faults);
        if address.is_some() && asn.is_some() {
            peers.push(peer);
        }
    }
    peers
}

/// A key that must be there.
fn required<T>(
    table: &mut Table,
    key: &'static str,
    faults: &mut Faults,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<T> {
    if !table.has(key) {
        let example = if key == "asn" { "65001" } else { "\"192.0.2.1\"" };
        let what = format!("{} is missing: write it, as {key} = {example}", table.name(key));
        faults.add(table.at(), what);
    }
    table.read(key, faults, read)
}

fn seconds(table: &mut Table, key: &'static str, faults: &mut Faults, default: u32) -> Duration {
    let seconds = table.read(key, faults, number(1, 65_535_u32)).unwrap_or(default);
    Duration::from_secs(seconds.into())
}

/// 0 must not be used (RFC 7607), 23456 stands for larger ones (RFC 6793), 65535 and 4294967295 are
/// reserved (RFC 7300).
fn asn(value: &Value) -> Result<u32, String> {
    let asn = number(1, u32::MAX - 1)(value)?;
    match asn {
        23_456 | 65_535 => Err("it is reserved; write the AS number that was assigned, or a \
                                private one, as 64512 to 65534"
            .to_owned()),
        _ => Ok(asn),
    }
}

fn router_id(value: &Value) -> Result<Ipv4Addr, String> {
    let id = text(value)?.parse::<Ipv4Addr>().ok().filter(|id| !id.is_unspecified());
    id.ok_or_else(|| "write it as an IPv4 address, such as \"192.0.2.11\"".to_owned())
}

fn listen(value: &Value) -> Result<SocketAddr, String> {
    let text = text(value)?;
    let bare = text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT));
    let listen = bare.or_else(|| text.parse().ok()).filter(|listen| listen.port() != 0);
    listen.ok_or_else(|| {
        "write an address, with a port where it is not 179, as \"0.0.0.0\" or \"[::]:1179\""
            .to_owned()
    })
}

fn communities(table: &mut Table, faults: &mut Faults) -> Communities {
    let mut communities = Communities::default();
    table.list("communities", faults, |value, _: &[()]| {
        communities.add(text(value)?).map_err(|_| {
            "write two numbers up to 65535, as \"65001:100\", three up to 4294967295, as \
             \"65001:1:2\", or a name, as \"no-export\" or \"graceful-shutdown\""
                .to_owned()
        })
    });
    communities
}

fn hold_time(value: &Value) -> Result<u16, String> {
    let seconds = number(0, u16::MAX)(value)?;
    match seconds {
        1 | 2 => Err("write 0, or 3 and more (RFC 4271 section 4.2)".to_owned()),
        _ => Ok(seconds),
    }
}

fn address(value: &Value) -> Result<IpAddr, String> {
    let address = text(value)?.parse::<IpAddr>().ok();
    let special = |address: &IpAddr| {
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        address.is_unspecified() || address.is_multicast() || address.is_loopback() || link_local
    };
    address.filter(|address| !special(address)).ok_or_else(|| {
        "write an address that identifies one host, as \"192.0.2.1\" or \"2001:db8::1\"".to_owned()
    })
}

fn passive(value: &Value, address: Option<IpAddr>, bgp: &Bgp) -> Result<bool, String> {
    let passive = boolean(value)?;
    let family = |listen: &SocketAddr| address.is_none_or(|a| a.is_ipv4() == listen.is_ipv4());
    if passive && !bgp.listen.iter().any(family) {
        let any = if address.is_some_and(|address| address.is_ipv6()) { "::" } else { "0.0.0.0" };
        return Err(format!(
            "then it has to connect, and nothing listens: write listen = [\"{any}\"] under [bgp]"
        ));
    }
    Ok(passive)
}

fn local(value: &Value, peer: Option<IpAddr>) -> Result<IpAddr, String> {
    let local = address(value)?;
    match peer {
        Some(peer) if peer.is_ipv4() != local.is_ipv4() => {
            Err(format!("it is of another family than {peer}, the peer's address"))
        }
        _ => Ok(local),
    }
}

/// More than a password and white space around it, in bytes.
const PASSWORD_FILE_MAX: u64 = 64 << 10;

fn password(value: &Value) -> Result<Password, String> {
    let path = path(value)?;
    let text = node::files::read(&path, PASSWORD_FILE_MAX)
        .map_err(|error| format!("cannot read it: {error}"))?;
    let key = text.trim_ascii_end();
    if key.is_empty() || key.len() > MD5_KEY_MAX {
        let length = key.len();
        return Err(format!("the password in it has {length} bytes: write 1 to {MD5_KEY_MAX}"));
    }
    Ok(Password(key.to_vec()))
}

#[cfg(test)]
mod tests;
