//! Addresses and ranges of pods, bridges and links.

use crate::attachments;
use crate::check::Check;
use crate::facts::Facts;
use crate::facts::conflists::Plugin;
use crate::finding::Finding;
use ipnetwork::IpNetwork;
use net::Link;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Symptom 6.
pub const EXHAUSTED: Check = Check {
    id: "addresses-exhausted",
    symptom: "Pods do not start: \"no IP addresses available in range set\"",
    cause: "Every address of the node's range is leased. Either the node really has so many pods, or leases are \
            left of pods that are gone, as after a reboot with plugins that do not recognise it.",
    remedy: "Remove leases without pods (the runtime's GC does, and `ferrule ls` shows them), or give the node a larger \
             range.",
    run: exhausted,
};

/// The ranges that pods get addresses of: the configuration's, else the node's pod CIDRs.
fn ranges(facts: &Facts) -> Vec<IpNetwork> {
    let main = facts.first().and_then(|file| file.main());
    match main.map(|main| &main.ranges) {
        Some(ranges) if !ranges.is_empty() => ranges.clone(),
        _ => facts.daemon.pod_cidrs().to_vec(),
    }
}

/// How many addresses a range has for pods; a range of IPv6 is never exhausted unless it is small.
fn capacity(range: &IpNetwork) -> u64 {
    let bits = if range.is_ipv4() { 32 } else { 128 } - u32::from(range.prefix());
    // Network, gateway and, of IPv4, broadcast.
    let taken = if range.is_ipv4() { 3 } else { 2 };
    if bits > 20 { u64::MAX } else { (1_u64 << bits).saturating_sub(taken) }
}

fn exhausted(facts: &Facts) -> Vec<Finding> {
    let Some(network) = facts.first().map(|file| file.network.clone()) else { return vec![] };
    let all = attachments::list(facts);
    let leases = || facts.leases.iter().flatten().filter(|lease| lease.network == network);
    let mut found = Vec::new();
    for v4 in [true, false] {
        let ranges: Vec<IpNetwork> =
            ranges(facts).into_iter().filter(|range| range.is_ipv4() == v4).collect();
        let room = ranges.iter().map(capacity).fold(0, u64::saturating_add);
        let leased: BTreeSet<IpAddr> =
            leases().map(|lease| lease.address).filter(|a| a.is_ipv4() == v4).collect();
        let orphan = |address: &&IpAddr| {
            all.iter().any(|one| one.orphan.is_some() && one.addresses.contains(address))
        };
        let orphans: Vec<&IpAddr> = leased.iter().filter(orphan).collect();
        let (used, lost) = (leased.len() as u64, orphans.len() as u64);
        let is_full = used.saturating_mul(100) >= room.saturating_mul(95);
        let is_leaking = lost.saturating_mul(10) >= room;
        if room == 0 || !(is_full || is_leaking) {
            continue;
        }
        let names: Vec<String> = ranges.iter().map(ToString::to_string).collect();
        let what = format!("{used} of the {room} addresses of {} are leased", names.join(" and "));
        let finding = if is_full { Finding::certain(what) } else { Finding::likely(what) };
        let finding =
            finding.because(format!("{} of them belong to attachments that live", used - lost));
        found.push(match orphans.first() {
            Some(first) => finding
                .because(format!("{lost} belong to none, {first} for example"))
                .mend(format!(
                    "rm {}/{network}/{first}   # and so on: `ferrule ls` marks them",
                    facts.places.data_dir.display()
                )),
            None => finding.mend(
                "give the node a larger pod CIDR, or let fewer pods run on it (kubelet's maxPods)",
            ),
        });
    }
    found
}

/// Symptom 5.
pub const BRIDGE_ADDRESS: Check = Check {
    id: "bridge-address",
    symptom: "Pods do not start: \"cni0 already has an IP address different from\"",
    cause: "The pods' bridge has an address of another range than the node has now: the node was given another pod \
            CIDR, or another suite made the bridge.",
    remedy: "Remove the address from the bridge, or delete the bridge; the next pod makes it again.",
    run: bridge_address,
};

fn bridge_of(facts: &Facts) -> Option<(&Plugin, &Link)> {
    let main = facts.first()?.main()?;
    Some((main, facts.net().named(main.bridge()?)?))
}

