//! Where ours differs from the reference on purpose: a row for a scenario and a place in it.

/// One difference that is meant.
#[derive(Debug)]
pub struct Row {
    /// The scenario, by its name.
    pub scenario: &'static str,
    /// Where in its observations: a path, in which `*` stands for anything.
    pub at: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Row {
    /// Whether a path of an observation is what this row is about.
    pub fn covers(&self, place: &str) -> bool {
        let mut parts = self.at.split('*');
        let Some(rest) = place.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut rest = rest;
        let mut open = false;
        for part in parts {
            open = part.is_empty();
            let Some(found) = rest.find(part) else { return false };
            rest = &rest[found + part.len()..];
        }
        open || rest.is_empty()
    }
}

/// The scenario of a row that may concern any of them.
pub const EVERY: &str = "*";

/// The scenario that has to use each row of [`EVERY`]: one that differs no longer is told there.
pub const WITNESS: &str = "l2_bridge";

/// All of them.
pub const DIFFERENCES: &[Row] = &[
    row(
        EVERY,
        "*/node/sysctls/ipv6.conf.veth#*.disable_ipv6",
        "a bridge's port needs no IPv6: its addresses make every change of a link slower",
    ),
    row(
        EVERY,
        "*pod/sysctls/ipv6.conf.*.accept_ra",
        "a pod of ours takes no router advertisement of its neighbours; one of the reference does",
    ),
    row(
        "a_backend_that_nobody_knows",
        "ADD*",
        "Debian's 1.1.1 does not know ipMasqBackend (1.6 brought it) and ignores the key",
    ),
    row(
        "ipam_without_a_container_interface",
        "ADD*",
        "Debian's 1.1.1 does not know disableContainerInterface (1.4 brought it)",
    ),
    row("trunk_parsing", "*", "Debian's 1.1.1 does not know vlanTrunk (1.3 brought it)"),
    row(
        "isolated_ports",
        "isolated to isolated",
        "Debian's 1.1.1 does not know portIsolation (1.6 brought it)",
    ),
    row(
        "a_container_interface_that_stays_down",
        "ADD/pod/links/eth0/up",
        "Debian's 1.1.1 does not know disableContainerInterface (1.4 brought it)",
    ),
    row(
        "a_container_interface_that_stays_down",
        "*arp_notify",
        "ours sets it for every pod: an address may come later",
    ),
    row(
        "l2_vlan_trunk",
        "ADD",
        "Debian's 1.1.1 does not know vlanTrunk (1.3 brought it) and makes a plain port",
    ),
    row(
        "l2_vlan_trunk",
        "left in the pod*",
        "Debian's 1.1.1 does not know vlanTrunk and makes a plain port",
    ),
    row(
        "l2_vlan_trunk",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    row(
        "l2_vlan_trunk",
        "asked of the kernel*",
        "Debian's 1.1.1 does not know vlanTrunk and asks for no VLANs",
    ),
    row(
        "l2_vlan_on_a_bridge_that_is_there",
        "asked of the kernel/1",
        "ours refuses a bridge that cannot filter; the reference asks for the port's VLAN on it",
    ),
    row(
        "l2_vlan_on_a_bridge_that_is_there",
        "left in the pod*",
        "ours refuses before the pod is touched; a failed ADD of the reference leaves its veth",
    ),
    row(
        "l2_vlan",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    row(
        "l2_vlan_and_trunk",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    row(
        "l2_no_default_vlan",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    row(
        "ipam_that_is_missing",
        "links left in the pod*",
        "a failed ADD of the reference leaves its veth, so that the retry fails",
    ),
    row(
        "ipam_that_gives_no_address",
        "links left in the pod*",
        "a failed ADD of the reference leaves its veth, so that the retry fails",
    ),
    row(
        "macs_that_are_none",
        "runtimeConfig/links left",
        "ours validates everything first; the reference has made the bridge by then",
    ),
    row(
        "a_name_taken_in_the_pod",
        "ADD",
        "1.1.1 has an older wording; ours has that of the reference's later versions",
    ),
    row(
        "an_address_goes_back_after_an_error",
        "ADD again",
        "the failed ADD of the reference left its veth: the retry finds eth0 taken",
    ),
    row(
        "del_without_a_netns",
        "host veths left",
        "without a netns the reference leaves the veth of a pod that lives (#810, #811)",
    ),
    row(
        "l2_before_results_listed_interfaces",
        "left in the pod",
        "ours refuses before it touches anything; the reference leaves the veth",
    ),
    row(
        "l2_bridge",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    row(
        "no_gateway",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    row(
        "two_v4",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    row("l2_bridge", "*arp_notify", "ours sets it for every pod: an address may come later"),
    row("l2_check", "CHECK", "an attachment without IPAM always fails the reference's CHECK"),
    row(
        "a_route_with_host_bits",
        "ADD",
        "ours masks the route's host bits; the reference hands the kernel an invalid route",
    ),
    row(
        "default_gateway_and_a_route",
        "*",
        "the reference's ADD fails 'file exists' when IPAM brings the default route too",
    ),
    row(
        "dns_of_the_network",
        "dns {}*",
        "an empty dns leaves IPAM's, as in later versions of the reference; 1.1.1 drops it",
    ),
    row(
        "resolv_conf",
        "ADD/dns*",
        "a network without dns keeps IPAM's, as in later versions of the reference",
    ),
    row(
        "routes_of_many_kinds",
        "CHECK",
        "the reference's CHECK does not find routes that its own ADD made",
    ),
    row(
        "sysctls_and_queue_of_a_pod",
        "*keep_addr_on_down",
        "later versions of the reference set it; Debian's 1.1.1 does not",
    ),
    row(
        "sysctls_and_queue_of_a_pod",
        "txqlen",
        "1.1.1 makes links without a queue length, on which a qdisc set later drops all",
    ),
    row(
        "an_empty_lease_file",
        "*",
        "a file that a crash left empty blocks its address for ever in the reference (#498)",
    ),
    row(
        "names_of_ipv6_leases",
        "::ffff:*",
        "the reference takes these IPv6 addresses for IPv4 and names a file '?01'",
    ),
    row(
        "bounds_that_are_no_hosts",
        "*",
        "the reference leases the network's own address and its broadcast",
    ),
];

const fn row(scenario: &'static str, at: &'static str, reason: &'static str) -> Row {
    Row { scenario, at, reason }
}
