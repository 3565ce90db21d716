//! A server on a link of its own, which is a port of the node's bridge.

use crate::dhcp::PATIENCE;
use crate::node::Place;
use crate::{Background, Node, Pod, within};

/// The server's address, which is also the pods' gateway.
pub const SERVER: &str = "10.9.0.1";

/// A node with a bridge, and a machine with a server on it.
pub struct Lan {
    /// The node, whose bridge is `cni0`.
    pub node: Node,
    /// The machine, at [`SERVER`], where no server runs yet.
    pub server: Node,
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Lan {
    /// Both, connected.
    pub fn new() -> Self {
        let lan = Self { node: Node::new(), server: Node::new() };
        let netns = lan.server.ns().net_path();
        lan.node.sh(&format!(
            "ip link add cni0 type bridge; ip link set cni0 up
             ip link add lan0 type veth peer name eth0 netns {}
             ip link set lan0 master cni0 up",
            netns.display()
        ));
        lan.server.sh(&format!("ip addr add {SERVER}/24 dev eth0; ip link set eth0 up"));
        lan
    }

    /// dhcpd, which leases addresses of the last byte's range for `seconds`.
    pub fn dhcpd(&self, seconds: u32, range: (u8, u8), more: &str) -> Background {
        let (first, last) = range;
        self.server.write(
            "/run/dhcpd.conf",
            &format!(
                "authoritative;
                default-lease-time {seconds}; max-lease-time {seconds}; min-lease-time {seconds};
                ping-check false;
                subnet 10.9.0.0 netmask 255.255.255.0 {{
                    range 10.9.0.{first} 10.9.0.{last};
                    option routers {SERVER};
                    {more}
                }}\n"
            ),
        );
        self.server.sh("touch /run/dhcpd.leases");
        let command = "dhcpd -4 -f -q -cf /run/dhcpd.conf -lf /run/dhcpd.leases --no-pid eth0";
        Self::listening(&self.server, self.server.spawn(command))
    }

    /// dnsmasq, with these options.
    pub fn dnsmasq(&self, options: &str) -> Background {
        Self::dnsmasq_on(&self.server, options)
    }

    /// Another machine on the link, at 10.9.0.2, with a dnsmasq of these options.
    pub fn rogue(&self, options: &str) -> (Node, Background) {
        let rogue = Node::new();
        self.node.sh(&format!(
            "ip link add lan1 type veth peer name eth0 netns {}
             ip link set lan1 master cni0 up",
            rogue.ns().net_path().display()
        ));
        rogue.sh("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up");
        let server = Self::dnsmasq_on(&rogue, options);
        (rogue, server)
    }

    fn dnsmasq_on(machine: &Node, options: &str) -> Background {
        let command = format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --interface=eth0 --user=root \
             --bind-interfaces --no-ping --pid-file= --dhcp-leasefile=/run/dnsmasq.leases {options}"
        );
        Self::listening(machine, machine.spawn(&command))
    }

    fn listening(machine: &Node, mut server: Background) -> Background {
        let bound = || {
            let sockets = machine.run("ss -luanH sport = :67");
            (!sockets.trim().is_empty()).then_some(())
        };
        if within(PATIENCE, bound).is_none() {
            panic!("the server does not listen; it runs: {}", server.running());
        }
        server
    }

    /// What dhcpd noted last of an address: `active`, `free`, `released`, ….
    pub fn state_of(&self, address: &str) -> String {
        let text = self.server.read("/run/dhcpd.leases");
        let entries =
            text.split("lease ").filter(|entry| entry.starts_with(&format!("{address} ")));
        let last = entries.last().unwrap_or_default();
        let state = last.lines().find_map(|line| line.trim().strip_prefix("binding state "));
        state.unwrap_or("none").trim_end_matches(';').to_owned()
    }

    /// Waits until dhcpd has an address in this state.
    #[track_caller]
    pub fn becomes(&self, address: &str, state: &str) {
        let same = || (self.state_of(address) == state).then_some(());
        within(PATIENCE, same)
            .unwrap_or_else(|| panic!("{address} is {}, not {state}", self.state_of(address)));
    }
}

/// A pod's address without the prefix's length.
pub fn address(pod: &Pod) -> String {
    let all = pod.addresses("eth0");
    let first = all.first().expect("an address");
    first.split('/').next().unwrap_or_default().to_owned()
}