fn bridge_address(facts: &Facts) -> Vec<Finding> {
    let Some((main, bridge)) = bridge_of(facts) else { return vec![] };
    let ranges = ranges(facts);
    let inside = |ip: IpAddr| ranges.iter().any(|range| range.contains(ip));
    let held: Vec<IpNetwork> =
        facts.net().addresses_of(bridge.index).filter(|a| a.global).map(|a| a.address).collect();
    let of = |address: &IpNetwork| ranges.iter().any(|r| r.is_ipv4() == address.is_ipv4());
    let foreign = held.iter().filter(|address| of(address) && !inside(address.ip()));
    let wanted: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    let finding = |address: &IpNetwork| {
        let what = format!(
            "{} has the address {address}, outside of this node's pods' range",
            bridge.name
        );
        Finding::certain(what)
            .because(format!("the range is {} (plugin {:?})", wanted.join(" and "), main.kind))
            .mend(format!("ip address del {address} dev {}", bridge.name))
    };
    foreign.map(finding).collect()
}

/// Symptom 15.
pub const FOREIGN_ADDRESS: Check = Check {
    id: "foreign-address",
    symptom: "Pods lose their network some time after they started, on nodes with NetworkManager or dhcpcd",
    cause: "Another program takes the host's end of a pod's link, or the tunnel's device, for a network card and \
            gives it an address (DHCP, or 169.254.0.0/16), and with it a route that leads pods' packets astray.",
    remedy: "Keep the other program from the links: conf/10-ferrule-networkmanager.conf, conf/10-ferrule.network, or \
             `denyinterfaces veth* cni*` in /etc/dhcpcd.conf. Then remove the address.",
    run: foreign_address,
};

fn foreign_address(facts: &Facts) -> Vec<Finding> {
    let net = facts.net();
    let tunnel = facts.daemon.node().and_then(|node| node.vxlan.as_ref());
    let wrong = |link: &&Link, address: &net::address::Address| {
        let ip = address.address.ip();
        let is_link_local = matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local());
        if link.kind == "vxlan" {
            let wanted = tunnel.map(|tunnel| tunnel.addresses.as_slice());
            return !is_link_local
                && wanted.is_some_and(|wanted| !wanted.contains(&address.address));
        }
        // A routed pod's gateway has the scope of the host.
        !is_link_local && (link.master != 0 || address.global)
    };
    let pods =
        net.links.iter().filter(|link| link.kind == "veth" && link.alias.starts_with("ferrule "));
    let mut found = Vec::new();
    for link in pods.chain(net.tunnels()) {
        for address in net.addresses_of(link.index).filter(|address| wrong(&link, address)) {
            let (name, address) = (&link.name, address.address);
            let finding = Finding::certain(format!(
                "{name}, a link of ours, has the foreign address {address}"
            ));
            found.push(blame(finding, facts).mend(format!("ip address del {address} dev {name}")));
        }
    }
    found
}

fn blame(finding: Finding, facts: &Facts) -> Finding {
    let host = &facts.host;
    if host.network_manager && !host.network_manager_spares {
        return finding
            .because("NetworkManager runs, and no file keeps it from pods' links")
            .mend("cp conf/10-ferrule-networkmanager.conf /etc/NetworkManager/conf.d/ && nmcli general reload");
    }
    if host.networkd && !host.networkd_spares {
        return finding
            .because("systemd-networkd runs, and no .network file keeps it from pods' links")
            .mend("cp conf/10-ferrule.network /etc/systemd/network/ && networkctl reload");
    }
    finding.because("neither NetworkManager nor systemd-networkd is known to do it; dhcpcd may")
}

/// Symptom 22.
pub const OVERLAP: Check = Check {
    id: "overlap",
    symptom: "Some addresses cannot be reached from pods, or from this node",
    cause: "The range of pods overlaps another network that this node is connected to: its own, docker0's, a VPN's. \
            The more specific route wins, and packets to the other part go the wrong way.",
    remedy: "Give one of the two another range.",
    run: overlap,
};

fn overlaps(one: &IpNetwork, two: &IpNetwork) -> bool {
    one.is_ipv4() == two.is_ipv4() && (one.contains(two.network()) || two.contains(one.network()))
}

