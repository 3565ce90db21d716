//! The VXLAN tunnel.

use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;
use net::Link;
use node::vtep;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Symptom 10.
pub const DUPLICATE: Check = Check {
    id: "duplicate-node-address",
    symptom: "Pods of some nodes cannot be reached, or only sometimes, on machines made from one image",
    cause: "Two nodes of the node set have one address, as VirtualBox gives each machine 10.0.2.15. Packets to both \
            nodes' pods go to one of them.",
    remedy: "List for each node an address that it alone has (kubelet's --node-ip), and one that others reach.",
    run: duplicate,
};

fn duplicate(facts: &Facts) -> Vec<Finding> {
    let mut nodes = BTreeMap::<IpAddr, Vec<&str>>::new();
    for entry in facts.daemon.entries().iter().filter(|entry| !entry.node.is_empty()) {
        let Some(via) = entry.via else { continue };
        let names = nodes.entry(via).or_default();
        if !names.contains(&entry.node.as_str()) {
            names.push(&entry.node);
        }
    }
    let held = |ip: &IpAddr| facts.net().addresses.iter().any(|held| held.address.ip() == *ip);
    let mut found = Vec::new();
    for (address, names) in nodes {
        let what = match names.len() {
            1 if held(&address) => {
                format!("node {} is listed with {address}, an address of this node", names[0])
            }
            1 => continue,
            _ => {
                format!("the nodes {} are listed with one address, {address}", names.join(" and "))
            }
        };
        let finding =
            Finding::certain(what).because("route-sync status   # the column PATH shows it");
        found.push(
            finding
                .mend("give each node its own address in the node set: kubelet --node-ip=ADDRESS"),
        );
    }
    found.extend(refused(facts));
    found
}

/// route-sync gives an address to the first node that lists it, and names the others.
fn refused(facts: &Facts) -> Vec<Finding> {
    let problems =
        facts.daemon.status().map(|status| status.problems.as_slice()).unwrap_or_default();
    let duplicate = problems.iter().filter(|problem| is_duplicate(&problem.error));
    let finding = |problem: &crate::facts::daemon::Problem| {
        Finding::certain(format!("{} shares its address with another node", problem.what))
            .because(format!("route-sync: {}", problem.error))
            .mend("give each node its own address in the node set: kubelet --node-ip=ADDRESS")
    };
    duplicate.map(finding).collect()
}

/// What route-sync says of an address that two nodes list.
#[must_use]
pub fn is_duplicate(error: &str) -> bool {
    error.ends_with("'s too; one node has it")
}

/// Symptom 17.
pub const TAKEN: Check = Check {
    id: "vxlan-taken",
    symptom: "The tunnel cannot be made: \"address already in use\", \"file exists\"",
    cause: "Another VXLAN device of this node has the tunnel's network identifier (VNI) and UDP port, mostly one that \
            another CNI suite left.",
    remedy: "Remove the other device, or configure another vni or port on every node.",
    run: taken,
};

fn taken(facts: &Facts) -> Vec<Finding> {
    let tunnel = facts.daemon.node().and_then(|node| node.vxlan.as_ref());
    let problems =
        facts.daemon.status().map(|status| status.problems.as_slice()).unwrap_or_default();
    let fails = problems.iter().any(|problem| problem.what.starts_with("vxlan "));
    let (vni, port) = match tunnel {
        Some(tunnel) => (tunnel.vni, tunnel.port),
        None if fails => (vtep::VNI, vtep::PORT),
        None => return vec![],
    };
    let others = facts.net().links.iter().filter(|link| link.alias != vtep::ALIAS);
    let same = others
        .filter(|link| link.vxlan.as_ref().is_some_and(|is| is.port == port && is.vni == vni));
    let finding = |link: &Link| {
        Finding::certain(format!(
            "{} has VNI {vni} and UDP port {port}, which Ferrule's tunnel needs",
            link.name
        ))
        .because(format!("it is a VXLAN device without Ferrule's mark, {:?}", vtep::ALIAS))
        .mend(format!("ip link delete {}   # if the suite that made it is gone", link.name))
        .mend("or, on every node: vxlan.vni in /etc/ferrule/route-sync.toml")
    };
    same.map(finding).collect()
}

