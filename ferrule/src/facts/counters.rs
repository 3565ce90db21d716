//! Counters of the kernel that grow where packets are lost.

use crate::places::Places;
use std::collections::BTreeMap;

/// Counters by name; one that the kernel does not have is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub BTreeMap<String, u64>);

impl Counters {
    /// Reads those of UDP and of connection tracking.
    #[must_use]
    pub fn read(places: &Places) -> Counters {
        let text = |path: &str| places.text(path).ok().flatten().unwrap_or_default();
        let mut counters = snmp(&text("/proc/net/snmp"));
        counters.extend(conntrack(&text("/proc/net/stat/nf_conntrack")));
        Counters(counters)
    }

    /// A counter.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

/// `/proc/net/snmp`: a line of names, then one of values, for each protocol.
fn snmp(text: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = BTreeMap::new();
    for pair in lines.chunks_exact(2) {
        let (Some((protocol, names)), Some((_, values))) =
            (pair[0].split_once(": "), pair[1].split_once(": "))
        else {
            continue;
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            counters.extend(value.parse().ok().map(|value| (format!("{protocol}.{name}"), value)));
        }
    }
    counters
}

/// `/proc/net/stat/nf_conntrack`: a line of names, then one of hexadecimal values for each CPU.
fn conntrack(text: &str) -> BTreeMap<String, u64> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let mut counters = BTreeMap::new();
    for line in lines {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            let value = u64::from_str_radix(value, 16).unwrap_or(0);
            *counters.entry(format!("conntrack.{name}")).or_insert(0) += value;
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_by_protocol() {
        let text = "Udp: InDatagrams NoPorts InErrors InCsumErrors\nUdp: 5 1 0 3\n";
        assert_eq!(snmp(text)["Udp.InCsumErrors"], 3);
        let text =
            "entries insert_failed drop\n00000002 0000000a 00000000\n00000002 00000001 00000002\n";
        let counters = conntrack(text);
        assert_eq!((counters["conntrack.insert_failed"], counters["conntrack.drop"]), (11, 2));
    }
}
