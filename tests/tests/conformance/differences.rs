//! Where ours differs from the reference on purpose: a row for a scenario and a place in it.

/// Who is right where the two differ. Were it the reference, it would be a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Ours: the reference has a fault here, or does not do it.
    Ours,
    /// Either: what is seen differs, what users have of it does not.
    Either,
}

/// One difference that is meant.
#[derive(Debug)]
pub struct Row {
    /// The scenario, by its name.
    pub scenario: &'static str,
    /// Where in its observations: a path, in which `*` stands for anything.
    pub at: &'static str,
    /// Who is right.
    pub right: Right,
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

/// The scenario that has to use each row of [`EVERY`]: a row that is not used fails there.
pub const WITNESS: &str = "l2_bridge";

/// All of them; the reference is v1.10.0.
pub const DIFFERENCES: &[Row] = &[
    either(
        EVERY,
        "*/node/sysctls/ipv6.conf.veth#*.disable_ipv6",
        "a bridge's port needs no IPv6: its addresses make every change of a link slower",
    ),
    ours(
        EVERY,
        "*/pod/sysctls/ipv6.conf.*.accept_ra",
        "a pod of the reference takes addresses and routes from whoever announces them",
    ),
    ours(
        EVERY,
        "*ADD/interfaces/*/mtu",
        "1.1.0 has the MTU of each interface in the result; the reference leaves it out",
    ),
    ours(
        "an_unknown_backend",
        "ADD/links left",
        "ours validates everything first; the reference has made bridge and veth by then",
    ),
    ours(
        "trunk_that_is_no_trunk",
        "*",
        "an empty list asks for no VLANs: the reference filters all the same, and fails here",
    ),
    either(
        "a_container_interface_that_stays_down",
        "*/pod/sysctls/*.arp_notify",
        "ours sets it for every pod: an address may come later",
    ),
    either(
        "l2_bridge",
        "*/pod/sysctls/*.arp_notify",
        "ours sets it for every pod: an address may come later",
    ),
    ours(
        "l2_vlan_trunk",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    ours(
        "l2_vlan_on_a_bridge_that_is_there",
        "asked of the kernel/1",
        "ours refuses a bridge that cannot filter; the reference asks for the port's VLAN on it",
    ),
    ours(
        "l2_vlan_on_a_bridge_that_is_there",
        "left in the pod*",
        "ours refuses before the pod is touched; a failed ADD of the reference leaves its veth",
    ),
    ours(
        "l2_vlan",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    ours(
        "l2_vlan_and_trunk",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    ours(
        "l2_no_default_vlan",
        "what ADD says",
        "ours names the VLAN where the kernel says 'operation not supported'",
    ),
    ours(
        "ipam_that_is_missing",
        "links left in the pod*",
        "a failed ADD of the reference leaves its veth, so that the retry fails",
    ),
    ours(
        "ipam_that_gives_no_address",
        "links left in the pod*",
        "a failed ADD of the reference leaves its veth, so that the retry fails",
    ),
    ours(
        "macs_that_are_none",
        "runtimeConfig/links left",
        "ours validates everything first; the reference has made the bridge by then",
    ),
    ours(
        "an_address_goes_back_after_an_error",
        "ADD again",
        "the failed ADD of the reference left its veth: the retry finds eth0 taken",
    ),
    ours(
        "del_without_a_netns",
        "host veths left",
        "without a netns the reference leaves the veth of a pod that lives (#810, #811)",
    ),
    ours(
        "l2_before_results_listed_interfaces",
        "left in the pod",
        "ours refuses before it touches anything; the reference leaves the veth",
    ),
    ours(
        "l2_bridge",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    ours(
        "no_gateway",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    ours(
        "two_v4",
        "ADD/interfaces/1/mac",
        "ours pins the bridge's MAC; the reference's bridge has that of its first port",
    ),
    ours(
        "a_route_with_host_bits",
        "ADD",
        "ours masks the route's host bits; the reference hands the kernel an invalid route",
    ),
    ours(
        "default_gateway_and_a_route",
        "*",
        "the reference's ADD fails 'file exists' when IPAM brings the default route too",
    ),
    ours(
        "an_empty_lease_file",
        "*",
        "a file that a crash left empty blocks its address for ever in the reference (#498)",
    ),
    ours(
        "bounds_that_are_no_hosts",
        "*",
        "the reference leases the network's own address and its broadcast",
    ),
    ours(
        "a_gateway_outside",
        "ADD*",
        "routed hosts have one, and earlier versions of the reference take it: it is on-link",
    ),
    ours(
        "gc_of_a_bridge",
        "links of the other*",
        "no main plugin of the reference has GC: what is not listed keeps its veth and rules",
    ),
    ours(
        "gc_of_a_bridge",
        "GC/leases*",
        "GC of the reference's bridge does not reach its IPAM plugin: the leases stay",
    ),
    ours(
        "gc_of_what_is_no_lease",
        "GC/leases/pods: notes.txt",
        "GC of the reference deletes every file whose name it does not know",
    ),
    ours(
        "gc_without_a_list",
        "*",
        "the reference takes a missing list for an empty one, and releases what pods hold",
    ),
    ours(
        "status_of_a_pool_that_is_none",
        "*",
        "the reference's host-local has no STATUS: it is ready with what no ADD can be done with",
    ),
    ours(
        "tuning_of_sysctls",
        "after DEL*/somaxconn",
        "DEL of the reference restores no sysctl: the pod keeps what it had not before",
    ),
    ours(
        "tuning_by_args",
        "after DEL*/somaxconn",
        "DEL of the reference restores no sysctl: the pod keeps what it had not before",
    ),
    ours(
        "tuning_of_an_interfaces_sysctl",
        "after DEL*/arp_filter",
        "DEL of the reference restores no sysctl: the pod keeps what it had not before",
    ),
    ours(
        "tuning_with_unknown_args",
        "DEL*",
        "DEL needs no CNI_ARGS: a runtime that passes unknown ones would leak the attachment",
    ),
    ours(
        "portmap_of_iptables_conditions",
        "ADD*",
        "conditions are words of iptables or nft, which ours does not run: error 2 names the key",
    ),
    ours(
        "portmap_of_nftables_conditions",
        "ADD*",
        "conditions are words of iptables or nft, which ours does not run: error 2 names the key",
    ),
    ours(
        "portmap_of_mixed_options",
        "nftables/ADD*",
        "conditions are words of iptables or nft, which ours does not run: error 2 names the key",
    ),
    ours(
        "portmap_of_wrong_ports",
        "host port 65536/ADD*",
        "the reference runs iptables with the port, and answers with what iptables prints",
    ),
    ours(
        "portmap_deleted_by_keys_alone",
        "rules left that name the pod",
        "DEL of the reference removes nothing where the runtime passes no mappings",
    ),
    ours(
        "firewall_of_firewalld",
        "DEL",
        "there is nothing to remove: a DEL that fails keeps the pod from being deleted",
    ),
    ours(
        "sbr_of_an_address",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_with_a_default_route",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_of_several_addresses",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_with_a_gateway",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_with_gateways_of_both",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_with_source_hints",
        "after ADD/2001:db8:1::/64*table 10*",
        "the reference copies routes into the table of an address of the other family: no packet takes them",
    ),
    ours(
        "sbr_of_an_address",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "sbr_with_a_default_route",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "sbr_of_several_addresses",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "tuning_of_an_empty_value",
        "*",
        "the reference writes nothing: its ADD succeeds, and its CHECK fails. Ours refuses the key",
    ),
    ours(
        "static_of_a_route_without_a_destination",
        "alone",
        "the reference answers with the destination <nil>, which no main plugin can read",
    ),
    ours(
        "sbr_with_a_gateway",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "sbr_with_a_gateway_of_v6",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "sbr_with_gateways_of_both",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
    ours(
        "sbr_with_source_hints",
        "after DEL*",
        "DEL of the reference leaves its tables, and the main table without the routes it had",
    ),
];

const fn ours(scenario: &'static str, at: &'static str, reason: &'static str) -> Row {
    Row { scenario, at, right: Right::Ours, reason }
}

const fn either(scenario: &'static str, at: &'static str, reason: &'static str) -> Row {
    Row { scenario, at, right: Right::Either, reason }
}
