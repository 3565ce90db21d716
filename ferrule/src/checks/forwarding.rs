//! Whether the node forwards pods' packets.

use crate::attachments;
use crate::check::Check;
use crate::facts::Facts;
use crate::facts::kernel::Way;
use crate::finding::Finding;
use net::Link;
use nft::{SeenChain, SeenTable};
use std::net::IpAddr;

/// Symptom 8.
pub const SWITCHES: Check = Check {
    id: "forwarding",
    symptom: "Pods reach pods on their own node, and nothing else",
    cause: "The node does not forward packets: net.ipv4.ip_forward or net.ipv6.conf.all.forwarding is 0, or the \
            switch of a single link is. A reload of sysctls, or a hardening profile, switches them off.",
    remedy: "Set the switch, and find the file in /etc/sysctl.d that has it off.",
    run: switches,
};

/// The families that pods of this node have addresses of.
fn families(facts: &Facts) -> [bool; 2] {
    let attached = attachments::list(facts);
    let addresses = attached.iter().flat_map(|one| one.addresses.iter().copied());
    let cidrs = facts.daemon.pod_cidrs().iter().map(ipnetwork::IpNetwork::ip);
    let all: Vec<IpAddr> = addresses.chain(cidrs).collect();
    [all.iter().any(IpAddr::is_ipv4), all.iter().any(IpAddr::is_ipv6)]
}

fn off(key: &str, who: &str) -> Finding {
    let dotted = key.replace('/', ".");
    Finding::certain(format!("{dotted} is 0: {who}"))
        .because(format!("/proc/sys/{key} holds 0"))
        .mend(format!("sysctl -w {dotted}=1"))
        .mend(format!(
            "grep -r '{}' /etc/sysctl.d /usr/lib/sysctl.d /etc/sysctl.conf   # what sets it",
            key.rsplit('/').next().unwrap_or(key)
        ))
}

fn switches(facts: &Facts) -> Vec<Finding> {
    let [v4, v6] = families(facts);
    let sysctls = &facts.sysctls;
    let mut found = Vec::new();
    let (all4, all6) = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding");
    if v4 && sysctls.is_off(all4) {
        found.push(off(all4, "the node forwards no IPv4 packet"));
    } else if v4 {
        let mut links = facts.pod_links();
        links.extend(facts.net().tunnels().map(|link| link.name.clone()));
        links.extend(facts.net().uplink(true).map(|link| link.name.clone()));
        let keys = links.iter().map(|link| (link, format!("net/ipv4/conf/{link}/forwarding")));
        let off_ones = keys.filter(|(_, key)| sysctls.is_off(key));
        found.extend(off_ones.map(|(link, key)| {
            off(&key, &format!("the node forwards no IPv4 packet that comes in by {link}"))
        }));
    }
    if v6 && sysctls.is_off(all6) {
        found.push(off(all6, "the node forwards no IPv6 packet"));
    }
    found
}

/// Symptom 9.
pub const DROPS: Check = Check {
    id: "forward-drops",
    symptom: "Pods reach pods on their own node, and nothing else, on nodes with Docker, firewalld or ufw",
    cause: "A packet must pass every base chain of hook forward, and another program's drops what none of its own \
            rules accepts. An accept in Ferrule's chains does not overrule it.",
    remedy: "Add the plugin `firewall` to the conflist, which lets pods' packets pass such chains, or let the other \
             program accept the pods' range.",
    run: drops,
};

/// Whether a rule of the table is about pods: it names a link of theirs, their range, or the mark.
fn knows_pods(facts: &Facts, table: &SeenTable) -> bool {
    let mut links = facts.pod_links();
    links.extend(facts.net().tunnels().map(|link| link.name.clone()));
    let ranges = facts.first().and_then(|file| file.main()).map(|main| main.ranges.clone());
    let mut ranges = ranges.unwrap_or_default();
    ranges.extend(facts.daemon.pod_cidrs());
    ranges.extend(facts.daemon.node().map(|node| node.cluster_cidrs.clone()).unwrap_or_default());
    links.iter().any(|link| table.mentions(format!("{link}\0").as_bytes()))
        || ranges.iter().any(|range| table.mentions(&compared(range)))
}

/// How a rule holds a network that it compares an address with: struct nlattr of NFTA_DATA_VALUE,
/// and as many whole bytes as the prefix has, if it ends with one.
fn compared(network: &ipnetwork::IpNetwork) -> Vec<u8> {
    let bytes = match network.network() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let prefix = usize::from(network.prefix());
    let length = if prefix % 8 == 0 { prefix / 8 } else { bytes.len() };
    let header = (4 + u16::try_from(length).unwrap_or(0)).to_ne_bytes();
    [&header[..], &1_u16.to_ne_bytes(), &bytes[..length]].concat()
}

