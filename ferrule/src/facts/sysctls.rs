//! Switches below /proc/sys/net.

use crate::places::Places;
use std::collections::BTreeMap;

/// Values by key: `net/ipv4/ip_forward`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sysctls(pub BTreeMap<String, String>);

const KEYS: [&str; 9] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/default/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_count",
];
const OF_LINK: [&str; 4] = [
    "ipv4/conf/{}/forwarding",
    "ipv4/conf/{}/rp_filter",
    "ipv6/conf/{}/forwarding",
    "ipv6/conf/{}/disable_ipv6",
];

impl Sysctls {
    /// Reads those that checks look at, of the node and of each link.
    #[must_use]
    pub fn read(places: &Places, links: &[String]) -> Sysctls {
        let of_link = |link: &String| OF_LINK.map(|key| format!("net/{}", key.replace("{}", link)));
        let keys = KEYS.iter().map(|key| (*key).to_owned());
        let keys = keys.chain(links.iter().flat_map(of_link));
        let value = |key: String| {
            let text = places.text(&format!("/proc/sys/{key}")).ok()??;
            Some((key, text.trim().to_owned()))
        };
        Sysctls(keys.filter_map(value).collect())
    }

    /// A value; `None` where the kernel does not have it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A value that is a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Whether a switch exists and is off.
    #[must_use]
    pub fn is_off(&self, key: &str) -> bool {
        self.get(key) == Some("0")
    }

    /// The mode of the reverse path filter in force for a link: 0 none, 1 strict, 2 loose.
    #[must_use]
    pub fn rp_filter(&self, link: &str) -> u64 {
        let of = |name: &str| self.number(&format!("net/ipv4/conf/{name}/rp_filter")).unwrap_or(0);
        of("all").max(of(link))
    }
}
