//! Other programs.

use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;
use net::Link;
use std::collections::BTreeMap;

/// Symptom 24.
pub const MIXED_IPTABLES: Check = Check {
    id: "mixed-iptables",
    symptom: "Rules seem to be ignored, or apply twice; `iptables -L` does not show what is in force",
    cause: "Some programs use iptables-legacy and others iptables-nft. Both have rules in the kernel, each packet passes \
            both, and each tool shows its own only.",
    remedy: "Choose one for the whole node (`update-alternatives --config iptables`), flush the other, and restart what \
             uses it.",
    run: mixed_iptables,
};

fn mixed_iptables(facts: &Facts) -> Vec<Finding> {
    let Ok(filter) = &facts.filter else { return vec![] };
    let named = ["filter", "nat", "mangle", "raw", "security"];
    let by_nft = filter.tables.iter().filter(|table| {
        let has_rules = |table: &nft::SeenTable| table.chains.iter().any(|chain| chain.uses > 0);
        table.family != "inet" && named.contains(&table.name.as_str()) && has_rules(table)
    });
    let by_nft: Vec<String> = by_nft.map(nft::SeenTable::title).collect();
    if filter.legacy.is_empty() || by_nft.is_empty() {
        return vec![];
    }
    vec![Finding::likely("iptables-legacy and iptables-nft are both in use")
        .because(format!("of iptables-legacy: {}", filter.legacy.join(", ")))
        .because(format!("of iptables-nft: {}", by_nft.join(", ")))
        .mend("update-alternatives --config iptables   # choose nft")
        .mend("iptables-legacy-save >/var/tmp/legacy.rules; iptables-legacy -F; iptables-legacy -t nat -F   # then restart what uses it")]
}

/// Symptom 26.
pub const LEFTOVERS: Check = Check {
    id: "leftovers",
    symptom: "After another CNI suite was removed: packets are lost, or take odd ways",
    cause: "The other suite's links, rules or files are still there. Removing its DaemonSet removes none of them.",
    remedy: "Remove them, or boot the node again, which removes all but files.",
    run: leftovers,
};

/// How the names of suites' links begin.
const LINKS: &[(&str, &str)] = &[
    ("flannel", "flannel"),
    ("Calico", "cali"),
    ("Calico", "vxlan.calico"),
    ("Cilium", "cilium_"),
    ("Cilium", "lxc"),
    ("Weave", "weave"),
    ("kube-router", "kube-bridge"),
    ("Antrea", "antrea-"),
    ("OVN-Kubernetes", "ovn-k8s"),
];
/// How the names of suites' chains begin.
const CHAINS: &[(&str, &str)] = &[
    ("flannel", "FLANNEL-"),
    ("Calico", "cali-"),
    ("Cilium", "CILIUM_"),
    ("Weave", "WEAVE"),
    ("kube-router", "KUBE-ROUTER"),
    ("Antrea", "ANTREA-"),
];
/// The types of suites' plugins.
const KINDS: &[(&str, &str)] = &[
    ("flannel", "flannel"),
    ("Calico", "calico"),
    ("Cilium", "cilium-cni"),
    ("Weave", "weave-net"),
    ("Antrea", "antrea"),
    ("OVN-Kubernetes", "ovn-k8s-cni-overlay"),
];

fn leftovers(facts: &Facts) -> Vec<Finding> {
    let Some(first) = facts.first() else { return vec![] };
    let in_use = |suite: &str| {
        let kind = KINDS.iter().find(|(name, _)| *name == suite).map(|(_, kind)| *kind);
        first.plugins.iter().any(|plugin| kind == Some(plugin.kind.as_str()))
    };
    let mut left = BTreeMap::<&str, (Vec<String>, Vec<String>)>::new();
    let foreign = |link: &&Link| !link.alias.starts_with("ferrule");
    for link in facts.net().links.iter().filter(foreign) {
        if let Some((suite, _)) = LINKS.iter().find(|(_, begin)| link.name.starts_with(begin)) {
            let (what, mend) = left.entry(suite).or_default();
            what.push(format!("link {}", link.name));
            mend.push(format!("ip link delete {}", link.name));
        }
    }
    for table in facts.filter.iter().flat_map(|filter| filter.others()) {
        for (suite, begin) in CHAINS {
            let chains = table.chains.iter().filter(|chain| chain.name.starts_with(begin));
            let count = chains.count();
            if count > 0 {
                let (what, mend) = left.entry(suite).or_default();
                what.push(format!("{count} chains {begin}… in table {}", table.title()));
                mend.push(format!(
                    "nft list table {}   # and delete the jumps to {begin}…, then these chains",
                    table.title()
                ));
            }
        }
    }
    for (suite, path) in &facts.host.leftovers {
        let (what, mend) = left.entry(suite).or_default();
        what.push(format!("file {path}"));
        mend.push(format!("rm {path}"));
    }
    let left = left.into_iter().filter(|(suite, _)| !in_use(suite));
    let finding = |(suite, (evidence, remedy)): (&str, (Vec<String>, Vec<String>))| Finding {
        evidence,
        remedy,
        ..Finding::likely(format!("parts of {suite} are left, and it is not in use"))
    };
    left.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::conflists::ConfFile;
    use crate::facts::nothing;
    use nft::{SeenChain, SeenTable};

    #[test]
    fn both_kinds_of_iptables_are_told() {
        let mut facts = nothing();
        let filter = facts.filter.as_mut().unwrap();
        let chain = SeenChain { name: "INPUT".to_owned(), uses: 1, ..SeenChain::default() };
        filter.tables =
            vec![SeenTable { family: "ip", name: "filter".to_owned(), chains: vec![chain] }];
        assert_eq!(mixed_iptables(&facts), []);
        facts.filter.as_mut().unwrap().legacy = vec!["ip nat".to_owned()];
        assert_eq!(mixed_iptables(&facts)[0].evidence[1], "of iptables-nft: ip filter");
    }

    #[test]
    fn links_and_chains_of_a_suite_that_is_not_in_use_are_told() {
        let mut facts = nothing();
        facts.conflists = Ok(vec![ConfFile::default()]);
        let link = |name: &str| Link { name: name.to_owned(), ..Link::default() };
        facts.network.as_mut().unwrap().links = vec![link("flannel.1"), link("eth0")];
        let found = leftovers(&facts);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].remedy, ["ip link delete flannel.1"]);
        let plugin =
            crate::facts::conflists::Plugin { kind: "flannel".to_owned(), ..Default::default() };
        facts.conflists = Ok(vec![ConfFile { plugins: vec![plugin], ..ConfFile::default() }]);
        assert_eq!(leftovers(&facts), []);
    }
}