fn overlap(facts: &Facts) -> Vec<Finding> {
    let net = facts.net();
    let bridges: BTreeSet<&str> = facts
        .conflists
        .iter()
        .flatten()
        .flat_map(|file| &file.plugins)
        .filter_map(Plugin::bridge)
        .collect();
    let behind = facts.pod_links();
    let ours = |link: &Link| {
        let is_bridge = |name: &str| behind.contains(name) || bridges.contains(name);
        let over = (link.kind == "vlan").then(|| net.link(link.peer)).flatten();
        is_bridge(&link.name)
            || over.is_some_and(|link| is_bridge(&link.name))
            || link.alias.starts_with("ferrule")
            || link.name == "lo"
    };
    let cluster = facts.daemon.node().map(|node| node.cluster_cidrs.clone()).unwrap_or_default();
    let pods: BTreeSet<IpNetwork> = ranges(facts).into_iter().chain(cluster).collect();
    let mut found = Vec::new();
    for link in net.links.iter().filter(|link| !ours(link)) {
        for held in net.addresses_of(link.index).filter(|held| held.global) {
            // An address alone, as fabrics have it, is no network.
            let network = held.address;
            let alone = network.prefix() == if network.is_ipv4() { 32 } else { 128 };
            let Some(range) = pods.iter().find(|range| overlaps(range, &network)) else { continue };
            if alone && !range.contains(network.ip()) {
                continue;
            }
            let what =
                format!("the pods' range {range} overlaps {network}, a network on {}", link.name);
            found.push(Finding::certain(what).because(format!("{} is a {}", link.name, link.kind_in_words())).mend(format!(
                "give the pods another range, or {} another network; every node of the cluster has to agree on the pods'",
                link.name
            )));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::ConfFile;
    use crate::facts::leases::Lease;
    use crate::facts::nothing;
    use net::address::Address;

    fn with_bridge(range: &str, addresses: &[(u32, &str)]) -> Facts {
        let mut facts = nothing();
        let plugin = Plugin {
            kind: "bridge".to_owned(),
            is_gateway: true,
            ranges: vec![range.parse().unwrap()],
            ..Plugin::default()
        };
        let file =
            ConfFile { network: "pods".to_owned(), plugins: vec![plugin], ..ConfFile::default() };
        facts.conflists = Ok(vec![file]);
        let link = |index, name: &str, kind: &str, alias: &str| Link {
            index,
            name: name.to_owned(),
            kind: kind.to_owned(),
            alias: alias.to_owned(),
            master: u32::from(kind == "veth"),
            ..Link::default()
        };
        let net = facts.network.as_mut().unwrap();
        net.links = vec![
            link(1, "cni0", "bridge", ""),
            link(2, "veth1", "veth", "ferrule 0"),
            link(3, "docker0", "bridge", ""),
        ];
        let address = |(link, text): &(u32, &str)| Address {
            link: *link,
            address: text.parse().unwrap(),
            tentative: false,
            dad_failed: false,
            passing: false,
            global: true,
            protocol: 0,
        };
        net.addresses = addresses.iter().map(address).collect();
        facts
    }

    #[test]
    fn an_address_of_another_range_on_the_bridge_is_found() {
        assert_eq!(bridge_address(&with_bridge("10.1.0.0/24", &[(1, "10.1.0.1/24")])), []);
        let found = bridge_address(&with_bridge("10.1.0.0/24", &[(1, "10.9.0.1/24")]));
        assert_eq!(found[0].remedy, ["ip address del 10.9.0.1/24 dev cni0"]);
    }

    #[test]
    fn an_address_on_a_pods_link_is_foreign() {
        assert_eq!(foreign_address(&with_bridge("10.1.0.0/24", &[(2, "fe80::1/64")])), []);
        let mut facts = with_bridge("10.1.0.0/24", &[(2, "169.254.7.7/16")]);
        facts.host.network_manager = true;
        let found = foreign_address(&facts);
        assert!(found[0].what.contains("169.254.7.7/16"), "{found:?}");
        assert!(found[0].evidence[0].starts_with("NetworkManager runs"));
    }

    #[test]
    fn a_network_of_another_link_that_overlaps_is_found() {
        assert_eq!(
            overlap(&with_bridge("10.1.0.0/24", &[(1, "10.1.0.1/24"), (3, "172.17.0.1/16")])),
            []
        );
        let found = overlap(&with_bridge("172.17.4.0/24", &[(3, "172.17.0.1/16")]));
        assert!(found[0].what.contains("172.17.0.1/16, a network on docker0"), "{found:?}");
    }

    #[test]
    fn a_full_range_is_found_with_the_leases_that_no_pod_has() {
        let mut facts = with_bridge("10.1.0.0/29", &[]);
        let lease = |last| Lease {
            network: "pods".to_owned(),
            address: [10, 1, 0, last].into(),
            container: format!("c{last}"),
            ifname: "eth0".to_owned(),
            age: 4000,
        };
        facts.leases = Ok((2..7).map(lease).collect());
        let found = exhausted(&facts);
        assert_eq!(found[0].what, "5 of the 5 addresses of 10.1.0.0/29 are leased");
        assert_eq!(found[0].evidence[1], "5 belong to none, 10.1.0.2 for example");
        facts.leases = Ok(vec![]);
        assert_eq!(exhausted(&facts), []);
    }
}
