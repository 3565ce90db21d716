//! What is known of the node. Each fact may be missing, with the reason; nothing is changed.

pub mod conflists;
pub mod counters;
pub mod daemon;
pub mod executables;
pub mod filter;
pub mod host;
pub mod kernel;
pub mod leases;
pub mod records;
pub mod runtime;
pub mod sysctls;

use crate::places::Places;
use conflists::ConfFile;
use counters::Counters;
use daemon::Daemon;
use executables::Executable;
use filter::Filter;
use host::Host;
use kernel::{Network, Release, Way};
use leases::Lease;
use records::RecordFile;
use runtime::Sandbox;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};
use sysctls::Sysctls;

/// A fact, or why it could not be read.
pub type Fact<T> = Result<T, String>;

/// All of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the node's files are.
    pub places: Places,
    /// The running kernel.
    pub release: Fact<Release>,
    /// Links, addresses, routes, tunnels' forwarding tables.
    pub network: Fact<Network>,
    /// Where the kernel sends packets to pods, this node's and others'.
    pub ways: Vec<Way>,
    /// nftables and iptables.
    pub filter: Fact<Filter>,
    /// Switches below /proc/sys/net.
    pub sysctls: Sysctls,
    /// Counters at two times, [`SPAN`] apart.
    pub counters: [Counters; 2],
    /// What the runtime reads, in its order.
    pub conflists: Fact<Vec<ConfFile>>,
    /// The executables that the first conflist names.
    pub executables: Vec<Executable>,
    /// The records of attachments.
    pub records: Fact<Vec<RecordFile>>,
    /// The leases of host-local.
    pub leases: Fact<Vec<Lease>>,
    /// What the runtime remembers of attachments.
    pub sandboxes: Vec<Sandbox>,
    /// route-sync.
    pub daemon: Daemon,
    /// Other programs that configure the network, and what they left.
    pub host: Host,
    /// UDP flows that the kernel tracks.
    pub flows: Fact<Vec<kernel::UdpFlow>>,
}

/// How long counters are watched.
pub const SPAN: Duration = Duration::from_secs(1);

impl Facts {
    /// Gathers all of it; counters are read twice, `span` apart.
    #[must_use]
    pub fn gather(places: &Places, span: Duration) -> Facts {
        let begin = Instant::now();
        let first = Counters::read(places);
        let conflists = conflists::read(&places.conf_dir);
        let network = Network::read();
        let names = network.as_ref().map(|network| network.names()).unwrap_or_default();
        let leases = leases::read(&places.data_dir);
        let daemon = Daemon::read(places);
        let addresses: Vec<IpAddr> = leases.iter().flatten().map(|lease| lease.address).collect();
        let mut facts = Facts {
            places: places.clone(),
            release: Release::read(places),
            ways: kernel::ways(&asked(&leases, &daemon)),
            network,
            filter: Filter::read(places, &addresses),
            sysctls: Sysctls::read(places, &names),
            counters: [first.clone(), first],
            executables: executables::read(places, conflists.as_deref().unwrap_or_default()),
            conflists,
            records: records::read(&places.run_dir),
            leases,
            sandboxes: runtime::read(places),
            host: Host::read(places),
            daemon,
            flows: kernel::udp_flows(),
        };
        sleep(span.saturating_sub(begin.elapsed()));
        facts.counters[1] = Counters::read(places);
        facts
    }

    /// The facts that could not be read, each with the reason.
    #[must_use]
    pub fn unread(&self) -> Vec<(&'static str, String)> {
        let facts: [(&'static str, Option<&String>); 10] = [
            ("kernel release", self.release.as_ref().err()),
            ("links, addresses and routes", self.network.as_ref().err()),
            ("nftables", self.filter.as_ref().err()),
            ("network configurations", self.conflists.as_ref().err()),
            ("records of attachments", self.records.as_ref().err()),
            ("leases", self.leases.as_ref().err()),
            ("node.json", self.daemon.node.as_ref().err()),
            ("route-sync's lock", self.daemon.keeper.as_ref().err()),
            ("route-sync's status", self.daemon.status.as_ref().err()),
            ("tracked connections", self.flows.as_ref().err()),
        ];
        facts.into_iter().filter_map(|(name, why)| Some((name, why?.clone()))).collect()
    }

    /// The links, addresses and routes, or nothing.
    #[must_use]
    pub fn net(&self) -> &Network {
        self.network.as_ref().unwrap_or(&kernel::NONE)
    }

    /// The first network that the runtime takes: it is the pods'.
    #[must_use]
    pub fn first(&self) -> Option<&ConfFile> {
        self.conflists.as_ref().ok()?.first()
    }

    /// The links that pods of this node are behind: bridges of their networks, and links of pods
    /// that are no bridge's port.
    #[must_use]
    pub fn pod_links(&self) -> BTreeSet<String> {
        let net = self.net();
        let ours = |name: &str| name.starts_with("ferrule ");
        let veths = net.links.iter().filter(|link| link.kind == "veth" && ours(&link.alias));
        let behind = veths.map(|veth| match net.link(veth.master) {
            Some(bridge) => bridge.name.clone(),
            None => veth.name.clone(),
        });
        behind.collect()
    }
}

/// The addresses whose ways are looked up: of this node's pods, and one of each remote pod CIDR.
fn asked(leases: &Fact<Vec<Lease>>, daemon: &Daemon) -> Vec<IpAddr> {
    let leased = leases.iter().flatten().map(|lease| lease.address);
    let remote = daemon.entries().iter().filter(|entry| entry.path != "local");
    let remote = remote.filter_map(|entry| entry.cidr.iter().nth(1).or(entry.cidr.iter().next()));
    let all: BTreeSet<IpAddr> = leased.chain(remote).collect();
    all.into_iter().collect()
}

/// Facts of a node on which nothing was found, for tests of checks.
#[cfg(test)]
pub(crate) fn nothing() -> Facts {
    Facts {
        places: Places::default(),
        release: Ok(Release { text: "6.18.0".to_owned(), number: (6, 18) }),
        network: Ok(Network::default()),
        ways: vec![],
        filter: Ok(Filter::default()),
        sysctls: Sysctls::default(),
        counters: [Counters::default(), Counters::default()],
        conflists: Ok(vec![]),
        executables: vec![],
        records: Ok(vec![]),
        leases: Ok(vec![]),
        sandboxes: vec![],
        daemon: Daemon::default(),
        host: Host::default(),
        flows: Ok(vec![]),
    }
}
