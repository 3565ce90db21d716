//! What is left of attachments, and what they lack.

use crate::attachments;
use crate::check::Check;
use crate::facts::Facts;
use crate::finding::Finding;

/// Leftovers of pods.
pub const ORPHANS: Check = Check {
    id: "orphans",
    symptom: "Addresses, links or rules stay behind after pods are gone",
    cause: "An ADD or DEL was killed, or the runtime never called DEL, and its GC has not run since.",
    remedy: "Let the runtime collect garbage: containerd 2.0 and newer does so at its start; `cnitool gc` does it by hand.",
    run: orphans,
};

fn orphans(facts: &Facts) -> Vec<Finding> {
    let all = attachments::list(facts);
    let orphans: Vec<_> = all.iter().filter(|one| one.orphan.is_some()).collect();
    if orphans.is_empty() {
        return vec![];
    }
    let count = orphans.len();
    let what = if count == 1 {
        "1 attachment is an orphan".to_owned()
    } else {
        format!("{count} attachments are orphans")
    };
    let shown = orphans.iter().take(3).map(|one| {
        let why = one.orphan.as_deref().unwrap_or_default();
        format!("{} {} on {}: {why}", one.name(), one.ifname, one.network)
    });
    let mut finding = Finding::likely(what);
    finding.evidence.extend(shown);
    vec![
        finding
            .mend("ferrule ls   # shows all of them")
            .mend("systemctl restart containerd   # from 2.0 on it collects garbage then"),
    ]
}

/// Rules that another program flushed.
pub const LOST_RULES: Check = Check {
    id: "rules-lost",
    symptom: "Pods that worked lose the way out, or their host ports, after a reload of the firewall",
    cause: "Another program flushed the whole nftables ruleset (`nft flush ruleset`, a reload of nftables.service), and \
            Ferrule's tables with it. The daemon restores its own part at once; what belongs to pods comes back with \
            the next ADD of each.",
    remedy: "Start the pods again, and let the other program flush its own tables alone.",
    run: lost_rules,
};

fn lost_rules(facts: &Facts) -> Vec<Finding> {
    let Ok(filter) = &facts.filter else { return vec![] };
    let mut lost = Vec::new();
    for file in facts.records.iter().flatten().filter(|file| !file.locked) {
        let Some(record) = file.record.as_ref().filter(|record| record.complete) else { continue };
        for owned in
            record.owned.iter().filter(|owned| owned.is_masquerade() || owned.is_forwarded())
        {
            if !filter.marked.iter().any(|(_, marked)| marked == owned) {
                lost.push(format!("{owned} of {}", record.container_id));
            }
        }
    }
    if lost.is_empty() {
        return vec![];
    }
    let mut finding =
        Finding::certain(format!("{} rules of pods are missing in nftables", lost.len()));
    finding.evidence.extend(
        lost.into_iter()
            .take(3)
            .map(|what| format!("{what} is recorded, and not in table inet ferrule")),
    );
    vec![finding
        .mend("start the pods of this node again: kubectl delete pod --field-selector spec.nodeName=NODE")
        .mend("in /etc/nftables.conf, replace `flush ruleset` by `flush table` of its own tables")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::nothing;
    use crate::facts::records::RecordFile;
    use attach::Owned;
    use attach::record::Record;

    fn facts(owned: Vec<Owned>) -> Facts {
        let mut facts = nothing();
        let record =
            Record { container_id: "c1".to_owned(), owned, complete: true, ..Record::default() };
        let name = format!("bridge-{}", record.attachment().hash());
        facts.records = Ok(vec![RecordFile { name, record: Some(record), age: 1, locked: false }]);
        facts
    }

    fn masquerade() -> Owned {
        serde_json::from_str(r#"{"kind":"masquerade","address":"10.1.0.5"}"#).unwrap()
    }

    #[test]
    fn recorded_rules_that_nftables_lacks_are_counted() {
        let mut facts = facts(vec![masquerade()]);
        assert_eq!(lost_rules(&facts)[0].what, "1 rules of pods are missing in nftables");
        facts.filter.as_mut().unwrap().marked.push((String::new(), masquerade()));
        assert_eq!(lost_rules(&facts), []);
    }

    #[test]
    fn a_link_that_is_gone_makes_an_orphan() {
        let found = orphans(&facts(vec![Owned::Veth { host: "veth1".to_owned() }]));
        assert_eq!(found[0].what, "1 attachment is an orphan");
        assert_eq!(orphans(&facts(vec![])), []);
    }
}
