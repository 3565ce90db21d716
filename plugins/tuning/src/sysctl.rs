//! Keys of the object `sysctl`: from the text to the file below /proc/sys/net.

use cni::{Error, Result};

/// A sysctl and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The key as the configuration has it.
    pub key: String,
    /// The file below /proc/sys.
    pub path: String,
    /// The value.
    pub value: String,
}

/// Places, with an index for each link, in which the name of a link stands at this depth.
const OF_LINKS: [[&str; 3]; 5] = [
    ["net", "ipv4", "conf"],
    ["net", "ipv4", "neigh"],
    ["net", "ipv6", "conf"],
    ["net", "ipv6", "neigh"],
    ["net", "mpls", "conf"],
];

/// The file that a key names. Its parts are separated by dots or slashes. The name of a link may
/// hold dots: in `net.ipv4.conf.eth0.100.forwarding` it is `eth0.100`. `IFNAME` stands for the pod's
/// interface, once.
///
/// # Errors
/// Code 7 where the key does not name a sysctl below `net`.
pub fn path(key: &str, ifname: &str) -> Result<String> {
    let mut parts: Vec<&str> = key.split(['.', '/']).collect();
    let plain = |part: &&str| !part.is_empty() && !part.contains(|c: char| c.is_control());
    if !parts.iter().all(plain) {
        return Err(invalid(key).details(
            "a key is words with single dots or slashes between them: net.ipv4.conf.IFNAME.arp_filter",
        ));
    }
    if parts[0] != "net" || parts.len() < 2 {
        let why = "only sysctls below net can be set, since each pod has its own of these";
        return Err(invalid(key).details(why));
    }
    let link;
    if OF_LINKS.iter().any(|place| parts.starts_with(place)) && parts.len() > 5 {
        let last = parts.len() - 1;
        link = parts[3..last].join(".");
        parts.splice(3..last, [link.as_str()]);
    }
    Ok(parts.join("/").replacen("IFNAME", ifname, 1))
}

fn invalid(key: &str) -> Error {
    Error::config(format!("invalid net sysctl key: {key:?}"))
}

/// Sysctls with their values, in the order in which they are written: those of all links before
/// those of one, which the kernel overwrites with them (net/ipv4/devinet.c, inet_forward_change).
///
/// # Errors
/// Code 7 where a key is invalid, or two keys name one sysctl.
pub fn all(pairs: impl IntoIterator<Item = (String, String)>, ifname: &str) -> Result<Vec<Sysctl>> {
    let mut sysctls: Vec<Sysctl> = Vec::new();
    for (key, value) in pairs {
        let path = path(&key, ifname)?;
        if let Some(other) = sysctls.iter().find(|other| other.path == path) {
            return Err(twice(&other.key, &key));
        }
        if value.contains('\0') {
            return Err(Error::config(format!("the value of sysctl {key} holds a NUL")));
        }
        sysctls.push(Sysctl { key, path, value });
    }
    sysctls.sort_by_key(|sysctl| (is_of_one_link(&sysctl.path), sysctl.path.clone()));
    Ok(sysctls)
}

/// Two keys of the configuration are one.
pub fn twice(one: &str, other: &str) -> Error {
    Error::config("duplicated sysctl keys are not allowed")
        .details(format!("{one:?} and {other:?} are one sysctl; remove one of them"))
}

fn is_of_one_link(path: &str) -> bool {
    let mut parts = path.split('/');
    let of_links = matches!(parts.nth(2), Some("conf" | "neigh"));
    of_links && !matches!(parts.next(), Some("all" | "default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is(key: &str, wanted: &str) {
        assert_eq!(path(key, "eth0.7").unwrap(), wanted, "{key}");
    }

    #[test]
    fn dots_and_slashes_separate() {
        is("net.core.somaxconn", "net/core/somaxconn");
        is("net/core/somaxconn", "net/core/somaxconn");
        is("net.ipv4/ip_forward", "net/ipv4/ip_forward");
        is(
            "net.netfilter.nf_conntrack_tcp_be_liberal",
            "net/netfilter/nf_conntrack_tcp_be_liberal",
        );
    }

    #[test]
    fn names_of_links_hold_dots() {
        is("net.ipv4.conf.eth0.arp_filter", "net/ipv4/conf/eth0/arp_filter");
        is("net.ipv4.conf.eth0.100.arp_filter", "net/ipv4/conf/eth0.100/arp_filter");
        is("net.ipv4.conf.eth0/100.arp_filter", "net/ipv4/conf/eth0.100/arp_filter");
        is("net/ipv6/neigh/eth0.100/ucast_solicit", "net/ipv6/neigh/eth0.100/ucast_solicit");
        is("net/ipv4/conf/IFNAME/arp_filter", "net/ipv4/conf/eth0.7/arp_filter");
        is("net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.7/arp_filter");
        is("net.ipv4.conf.IFNAME.IFNAME", "net/ipv4/conf/eth0.7/IFNAME");
    }

    #[test]
    fn nothing_leaves_net() {
        for key in [
            "kernel.hostname",
            "net/../kernel/hostname",
            "net.ipv4....kernel",
            "/net/core/somaxconn",
            "/proc/sys/net/core/somaxconn",
            "..",
            ".",
            "",
            "net",
            "net.",
            "net//core/somaxconn",
            "net/./core",
            "network.x",
            "vm/swappiness",
            "net.core.a\nb",
            "net.core.a\0b",
            "net/ipv4/conf/../../../kernel/hostname",
            "../net/core/somaxconn",
        ] {
            let error = path(key, "eth0").unwrap_err();
            assert_eq!(error.code, 7, "{key}");
            assert!(error.msg.starts_with("invalid net sysctl key: "), "{error}");
        }
    }

    #[test]
    fn one_sysctl_is_set_once() {
        let pair = |key: &str| (key.to_owned(), "1".to_owned());
        let error = all([pair("net.core.a"), pair("net/core/a")], "eth0").unwrap_err();
        assert_eq!(error.msg, "duplicated sysctl keys are not allowed");
        assert!(error.details.contains("\"net.core.a\" and \"net/core/a\""), "{error}");
    }

    #[test]
    fn those_of_all_links_come_before_those_of_one() {
        let keys =
            ["net.ipv4.conf.IFNAME.forwarding", "net.ipv4.conf.all.forwarding", "net.core.a"];
        let sysctls = all(keys.map(|key| (key.to_owned(), String::new())), "aaa0").unwrap();
        let paths: Vec<_> = sysctls.iter().map(|sysctl| sysctl.path.as_str()).collect();
        let wanted =
            ["net/core/a", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/aaa0/forwarding"];
        assert_eq!(paths, wanted);
    }
}