/// Symptom 12.
pub const MTU: Check = Check {
    id: "mtu",
    symptom: "Small requests work, and large answers or TLS handshakes hang",
    cause: "A link on the way takes smaller packets than the pods send: the tunnel adds 50 bytes (70 over IPv6), or the \
            node's network has a smaller MTU than 1500.",
    remedy: "Give the pods an MTU that fits (the network's `mtu`, the tunnel's `vxlan.mtu`), and start them again.",
    run: mtu,
};

fn mtu(facts: &Facts) -> Vec<Finding> {
    let net = facts.net();
    let mut found = Vec::new();
    for tunnel in net.tunnels() {
        found.extend(tunnel_in_underlay(facts, tunnel));
    }
    let tunnel = net.tunnels().next();
    let way = tunnel.or_else(|| net.uplink(true)).or_else(|| net.uplink(false));
    let pods =
        net.links.iter().filter(|link| link.kind == "veth" && link.alias.starts_with("ferrule "));
    let mut told = Vec::new();
    for veth in pods {
        let bridge = net.link(veth.master).filter(|bridge| bridge.mtu < veth.mtu);
        let narrow = bridge.or(way.filter(|way| way.mtu < veth.mtu));
        let Some(narrow) = narrow.filter(|narrow| !told.contains(&narrow.index)) else { continue };
        told.push(narrow.index);
        let what = format!(
            "pods send packets of {} bytes, and {} takes {}",
            veth.mtu, narrow.name, narrow.mtu
        );
        // A plain uplink answers with "too big", which firewalls may drop; a bridge and a tunnel do not.
        let certain = bridge.is_some() || tunnel.is_some();
        let finding = if certain { Finding::certain(what) } else { Finding::likely(what) };
        found.push(
            finding.because(format!("ip link show {} and {}", veth.name, narrow.name)).mend(
                format!(
                    "set \"mtu\": {} in the network's configuration, and start its pods again",
                    narrow.mtu
                ),
            ),
        );
    }
    found
}

fn tunnel_in_underlay(facts: &Facts, tunnel: &Link) -> Option<Finding> {
    let net = facts.net();
    let vxlan = tunnel.vxlan.as_ref()?;
    let local = vxlan.local?;
    let underlay = net.link(vxlan.device).or_else(|| net.uplink(local.is_ipv4()))?;
    let needed = tunnel.mtu + vtep::overhead(local);
    if needed <= underlay.mtu {
        return None;
    }
    let fits = underlay.mtu.saturating_sub(vtep::overhead(local));
    let what = format!(
        "the tunnel {} sends packets of {needed} bytes, and {} takes {}",
        tunnel.name, underlay.name, underlay.mtu
    );
    let finding = Finding::certain(what)
        .because(format!("{} bytes of the tunnel's MTU and {} of outer headers", tunnel.mtu, vtep::overhead(local)))
        .mend(format!("ip link set {} mtu {fits}   # at once", tunnel.name))
        .mend(format!("vxlan.mtu = {fits} in /etc/ferrule/route-sync.toml, or none, so that it follows the underlay"));
    Some(finding)
}

/// Symptom 11.
pub const CHECKSUMS: Check = Check {
    id: "checksums",
    symptom: "Connections between nodes take 63 seconds, 3 seconds, or fail, while pings work",
    cause: "Packets in the tunnel arrive with wrong checksums: the network card, or a kernel before 5.7, computes the \
            checksum of an encapsulated packet wrongly, and the receiver drops it.",
    remedy: "Switch the checksum offload of the tunnel's device off on every node, or use a newer kernel.",
    run: checksums,
};

