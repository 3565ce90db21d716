//! nftables, and iptables of both kinds.

use crate::places::Places;
use attach::{Kernel, Owned};
use nft::{Nft, SeenTable};
use std::net::IpAddr;

/// What filters and translates packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The tables of nf_tables of the families of IP; those of iptables-nft among them.
    pub tables: Vec<SeenTable>,
    /// What carries marks of attachments, each with its mark.
    pub marked: Vec<(String, Owned)>,
    /// The tables of iptables-legacy, `ip filter` or `ip6 nat`.
    pub legacy: Vec<String>,
    /// The families whose chain FORWARD of iptables-legacy drops by its policy.
    pub legacy_drops: Vec<&'static str>,
}

impl Filter {
    /// Reads all of it. A kernel without nf_tables has none. `addresses`: pods'.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(places: &Places, addresses: &[IpAddr]) -> Result<Filter, String> {
        let tables = match Nft::open().and_then(|mut nft| nft.survey()) {
            Err(error) if error.is_unsupported() => Vec::new(),
            tables => tables.map_err(|error| error.to_string())?,
        };
        let marked = Kernel::open(None).and_then(|mut kernel| kernel.marked_rules());
        let drops = [("IPv4", true), ("IPv6", false)].into_iter().filter(|(_, v4)| {
            let pod = addresses.iter().find(|address| address.is_ipv4() == *v4);
            pod.is_some_and(|pod| net::xtables::forward_drops(*pod, nft::ACCEPT_MARK) == Ok(true))
        });
        Ok(Filter {
            tables,
            marked: marked.map_err(|error| error.to_string())?,
            legacy: legacy(places),
            legacy_drops: drops.map(|(family, _)| family).collect(),
        })
    }

    /// The table of ours of IP packets.
    #[must_use]
    pub fn ours(&self) -> Option<&SeenTable> {
        self.tables.iter().find(|table| table.family == "inet" && table.name == "ferrule")
    }

    /// Whether chain `name` is in our table.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.ours().is_some_and(|table| table.chains.iter().any(|chain| chain.name == name))
    }

    /// The tables of other programs.
    pub fn others(&self) -> impl Iterator<Item = &SeenTable> {
        self.tables.iter().filter(|table| !table.name.starts_with("ferrule"))
    }
}

fn legacy(places: &Places) -> Vec<String> {
    let mut tables = Vec::new();
    for (file, family) in [("ip_tables_names", "ip"), ("ip6_tables_names", "ip6")] {
        let names = places.text(&format!("/proc/net/{file}")).ok().flatten().unwrap_or_default();
        tables.extend(names.lines().map(|name| format!("{family} {name}")));
    }
    tables
}
