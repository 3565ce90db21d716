//! Connection tracking.

use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;

/// Symptom 18.
pub const FULL: Check = Check {
    id: "conntrack-full",
    symptom: "Connections fail at random under load: \"nf_conntrack: table full, dropping packet\"",
    cause: "The kernel remembers as many connections as nf_conntrack_max allows, and drops packets of new ones.",
    remedy: "Raise net.netfilter.nf_conntrack_max (kube-proxy does so by --conntrack-max-per-core).",
    run: full,
};

fn full(facts: &Facts) -> Vec<Finding> {
    let number = |key: &str| facts.sysctls.number(&format!("net/netfilter/{key}")).unwrap_or(0);
    let (count, max) = (number("nf_conntrack_count"), number("nf_conntrack_max"));
    let grown = |name: &str| {
        let [before, after] = facts.counters.each_ref().map(|counters| counters.get(name));
        after.saturating_sub(before)
    };
    let dropped = grown("conntrack.drop") + grown("conntrack.early_drop");
    let is_full = max > 0 && count.saturating_mul(10) >= max.saturating_mul(9);
    if !is_full && dropped == 0 {
        return vec![];
    }
    let what = format!(
        "{count} of {max} connections are tracked, and {dropped} packets were dropped just now"
    );
    let finding = if dropped > 0 { Finding::certain(what) } else { Finding::likely(what) };
    let wanted = max.saturating_mul(2).max(131_072);
    vec![finding
        .because("net.netfilter.nf_conntrack_count and nf_conntrack_max, /proc/net/stat/nf_conntrack")
        .mend(format!("sysctl -w net.netfilter.nf_conntrack_max={wanted}"))]
}

/// Symptom 19.
pub const INSERT_FAILED: Check = Check {
    id: "dns-delay",
    symptom: "Some DNS queries of pods take 5 seconds",
    cause: "A resolver sends the queries for A and AAAA at once from one port. Both are translated to a DNS pod, and the \
            kernel drops the second one when they race (insert_failed). The resolver asks again after 5 seconds.",
    remedy: "Run NodeLocal DNSCache, or set `options single-request-reopen` in the pods' dnsConfig.",
    run: insert_failed,
};

fn insert_failed(facts: &Facts) -> Vec<Finding> {
    let [before, after] =
        facts.counters.each_ref().map(|counters| counters.get("conntrack.insert_failed"));
    if after <= before {
        return vec![];
    }
    let what = format!(
        "the kernel drops packets of connections that race: {after} since the start, {} just now",
        after - before
    );
    vec![Finding::likely(what).because("insert_failed in /proc/net/stat/nf_conntrack").mend(
        "run NodeLocal DNSCache, or set `options single-request-reopen` in the pods' dnsConfig",
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::nothing;

    #[test]
    fn a_table_that_is_nearly_full_is_told() {
        let mut facts = nothing();
        let mut set = |key: &str, value: &str| {
            facts.sysctls.0.insert(format!("net/netfilter/{key}"), value.to_owned());
            full(&facts)
        };
        assert_eq!(set("nf_conntrack_max", "1000"), []);
        assert_eq!(set("nf_conntrack_count", "899"), []);
        let found = set("nf_conntrack_count", "900");
        assert_eq!(
            found[0].what,
            "900 of 1000 connections are tracked, and 0 packets were dropped just now"
        );
        assert_eq!(found[0].remedy, ["sysctl -w net.netfilter.nf_conntrack_max=131072"]);
    }

    #[test]
    fn races_are_told_while_they_happen() {
        let mut facts = nothing();
        facts.counters[1].0.insert("conntrack.insert_failed".to_owned(), 3);
        assert!(insert_failed(&facts)[0].what.ends_with("3 since the start, 3 just now"));
        facts.counters[0] = facts.counters[1].clone();
        assert_eq!(insert_failed(&facts), []);
    }
}
