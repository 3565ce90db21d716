//! Pods on one bridge: what they send to each other passes the hooks of IP only where the bridge's own
//! switch or the network namespace's sysctl says so. The bridge's own changes no other bridge.

use net::{Link, Result, Socket, link};
use std::collections::BTreeSet;
use std::path::Path;

/// br_netfilter's sysctls, which are there with it.
const BR_NETFILTER: &str = "/proc/sys/net/bridge";

/// The bridges that a pod of ours is a port of, by the alias of the pod's link.
fn ours(links: &[Link]) -> impl Iterator<Item = &Link> {
    let of_pods =
        links.iter().filter(|link| link.kind == "veth" && link.alias.starts_with("ferrule "));
    let masters: BTreeSet<u32> =
        of_pods.map(|link| link.master).filter(|master| *master > 0).collect();
    links.iter().filter(move |link| link.kind == "bridge" && masters.contains(&link.index))
}

/// Switches the hooks of our bridges on. What stands in the way, in words.
pub(super) fn hook(host: &mut Socket) -> Result<Vec<String>> {
    let links = host.list(&link::list())?;
    let mut any = false;
    for bridge in ours(&links) {
        any = true;
        if bridge.calls_hooks != [true, true] {
            host.set(&link::set_hooks(bridge.index, true, &bridge.name))?;
        }
    }
    let missing = any && !Path::new(BR_NETFILTER).exists();
    let problem = "policies do not see what pods of one bridge send to each other: load the kernel module \
                   br_netfilter";
    Ok(missing.then(|| problem.to_owned()).into_iter().collect())
}

/// Switches them off again.
pub(super) fn unhook(host: &mut Socket) -> Result<()> {
    let links = host.list(&link::list())?;
    for bridge in ours(&links).filter(|bridge| bridge.calls_hooks != [false, false]) {
        match host.set(&link::set_hooks(bridge.index, false, &bridge.name)) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, kind: &str, alias: &str, master: u32) -> Link {
        let (kind, alias) = (kind.to_owned(), alias.to_owned());
        Link { index, kind, alias, master, ..Link::default() }
    }

    #[test]
    fn only_bridges_of_our_pods_are_ours() {
        let links = [
            link(1, "bridge", "", 0),
            link(2, "bridge", "", 0),
            link(3, "veth", "ferrule 3f9a pods c0ffee eth0", 1),
            link(4, "veth", "", 2),
            link(5, "veth", "ferrule 77aa pods decaf eth0", 0),
        ];
        assert_eq!(ours(&links).map(|bridge| bridge.index).collect::<Vec<_>>(), [1]);
    }
}