fn checksums(facts: &Facts) -> Vec<Finding> {
    let Some(tunnel) = facts.net().tunnels().next() else { return vec![] };
    let name = "Udp.InCsumErrors";
    let [before, after] = facts.counters.each_ref().map(|counters| counters.get(name));
    let old = facts.release.as_ref().is_ok_and(|release| release.number < (5, 7));
    // What came before the doctor did may be of another time.
    let grows = after > before;
    if !(grows || old && after >= 10) {
        return vec![];
    }
    let what = format!(
        "UDP packets arrive with wrong checksums: {after} since the start, {} just now",
        after - before.min(after)
    );
    let release = facts.release.as_ref().map_or("unknown", |release| release.text.as_str());
    let finding = Finding::likely(what)
        .because(format!(
            "InCsumErrors in /proc/net/snmp, and {} is a tunnel over UDP",
            tunnel.name
        ))
        .because(format!("the kernel is {release}"));
    vec![finding.mend(format!(
        "ethtool -K {} tx-checksum-ip-generic off   # on the sending nodes",
        tunnel.name
    ))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::daemon::{Entry, Problem, Status};
    use crate::facts::nothing;
    use net::link::VxlanInfo;

    fn vxlan(index: u32, name: &str, alias: &str, mtu: u32) -> Link {
        let is = VxlanInfo {
            vni: 100,
            port: 4789,
            local: Some([192, 0, 2, 1].into()),
            device: 1,
            learning: false,
        };
        Link {
            index,
            name: name.to_owned(),
            kind: "vxlan".to_owned(),
            alias: alias.to_owned(),
            mtu,
            vxlan: Some(Box::new(is)),
            ..Link::default()
        }
    }

    fn with(links: Vec<Link>) -> Facts {
        let mut facts = nothing();
        let eth0 = Link { index: 1, name: "eth0".to_owned(), mtu: 1500, ..Link::default() };
        let net = facts.network.as_mut().unwrap();
        net.links = [vec![eth0], links].concat();
        facts
    }

    fn status(entries: &[(&str, [u8; 4])]) -> Status {
        let entry = |(node, via): &(&str, [u8; 4])| Entry {
            node: (*node).to_owned(),
            cidr: "10.244.2.0/24".parse().unwrap(),
            path: "vxlan".to_owned(),
            via: Some((*via).into()),
            state: "synced".to_owned(),
            error: None,
        };
        Status { cidrs: entries.iter().map(entry).collect(), ..Status::default() }
    }

    #[test]
    fn two_nodes_with_one_address_are_named() {
        let mut facts = nothing();
        facts.daemon.status = Ok(Some(status(&[("two", [10, 0, 2, 15]), ("two", [10, 0, 2, 15])])));
        assert_eq!(duplicate(&facts), []);
        facts.daemon.status =
            Ok(Some(status(&[("two", [10, 0, 2, 15]), ("three", [10, 0, 2, 15])])));
        assert_eq!(
            duplicate(&facts)[0].what,
            "the nodes two and three are listed with one address, 10.0.2.15"
        );
    }

    #[test]
    fn another_device_of_the_vni_and_port_is_named() {
        let mut facts = with(vec![vxlan(2, "flannel.1", "", 1450)]);
        assert_eq!(taken(&facts), [], "no tunnel is wanted");
        let problem = Problem { what: "vxlan fvxlan.100".to_owned(), error: "exists".to_owned() };
        facts.daemon.status = Ok(Some(Status { problems: vec![problem], ..Status::default() }));
        assert!(taken(&facts)[0].what.starts_with("flannel.1 has VNI 100 and UDP port 4789"));
    }

    #[test]
    fn a_tunnel_larger_than_its_underlay_is_found() {
        assert_eq!(mtu(&with(vec![vxlan(2, "fvxlan.100", vtep::ALIAS, 1450)])), []);
        let found = mtu(&with(vec![vxlan(2, "fvxlan.100", vtep::ALIAS, 1500)]));
        assert_eq!(
            found[0].what,
            "the tunnel fvxlan.100 sends packets of 1550 bytes, and eth0 takes 1500"
        );
    }

    #[test]
    fn pods_with_a_larger_mtu_than_the_tunnel_are_found() {
        let veth = Link {
            index: 3,
            name: "veth1".to_owned(),
            kind: "veth".to_owned(),
            alias: "ferrule 1".to_owned(),
            mtu: 1500,
            ..Link::default()
        };
        let found = mtu(&with(vec![vxlan(2, "fvxlan.100", vtep::ALIAS, 1450), veth]));
        assert_eq!(found[0].what, "pods send packets of 1500 bytes, and fvxlan.100 takes 1450");
    }

    #[test]
    fn wrong_checksums_are_told_while_they_grow() {
        let mut facts = with(vec![vxlan(2, "fvxlan.100", vtep::ALIAS, 1450)]);
        facts.counters[1].0.insert("Udp.InCsumErrors".to_owned(), 4);
        assert!(checksums(&facts)[0].what.ends_with("4 since the start, 4 just now"));
        facts.counters[0] = facts.counters[1].clone();
        assert_eq!(checksums(&facts), []);
    }
}
