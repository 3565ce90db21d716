//! Links, addresses, routes and tracked flows, by netlink.

use crate::places::Places;
use ipnetwork::IpNetwork;
use net::address::{self, Address};
use net::fdb::{self, FdbEntry};
use net::route::{self, Route};
use net::{Conntrack, Family, Link, Socket, link};
use std::net::{IpAddr, SocketAddr};

/// The running kernel's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// As `uname -r` says it.
    pub text: String,
    /// Its first two numbers.
    pub number: (u32, u32),
}

impl Release {
    /// Reads it.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read(places: &Places) -> Result<Release, String> {
        let text = places.text("/proc/sys/kernel/osrelease")?.unwrap_or_default();
        let text = text.trim().to_owned();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Release { number: (major, minor), text }),
            _ => Err(format!("{text:?} is no version of a kernel")),
        }
    }
}

/// Links, addresses and routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Every link.
    pub links: Vec<Link>,
    /// Every address.
    pub addresses: Vec<Address>,
    /// The unicast routes of both families, in every table.
    pub routes: Vec<Route>,
    /// Where the frames of VXLAN devices go.
    pub fdb: Vec<FdbEntry>,
}

/// Nothing.
pub static NONE: Network =
    Network { links: Vec::new(), addresses: Vec::new(), routes: Vec::new(), fdb: Vec::new() };

impl Network {
    /// Reads all of it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read() -> Result<Network, String> {
        read().map_err(|error| error.to_string())
    }

    /// The names of all links.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.links.iter().map(|link| link.name.clone()).collect()
    }

    /// The link of an index; 0 is none's.
    #[must_use]
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The link of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.link == index)
    }

    /// VXLAN devices that Ferrule made.
    pub fn tunnels(&self) -> impl Iterator<Item = &Link> {
        let ours = |link: &&Link| link.kind == "vxlan" && link.alias == node::vtep::ALIAS;
        self.links.iter().filter(ours)
    }

    /// The link that packets to nowhere in particular leave by.
    #[must_use]
    pub fn uplink(&self, v4: bool) -> Option<&Link> {
        let default = |route: &&Route| {
            route.dst.prefix() == 0 && route.dst.is_ipv4() == v4 && route.table == route::MAIN
        };
        let routes = self.routes.iter().filter(default).min_by_key(|route| route.priority);
        self.link(routes?.hops.first()?.link)
    }
}

/// What a kernel without a family lacks is no error.
fn lacking<T>(listed: net::Result<Vec<T>>) -> net::Result<Vec<T>> {
    match listed {
        Err(error) if error.is_unsupported() => Ok(Vec::new()),
        listed => listed,
    }
}

fn read() -> net::Result<Network> {
    let mut socket = Socket::open()?;
    let links = socket.list(&link::list())?;
    let mut routes = socket.list(&route::list(false))?;
    routes.extend(lacking(socket.list(&route::list(true)))?);
    let mut fdb = Vec::new();
    for tunnel in links.iter().filter(|link| link.kind == "vxlan") {
        fdb.extend(socket.list(&fdb::of_link(tunnel.index))?);
    }
    Ok(Network { addresses: socket.list(&address::list())?, links, routes, fdb })
}

/// Where the kernel sends the node's packets to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The address.
    pub to: IpAddr,
    /// The route's network and link, or why there is none.
    pub by: Result<(IpNetwork, u32), String>,
}

/// The ways to addresses.
#[must_use]
pub fn ways(addresses: &[IpAddr]) -> Vec<Way> {
    let Ok(mut socket) = Socket::open() else { return Vec::new() };
    let way = |to: &IpAddr| {
        let by = match socket.get(&route::toward(*to)) {
            Ok(Some(route)) => match route.hops.first() {
                Some(hop) => Ok((route.dst, hop.link)),
                None => Err(format!("the route to {} drops packets", route.dst)),
            },
            Ok(None) => Err("no route leads there".to_owned()),
            Err(error) if error.is_unreachable() => Err("no route leads there".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Way { to: *to, by }
    };
    addresses.iter().map(way).collect()
}

/// A UDP flow that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpFlow {
    /// Where its first packet went.
    pub to: SocketAddr,
    /// What answers.
    pub answers: SocketAddr,
}

/// Every UDP flow of both families whose destination was translated.
///
/// # Errors
/// The kernel's.
pub fn udp_flows() -> Result<Vec<UdpFlow>, String> {
    let read = || -> net::Result<Vec<UdpFlow>> {
        let mut conntrack = Conntrack::open()?;
        let mut flows = conntrack.udp(Family::V4)?;
        flows.extend(conntrack.udp(Family::V6)?);
        let translated = flows.into_iter().filter(|flow| flow.to != flow.answers);
        Ok(translated.map(|flow| UdpFlow { to: flow.to, answers: flow.answers }).collect())
    };
    read().map_err(|error| error.to_string())
}
