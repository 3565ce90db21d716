//! Servers that send each client the address that they see: socat gives the address to the program that it
//! starts, which prints it to the client.

use std::time::Duration;

use ferrule_tests::node::{Place, words};
use ferrule_tests::{Background, within};

/// A server in a place, of each family, until it is dropped.
pub struct Server {
    protocol: &'static str,
    _families: [Background; 2],
}

impl Server {
    /// Listens for TCP or SCTP at a port.
    pub fn at(place: &impl Place, protocol: &'static str, port: u16) -> Server {
        let of_family = |(family, only): (u8, &str)| {
            let listen = format!("{protocol}{family}-LISTEN:{port},fork,reuseaddr{only}");
            Background::start(place.ns(), &words(&format!("socat -U {listen} EXEC:env")))
        };
        Server { protocol, _families: [(4, ""), (6, ",ipv6only")].map(of_family) }
    }

    /// The address by which the server sees `from`, which connects to this address and port.
    #[track_caller]
    pub fn sees(&self, from: &impl Place, address: &str, port: u16) -> String {
        let (family, shown) = if address.contains(':') {
            (6, format!("[{address}]"))
        } else {
            (4, address.to_owned())
        };
        let connect = format!(
            "socat -u {}{family}-CONNECT:{shown}:{port},connect-timeout=5 -",
            self.protocol
        );
        let ask = || {
            let done = from.try_run(&connect);
            let peer = done.stdout.lines().find_map(|line| line.strip_prefix("SOCAT_PEERADDR="));
            peer.map(|peer| in_short(peer.trim_matches(['[', ']'])))
        };
        let seen = within(Duration::from_secs(10), ask);
        assert!(seen.is_some(), "no answer to `{connect}`");
        seen.unwrap_or_default()
    }
}

/// socat writes IPv6 addresses in full.
fn in_short(address: &str) -> String {
    address.parse::<std::net::IpAddr>().map_or_else(|_| address.to_owned(), |ip| ip.to_string())
}
