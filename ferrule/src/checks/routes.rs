//! Routes to other nodes, and the way out of the cluster.

use crate::attachments;
use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;
use net::route::{MAIN, Route};
use std::collections::BTreeSet;

/// Symptom 27.
pub const MASQUERADE: Check = Check {
    id: "no-masquerade",
    symptom: "Pods reach nothing outside of the cluster, nor the API server's Service",
    cause: "What leaves the node has the pod's own address as its source, and the network outside has no route back to \
            it. Neither the conflist (ipMasq) nor route-sync (masquerade.enabled) translates it, and no BGP peer learns \
            the pods' range.",
    remedy: "Set \"ipMasq\": true in the conflist, or masquerade.enabled in route-sync.toml, unless the routers outside \
             know the pods' ranges.",
    run: masquerade,
};

fn masquerade(facts: &Facts) -> Vec<Finding> {
    let (Ok(filter), Some(file)) = (&facts.filter, facts.first()) else { return vec![] };
    let Some(main) = file.main() else { return vec![] };
    let routed = main.is_gateway || main.kind == "vxlan";
    let node = facts.daemon.node();
    let announced = node.is_some_and(|node| node.bgp.is_some());
    let all = attachments::list(facts);
    let pods = all.iter().filter(|one| one.network == file.network && one.orphan.is_none());
    let with_v4 = pods.filter(|one| one.addresses.iter().any(std::net::IpAddr::is_ipv4)).count();
    if !routed || main.masquerades || announced || with_v4 == 0 {
        return vec![];
    }
    // kube-proxy translates what comes from outside, and not what pods send.
    let by_others = filter.others().any(|table| {
        let of_proxy = table.chains.iter().any(|chain| chain.name.starts_with("KUBE-"));
        table.masquerades() && !of_proxy && table.name != "kube-proxy"
    });
    if filter.has("cluster-masq")
        || filter.marked.iter().any(|(_, owned)| owned.is_masquerade())
        || by_others
    {
        return vec![];
    }
    vec![Finding::likely("nothing translates the addresses of pods when they leave the cluster")
        .because(format!("{} has no \"ipMasq\": true (network {}, {with_v4} pods)", file.name, file.network))
        .because("route-sync's chain cluster-masq is not there, and no other table masquerades")
        .mend("masquerade.enabled = true in /etc/ferrule/route-sync.toml, or \"ipMasq\": true in the conflist")]
}

/// Symptom 16.
pub const STALE: Check = Check {
    id: "stale-routes",
    symptom: "Packets to addresses of nodes that left go to other machines, or an address that moved is not reached",
    cause: "Routes of route-sync's protocol numbers, 118 and 119, are in the kernel that it does not keep: it does not \
            run, or they were left by a release or configuration before.",
    remedy: "Start route-sync, which removes what is not desired; or, where it is no longer wanted, `route-sync cleanup`.",
    run: stale,
};

/// Of BGP.
const LEARNED: u8 = 119;

fn stale(facts: &Facts) -> Vec<Finding> {
    let ours =
        |route: &&Route| route.table == MAIN && [node::PROTOCOL, LEARNED].contains(&route.protocol);
    let routes: Vec<&Route> = facts.net().routes.iter().filter(ours).collect();
    let desired: BTreeSet<_> = facts.daemon.entries().iter().map(|entry| entry.cidr).collect();
    let (what, left): (&str, Vec<&Route>) = match facts.daemon.status() {
        // What it learns first it may keep.
        Some(status) if !status.synced => return vec![],
        Some(_) => {
            let left = routes.into_iter().filter(|route| !desired.contains(&route.dst));
            ("route-sync does not keep", left.collect())
        }
        None if facts.daemon.is_expected() => return vec![],
        None => ("were left by route-sync, which does not run here, are", routes),
    };
    if left.is_empty() {
        return vec![];
    }
    let text = match facts.daemon.status() {
        Some(_) => format!("{} routes have its protocol number that {what}", left.len()),
        None => format!("{} routes that {what} in the kernel", left.len()),
    };
    let mut finding = Finding::certain(text);
    finding.evidence = left
        .iter()
        .take(5)
        .map(|route| {
            let link = route.hops.first().and_then(|hop| facts.net().link(hop.link));
            format!(
                "{} dev {} proto {}",
                route.dst,
                link.map_or("-", |link| link.name.as_str()),
                route.protocol
            )
        })
        .collect();
    let first = left.first().map_or_else(String::new, |route| route.dst.to_string());
    vec![match facts.daemon.status() {
        Some(_) => finding.mend(format!("ip route del {first}   # and so on")),
        None => finding.mend("route-sync cleanup"),
    }]
}

/// Symptom 21.
pub const SILENT: Check = Check {
    id: "pods-silent",
    symptom: "Other nodes answer and their pods do not, on AWS, OpenStack, Hetzner, Azure and other clouds",
    cause: "The cloud's network drops packets whose source or destination is not an address of the machine, as those of \
            pods are in mode \"direct\".",
    remedy: "Set mode = \"vxlan\" in route-sync.toml on every node, or switch the cloud's source check off.",
    run: silent,
};

