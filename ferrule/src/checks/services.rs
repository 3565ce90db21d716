//! Services, as far as the node's kernel shows them.

use crate::attachments;
use crate::check::Check;
use crate::facts::Facts;
use crate::facts::conflists::Plugin;
use crate::finding::Finding;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Symptom 7.
pub const SAME_NODE: Check = Check {
    id: "service-same-node",
    symptom: "A Service fails from a pod on the same node as the pod behind it, and works from other nodes",
    cause: "kube-proxy translates the Service's address on the way there. The answer of a pod on the same bridge is \
            switched, not routed, so the translation is not undone, unless the bridge hands its frames to netfilter \
            (br_netfilter).",
    remedy: "Load br_netfilter and set net.bridge.bridge-nf-call-iptables=1, as kubeadm demands.",
    run: same_node,
};

/// Whether kube-proxy's rules are there, by iptables or by nftables.
fn has_kube_proxy(facts: &Facts) -> bool {
    facts.filter.iter().flat_map(|filter| filter.others()).any(|table| {
        let services = |name: &str| name == "KUBE-SERVICES";
        table.name == "kube-proxy" || table.chains.iter().any(|chain| services(&chain.name))
    })
}

fn same_node(facts: &Facts) -> Vec<Finding> {
    let bridge = facts.first().and_then(|file| file.main()).and_then(Plugin::bridge);
    let Some(bridge) = bridge.and_then(|name| facts.net().named(name)) else { return vec![] };
    let switch = "net/bridge/bridge-nf-call-iptables";
    let is_on = facts.sysctls.get(switch) == Some("1") || bridge.calls_hooks[0];
    if is_on || !has_kube_proxy(facts) {
        return vec![];
    }
    let why = match facts.sysctls.get(switch) {
        None => "the kernel module br_netfilter is not loaded".to_owned(),
        Some(value) => format!("{} is {value}", switch.replace('/', ".")),
    };
    vec![Finding::certain(format!("frames between pods on {} do not pass netfilter: {why}", bridge.name))
        .because("kube-proxy's rules are there, and translate on that way")
        .mend("modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1")
        .mend("echo br_netfilter >/etc/modules-load.d/br_netfilter.conf   # after the next boot too")]
}

/// Symptom 20.
pub const DEAD_POD: Check = Check {
    id: "udp-dead-pod",
    symptom: "UDP (DNS, syslog, games) goes on to a pod that is gone, until the sender pauses",
    cause: "The kernel remembers a UDP flow and its translated destination as long as packets come, also when the pod \
            behind it is gone.",
    remedy: "Make the kernel forget the flows: `conntrack -D -p udp --reply-src ADDRESS`.",
    run: dead_pod,
};

fn dead_pod(facts: &Facts) -> Vec<Finding> {
    let Ok(flows) = &facts.flows else { return vec![] };
    let all = attachments::list(facts);
    let live: BTreeSet<IpAddr> = all
        .iter()
        .filter(|one| one.orphan.is_none())
        .flat_map(|one| one.addresses.iter().copied())
        .collect();
    // Without an address of any pod nothing is known: another IPAM plugin leases.
    if live.is_empty()
        && facts.leases.as_ref().map_or(true, Vec::is_empty)
        && facts.daemon.node().is_none()
    {
        return vec![];
    }
    let main = facts.first().and_then(|file| file.main());
    let ranges = main.map(|main| main.ranges.clone()).unwrap_or_default();
    let held = |ip: IpAddr| facts.net().addresses.iter().any(|held| held.address.ip() == ip);
    let ours = |ip: IpAddr| {
        ranges.iter().chain(facts.daemon.pod_cidrs()).any(|range| range.contains(ip)) && !held(ip)
    };
    let dead: Vec<_> = flows
        .iter()
        .filter(|flow| ours(flow.answers.ip()) && !live.contains(&flow.answers.ip()))
        .collect();
    let Some(first) = dead.first() else { return vec![] };
    let what = format!(
        "{} UDP flows go to addresses that no pod has, {} for example",
        dead.len(),
        first.answers.ip()
    );
    let finding = Finding::certain(what);
    let finding = dead.iter().take(3).fold(finding, |finding, flow| {
        finding.because(format!("a flow to {} is translated to {}", flow.to, flow.answers))
    });
    vec![finding.mend(format!("conntrack -D -p udp --reply-src {}", first.answers.ip()))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::ConfFile;
    use crate::facts::kernel::UdpFlow;
    use crate::facts::leases::Lease;
    use crate::facts::nothing;
    use net::Link;
    use nft::SeenTable;

    fn node() -> Facts {
        let mut facts = nothing();
        let plugin = Plugin {
            kind: "bridge".to_owned(),
            ranges: vec!["10.1.0.0/24".parse().unwrap()],
            ..Plugin::default()
        };
        facts.conflists = Ok(vec![ConfFile { plugins: vec![plugin], ..ConfFile::default() }]);
        let bridge = Link {
            index: 2,
            name: "cni0".to_owned(),
            kind: "bridge".to_owned(),
            ..Link::default()
        };
        facts.network.as_mut().unwrap().links = vec![bridge];
        facts.leases = Ok(vec![Lease {
            network: "pods".to_owned(),
            address: [10, 1, 0, 5].into(),
            container: "c1".to_owned(),
            ifname: "eth0".to_owned(),
            age: 1,
        }]);
        facts
    }

    #[test]
    fn kube_proxy_without_br_netfilter_is_told() {
        let mut facts = node();
        assert_eq!(same_node(&facts), []);
        let table = SeenTable { family: "ip", name: "kube-proxy".to_owned(), chains: vec![] };
        facts.filter.as_mut().unwrap().tables.push(table);
        assert!(
            same_node(&facts)[0].what.ends_with("the kernel module br_netfilter is not loaded")
        );
        let mut set = |value: &str| {
            let key = "net/bridge/bridge-nf-call-iptables".to_owned();
            facts.sysctls.0.insert(key, value.to_owned());
            same_node(&facts)
        };
        assert_eq!(set("0").len(), 1);
        assert_eq!(set("1"), []);
    }

    #[test]
    fn a_flow_to_an_address_that_no_pod_has_is_told() {
        let mut facts = node();
        let flow = |last| UdpFlow {
            to: "10.96.0.10:53".parse().unwrap(),
            answers: ([10, 1, 0, last], 53).into(),
        };
        facts.flows = Ok(vec![flow(5)]);
        assert_eq!(dead_pod(&facts), []);
        facts.flows = Ok(vec![flow(5), flow(6)]);
        assert_eq!(dead_pod(&facts)[0].remedy, ["conntrack -D -p udp --reply-src 10.1.0.6"]);
    }
}
