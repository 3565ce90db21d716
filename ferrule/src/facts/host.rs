//! Other programs that configure the node's network, and what other CNI suites left.

use crate::places::{self, Places};

/// What was found of other programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// systemd-networkd runs.
    pub networkd: bool,
    /// It removes routes and rules that are not its own: `ManageForeignRoutes`.
    pub manages_foreign_routes: bool,
    /// A `.network` file keeps it from pods' links.
    pub networkd_spares: bool,
    /// NetworkManager runs.
    pub network_manager: bool,
    /// A file keeps it from pods' links.
    pub network_manager_spares: bool,
    /// Files of other CNI suites, by suite.
    pub leftovers: Vec<(&'static str, String)>,
}

/// Files that are there only while a suite is installed.
const FILES: &[(&str, &str)] = &[
    ("flannel", "/run/flannel/subnet.env"),
    ("Calico", "/var/lib/calico/nodename"),
    ("Cilium", "/var/run/cilium/cilium.sock"),
    ("Weave", "/var/lib/weave/weave-netdata.db"),
    ("kube-router", "/var/lib/kube-router/kubeconfig"),
];

impl Host {
    /// Reads all of it.
    #[must_use]
    pub fn read(places: &Places) -> Host {
        let networks = configurations(places, "systemd/network", ".network");
        let manager = configurations(places, "NetworkManager/conf.d", ".conf");
        let left = FILES.iter().filter(|(_, path)| places.exists(path));
        Host {
            networkd: places.exists("/run/systemd/netif/state"),
            manages_foreign_routes: manages_foreign_routes(places),
            networkd_spares: networks.iter().any(|text| spares(text)),
            network_manager: places.exists("/run/NetworkManager"),
            network_manager_spares: manager.iter().any(|text| {
                value(text, "unmanaged-devices").is_some_and(|names| names.contains("veth"))
            }),
            leftovers: left.map(|(suite, path)| (*suite, (*path).to_owned())).collect(),
        }
    }
}

/// The texts of a program's configurations, in its three folders.
fn configurations(places: &Places, folder: &str, end: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for root in ["/usr/lib", "/etc", "/run"] {
        let path = format!("{root}/{folder}");
        let names = places::names(&places.at(&path)).ok().flatten().unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(end)) {
            texts.extend(places.text(&format!("{path}/{name}")).ok().flatten());
        }
    }
    texts
}

/// The last value of a key in an INI file.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).next_back()
}

/// The default is yes (networkd.conf(5)).
fn manages_foreign_routes(places: &Places) -> bool {
    let mut texts = configurations(places, "systemd/networkd.conf.d", ".conf");
    let main = places.text("/etc/systemd/networkd.conf").ok().flatten();
    texts.splice(0..0, main);
    let last = texts.iter().filter_map(|text| value(text, "ManageForeignRoutes")).next_back();
    !last.is_some_and(|value| ["no", "false", "0", "off"].contains(&value))
}

fn spares(network: &str) -> bool {
    let names = value(network, "Name").unwrap_or_default();
    names.contains("veth") && matches!(value(network, "Unmanaged"), Some("yes" | "true" | "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_network_file_spares_the_pods_links() {
        assert!(spares(include_str!("../../../conf/10-ferrule.network")));
        assert!(!spares("[Match]\nName=eth*\n"));
        let manager = include_str!("../../../conf/10-ferrule-networkmanager.conf");
        assert!(value(manager, "unmanaged-devices").unwrap().contains("veth"));
    }
}