fn silent(facts: &Facts) -> Vec<Finding> {
    let Some(status) = facts.daemon.status() else { return vec![] };
    let silent = status.problems.iter().filter(|problem| problem.what.starts_with("pods of node "));
    let silent: Vec<_> = silent.collect();
    if silent.is_empty() {
        return vec![];
    }
    let direct = status.cidrs.iter().any(|entry| entry.path == "direct");
    let what = format!("{} pod networks do not answer although their nodes do", silent.len());
    let mut finding = Finding::likely(what);
    finding.evidence =
        silent.iter().take(3).map(|one| format!("{}: {}", one.what, one.error)).collect();
    vec![if direct {
        finding.mend("mode = \"vxlan\" in /etc/ferrule/route-sync.toml, on every node")
    } else {
        finding.mend("ferrule doctor   # on the silent node")
    }]
}

/// Symptom 14.
pub const NETWORKD: Check = Check {
    id: "networkd",
    symptom: "Pods lose their network after a restart or upgrade of systemd-networkd",
    cause: "systemd-networkd configures links that a .network file of the distribution matches, and removes addresses, \
            routes and rules that are not its own when it starts (ManageForeignRoutes=yes is the default).",
    remedy: "Install conf/10-ferrule.network, and set ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no in \
             /etc/systemd/networkd.conf.",
    run: networkd,
};

fn networkd(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let has_pods = facts.records.iter().flatten().next().is_some();
    if !host.networkd || host.networkd_spares || !(has_pods || facts.daemon.is_expected()) {
        return vec![];
    }
    let finding = Finding::likely(
        "systemd-networkd runs, and no .network file keeps it from pods' links",
    )
    .because("/run/systemd/netif/state is there, and no .network file has Unmanaged=yes for veth*");
    let finding = if host.manages_foreign_routes {
        finding.because(
            "ManageForeignRoutes is not \"no\": at its start it removes routes of other programs",
        )
    } else {
        finding
    };
    vec![
        finding
            .mend("cp conf/10-ferrule.network /etc/systemd/network/ && networkctl reload")
            .mend("ManageForeignRoutes=no in the section [Network] of /etc/systemd/networkd.conf"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::{ConfFile, Plugin};
    use crate::facts::daemon::{Entry, Problem, Status};
    use crate::facts::leases::Lease;
    use crate::facts::nothing;
    use crate::facts::records::RecordFile;
    use nft::{SeenChain, SeenTable};

    fn with_pod() -> Facts {
        let mut facts = nothing();
        let plugin = Plugin { kind: "bridge".to_owned(), is_gateway: true, ..Plugin::default() };
        let file =
            ConfFile { network: "pods".to_owned(), plugins: vec![plugin], ..ConfFile::default() };
        facts.conflists = Ok(vec![file]);
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
    fn pods_without_a_translation_are_told() {
        let mut facts = with_pod();
        assert_eq!(masquerade(&facts).len(), 1);
        let chain = SeenChain { name: "cluster-masq".to_owned(), ..SeenChain::default() };
        let table = SeenTable { family: "inet", name: "ferrule".to_owned(), chains: vec![chain] };
        facts.filter.as_mut().unwrap().tables.push(table);
        assert_eq!(masquerade(&facts), []);
    }

    #[test]
    fn an_administrators_masquerade_is_seen_and_kube_proxys_is_not_counted() {
        let mut facts = with_pod();
        let rule = b"\x09\0\x01\0masq\0".to_vec();
        let chain = |name: &str| SeenChain {
            name: name.to_owned(),
            rules: vec![rule.clone()],
            ..SeenChain::default()
        };
        let table = |name: &str| SeenTable {
            family: "ip",
            name: "nat".to_owned(),
            chains: vec![chain(name)],
        };
        facts.filter.as_mut().unwrap().tables = vec![table("KUBE-POSTROUTING")];
        assert_eq!(masquerade(&facts).len(), 1);
        facts.filter.as_mut().unwrap().tables = vec![table("POSTROUTING")];
        assert_eq!(masquerade(&facts), []);
    }

    #[test]
    fn routes_that_the_daemon_does_not_keep_are_told() {
        let mut facts = nothing();
        let route =
            |dst: &str| Route { protocol: 118, ..Route::new(dst.parse().unwrap(), None, 1) };
        facts.network.as_mut().unwrap().routes =
            vec![route("10.244.2.0/24"), route("10.244.9.0/24")];
        assert_eq!(stale(&facts)[0].remedy, ["route-sync cleanup"]);
        let entry = Entry {
            node: "two".to_owned(),
            cidr: "10.244.2.0/24".parse().unwrap(),
            path: "direct".to_owned(),
            via: None,
            state: "synced".to_owned(),
            error: None,
        };
        let status = Status { synced: true, cidrs: vec![entry], ..Status::default() };
        facts.daemon.status = Ok(Some(status));
        assert_eq!(stale(&facts)[0].evidence, ["10.244.9.0/24 dev - proto 118"]);
    }

    #[test]
    fn silent_pod_networks_are_told() {
        let mut facts = nothing();
        let problem =
            Problem { what: "pods of node two, IPv4".to_owned(), error: "silent".to_owned() };
        facts.daemon.status = Ok(Some(Status { problems: vec![problem], ..Status::default() }));
        assert_eq!(silent(&facts)[0].evidence, ["pods of node two, IPv4: silent"]);
    }

    #[test]
    fn networkd_is_told_of_while_no_file_keeps_it_away() {
        let mut facts = nothing();
        facts.host.networkd = true;
        assert_eq!(networkd(&facts), [], "no pods");
        let record =
            RecordFile { name: "bridge-1".to_owned(), record: None, age: 1, locked: false };
        facts.records = Ok(vec![record]);
        assert_eq!(networkd(&facts).len(), 1);
        facts.host.networkd_spares = true;
        assert_eq!(networkd(&facts), []);
    }
}