fn drops(facts: &Facts) -> Vec<Finding> {
    let Ok(filter) = &facts.filter else { return vec![] };
    let served = filter.marked.iter().any(|(_, owned)| owned.is_forwarded());
    let [v4, v6] = families(facts);
    if served || !(v4 || v6) {
        return vec![];
    }
    let concerns = |table: &&SeenTable| match table.family {
        "ip" => v4,
        "ip6" => v6,
        _ => true,
    };
    let mut found = Vec::new();
    for table in filter.others().filter(concerns).filter(|table| !knows_pods(facts, table)) {
        let denying = table.chains.iter().filter(|chain| chain.denies);
        found.extend(denying.map(|chain| denied(table, chain)));
    }
    for family in &filter.legacy_drops {
        let what = format!("iptables-legacy drops forwarded {family} packets by its policy");
        found.push(remedy_of_drops(
            Finding::certain(what).because("chain FORWARD has policy DROP, and no rule for pods"),
        ));
    }
    found
}

fn denied(table: &SeenTable, chain: &SeenChain) -> Finding {
    let title = table.title();
    let what = format!("chain {} of table {title} drops forwarded packets of pods", chain.name);
    // What accepts by another criterion than link or address is not seen.
    let finding =
        if chain.rules.is_empty() { Finding::certain(what) } else { Finding::likely(what) };
    let finding = finding.because(format!(
        "it denies what its {} rules do not accept, and none names a link or a range of pods",
        chain.rules.len()
    ));
    remedy_of_drops(finding.because(format!("nft list chain {title} {}", chain.name)))
}

fn remedy_of_drops(finding: Finding) -> Finding {
    finding.mend("add {\"type\": \"firewall\"} behind the first plugin of the conflist, and start the pods again")
}

/// Symptom 13.
pub const ONE_WAY: Check = Check {
    id: "one-way",
    symptom: "Connections to some pods work in one direction only, or not at all",
    cause: "The node's route to a pod's address leads to another link than the one that the pod is behind. Answers go \
            astray, and a strict reverse-path filter (rp_filter=1) drops what the pod sends.",
    remedy: "Remove the other route, or make it less specific than the pods'.",
    run: one_way,
};

fn one_way(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let attached = attachments::list(facts);
    let main = facts.first().and_then(|file| Some((file.network.as_str(), file.main()?)));
    let Some((network, main)) = main else { return vec![] };
    let routed = main.is_gateway || ["vxlan", "bgp"].contains(&main.kind.as_str());
    let live =
        attached.iter().filter(|one| routed && one.orphan.is_none() && one.network == network);
    for one in live {
        let Some(link) = one.link.as_deref().and_then(|name| facts.net().named(name)) else {
            continue;
        };
        let behind = facts.net().link(link.master).unwrap_or(link);
        for address in &one.addresses {
            let Some(way) = facts.ways.iter().find(|way| way.to == *address) else { continue };
            found.extend(astray(facts, way, behind, &format!("pod {}", one.name())));
        }
    }
    found.extend(remote(facts));
    found
}

fn remote(facts: &Facts) -> Vec<Finding> {
    let entries = facts.daemon.entries().iter();
    let tunnelled = entries.filter(|entry| entry.path == "vxlan" && entry.state == "synced");
    let Some(tunnel) = facts.net().tunnels().next() else { return vec![] };
    let mut found = Vec::new();
    for entry in tunnelled {
        let way = facts.ways.iter().find(|way| entry.cidr.contains(way.to));
        let who = format!("the pods of node {}", entry.node);
        found.extend(way.and_then(|way| astray(facts, way, tunnel, &who)));
    }
    found
}

/// What is wrong with the way to an address that must lead to a link.
fn astray(facts: &Facts, way: &Way, link: &Link, who: &str) -> Option<Finding> {
    let (dst, index) = match &way.by {
        Ok(by) => by,
        Err(why) => {
            let what = format!("{who} ({}) cannot be reached: {why}", way.to);
            let finding = Finding::certain(what).because(format!("it is behind {}", link.name));
            return Some(finding.mend(format!(
                "ip route get {}   # the kernel's answer; a new pod sets the route again",
                way.to
            )));
        }
    };
    let leads = facts.net().link(*index);
    // The gateway's address may be on a VLAN device over the bridge.
    let over = leads.filter(|leads| leads.kind == "vlan").map(|vlan| vlan.peer);
    if *index == link.index || over == Some(link.index) {
        return None;
    }
    let leads = leads.map_or("another link", |link| link.name.as_str());
    let what =
        format!("{who} ({}) is behind {}, and the route {dst} leads to {leads}", way.to, link.name);
    let mode = facts.sysctls.rp_filter(&link.name);
    let finding = Finding::certain(what);
    let finding = match mode {
        1 => finding.because(format!(
            "rp_filter of {} is strict (1): packets from there are dropped",
            link.name
        )),
        _ => finding.because(format!(
            "rp_filter of {} is {mode}: packets from there pass, and answers do not return",
            link.name
        )),
    };
    Some(
        finding.mend(format!("ip route del {dst} dev {leads}   # unless another program needs it")),
    )
}

#[cfg(test)]
mod tests;
