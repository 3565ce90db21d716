//! One node and one router with BIRD on a wire.

use crate::bird::Bird;
use crate::speaker::Speaker;
use ferrule_tests::node::Place;

pub const NODE: &str = "172.16.0.1";
pub const ROUTER: &str = "172.16.0.2";
pub const NODE6: &str = "2001:db8:f::1";
pub const ROUTER6: &str = "2001:db8:f::2";
/// What the router announces.
pub const ANNOUNCED: &str = "10.244.9.0/24";
pub const ANNOUNCED6: &str = "fd00:10:244:9::/64";

pub struct Pair {
    pub node: Speaker,
    pub router: Bird,
}

impl Pair {
    /// Wired; nothing runs yet.
    pub fn new() -> Pair {
        let router = Bird::new();
        Pair { node: wired(&router), router }
    }

    /// Starts BIRD with this peer configuration and what it announces.
    pub fn start_router(&mut self, words: &str) {
        self.router.start("192.0.2.254", &router(words));
    }

    /// Writes the node's configuration: under `[bgp]` and under its one peer, and starts it.
    pub fn start_node(&mut self, bgp: &str, peer: &str) {
        self.configure(bgp, peer);
        self.node.start();
    }

    pub fn configure(&self, bgp: &str, peer: &str) {
        self.node.configure(&format!(
            "[bgp]\nasn = 65001\nconnect-retry = 1\n{bgp}\n[[bgp.peer]]\naddress = \"{ROUTER}\"\n\
             asn = 65100\n{peer}\n"
        ));
    }

    /// eBGP that works, and is up.
    pub fn up() -> Pair {
        let mut pair = Pair::new();
        pair.start_router("");
        pair.start_node("", "");
        pair.node.is_up();
        pair.node.learns(ANNOUNCED, 1);
        pair.node.learns(ANNOUNCED6, 1);
        pair
    }
}

/// Node 1 on a wire to a router, with the addresses of a [`Pair`].
pub fn wired(router: &impl Place) -> Speaker {
    let node = Speaker::new(1);
    let near = ["172.16.0.1/24", "2001:db8:f::1/64"];
    let far = ["172.16.0.2/24", "2001:db8:f::2/64"];
    node.wire("up0", router, "node1", [&near, &far]);
    node
}

/// BIRD's side: `words` go into its protocol.
pub fn router(words: &str) -> String {
    format!(
        "protocol static s4 {{ ipv4; route {ANNOUNCED} unreachable; }}
         protocol static s6 {{ ipv6; route {ANNOUNCED6} unreachable; }}
         protocol bgp node {{
           local {ROUTER} as 65100; neighbor {NODE} as 65001;
           connect delay time 1; connect retry time 1; error wait time 1, 2; {words}
           ipv4 {{ import all; export all; }};
           ipv6 {{ import all; export all; next hop address {ROUTER6}; }};
         }}\n"
    )
}
