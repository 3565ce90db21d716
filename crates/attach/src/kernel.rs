//! The kernel as a plan meets it: the host's netlink socket, the pod's, and nf_tables.

use crate::place::Place;
use cni::code;
use ipnetwork::IpNetwork;
use net::{Conntrack, Link, Mac, NetNs, Socket, link};
use nft::Nft;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// rtnetlink, a sysctl or a namespace.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// Something on the node stands against the plan.
    #[error("{0}")]
    Conflict(String),
    /// The kernel lacks what the plan needs.
    #[error("{0}")]
    Unsupported(String),
    /// Another attachment has what the configuration asks for: what, and who has it.
    #[error("{0}: {1}")]
    Taken(String, String),
}

impl Error {
    /// Whether nothing was made for sure.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Error::Conflict(_) | Error::Unsupported(_) | Error::Taken(..) => true,
            Error::Nft(error) => error.is_unsupported(),
            Error::Net(_) => false,
        }
    }

    /// What failed, in one line.
    pub fn summary(&self) -> String {
        match self {
            Error::Net(error) => format!("failed to {}", error.what),
            Error::Nft(_) => "failed to change nf_tables".to_owned(),
            Error::Conflict(text) | Error::Unsupported(text) | Error::Taken(text, _) => {
                text.clone()
            }
        }
    }

    /// Why, and what to do; empty where the summary says it.
    pub fn cause(&self) -> String {
        match self {
            Error::Net(error) => error.cause(),
            Error::Nft(error) => error.to_string(),
            Error::Conflict(_) | Error::Unsupported(_) => String::new(),
            Error::Taken(_, cause) => cause.clone(),
        }
    }
}

/// A failed plan as the runtime receives it.
pub fn failed(error: &Error) -> cni::Error {
    let code = match error {
        Error::Conflict(_) => code::EXISTS,
        Error::Unsupported(_) => code::UNSUPPORTED_FIELD,
        Error::Taken(..) => code::INVALID_CONFIG,
        Error::Net(_) | Error::Nft(_) => code::KERNEL,
    };
    cni::Error::new(code, error.summary()).details(error.cause())
}

/// The namespace of a pod and the socket in it.
pub(crate) struct Pod {
    pub(crate) netns: NetNs,
    pub(crate) socket: Socket,
}

impl Pod {
    fn open(path: &Path) -> Result<Pod> {
        let netns = NetNs::open(path)?;
        let socket = netns.enter(Socket::open)?;
        Ok(Pod { netns, socket })
    }
}

/// What carries plans out. Everything opens at first use, and each namespace gets one socket.
pub struct Kernel {
    pub(crate) host: Socket,
    pub(crate) pod: Option<Pod>,
    /// The pod's namespace, where it is opened at first use.
    away: Option<PathBuf>,
    pub(crate) nft: Option<Nft>,
    pub(crate) conntrack: Option<Conntrack>,
    pub(crate) rpfilter_made: bool,
    /// Host ends of veth pairs that were looked for to be set down, and what was found.
    pub(crate) silenced: Vec<(String, Option<Link>)>,
    indexes: Vec<(Place, String, u32)>,
}

/// How long the kernel may take until a link that is up carries packets, or an address went
/// through duplicate address detection (RFC 4862: a second, with a random delay of up to one).
const PATIENCE: Duration = Duration::from_secs(10);

/// What a port of a bridge with STP may take beyond the delays: the kernel's timers are seconds.
const STP_MARGIN: Duration = Duration::from_secs(3);

impl Drop for Kernel {
    /// Closes no nf_tables socket while something that was deleted waits to be freed: a call would
    /// wait too, and those that change the ruleset.
    fn drop(&mut self) {
        for socket in self.netfilter() {
            net::hand_over(socket);
        }
    }
}

impl Kernel {
    /// The sockets of NETLINK_NETFILTER that were opened.
    fn netfilter(&self) -> Vec<BorrowedFd<'_>> {
        let nft = self.nft.iter().flat_map(Nft::sockets);
        nft.chain(self.conntrack.iter().map(AsFd::as_fd)).collect()
    }

    /// Ends a DEL of rules without a link, whose deletion would hold the sockets: they are left to a
    /// process that no other waits for.
    pub(crate) fn leave_netfilter(&mut self) {
        net::leave(&self.netfilter());
        (self.nft, self.conntrack) = (None, None);
    }

    /// Opens the host's socket and, given a path, the pod's namespace with a socket inside.
    ///
    /// # Errors
    /// The namespace cannot be entered, or no netlink.
    pub fn open(pod: Option<&Path>) -> Result<Kernel> {
        let pod = pod.map(Pod::open).transpose()?;
        let host = Socket::open()?;
        let (silenced, indexes) = (Vec::new(), Vec::new());
        Ok(Kernel {
            host,
            pod,
            away: None,
            nft: None,
            conntrack: None,
            rpfilter_made: false,
            silenced,
            indexes,
        })
    }

    /// As [`Kernel::open`], but the pod's namespace is opened at first use: DEL may need it not.
    ///
    /// # Errors
    /// No netlink.
    pub fn open_lazily(pod: Option<&Path>) -> Result<Kernel> {
        let mut kernel = Kernel::open(None)?;
        kernel.away = pod.map(Path::to_owned);
        Ok(kernel)
    }

    /// Whether there is a namespace of a pod, open or not.
    pub(crate) fn has_pod(&self) -> bool {
        self.pod.is_some() || self.away.is_some()
    }

    pub(crate) fn pod(&mut self) -> Result<&mut Pod> {
        if let Some(path) = self.away.take() {
            self.pod = Some(Pod::open(&path)?);
        }
        let none = || net::Error::of("reach the pod", net::ENOENT, "there is no namespace");
        self.pod.as_mut().ok_or_else(|| none().into())
    }

    pub(crate) fn socket(&mut self, place: Place) -> Result<&mut Socket> {
        match place {
            Place::Host => Ok(&mut self.host),
            Place::Pod => Ok(&mut self.pod()?.socket),
        }
    }

    /// nf_tables, opened at first use.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink. That nf_tables itself is missing shows at first use.
    pub fn nft(&mut self) -> Result<&mut Nft> {
        match &mut self.nft {
            Some(nft) => Ok(nft),
            none => {
                net::not_astray()?;
                Ok(none.insert(Nft::open()?))
            }
        }
    }

    /// Whether an [`Rule::Rpfilter`](crate::Rule::Rpfilter) was applied whose rule was not there: the
    /// first one's, or another program flushed nf_tables, and the others' elements are gone with it.
    pub fn rpfilter_was_made(&self) -> bool {
        self.rpfilter_made
    }

    /// A link by its name.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn link(&mut self, place: Place, name: &str) -> Result<Option<Link>> {
        // A prevResult may name anything: no link has such a name (IFNAMSIZ), and none of 64 KiB
        // fits an attribute.
        if cni::ifname::fault(name).is_some() {
            return Ok(None);
        }
        Ok(self.socket(place)?.get(&link::by_name(name))?)
    }

    /// A link of the host by its index.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn link_of_index(&mut self, index: u32) -> Result<Option<Link>> {
        Ok(self.host.get(&link::by_index(index))?)
    }

    /// The ports of a bridge; none where there is no bridge.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn ports(&mut self, bridge: &str) -> Result<Vec<Link>> {
        match self.link(Place::Host, bridge)? {
            Some(bridge) => Ok(self.host.list(&link::ports(bridge.index))?),
            None => Ok(Vec::new()),
        }
    }

    /// The other end of a veth pair of the host and its addresses, if that is in another network
    /// namespace. The kernel answers through the host's socket; no path is needed.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn far_end(&mut self, near: &Link) -> Result<Option<(Link, Vec<IpAddr>)>> {
        let Some(netns) = near.peer_netns else { return Ok(None) };
        let far = self.host.get(&link::elsewhere(netns, near.peer));
        let far = far.and_then(|far| {
            let verb = net::address::of_link_elsewhere(netns, near.peer);
            let Some(far) = far else { return Ok(None) };
            let addresses = self.host.list(&verb)?.into_iter();
            Ok(Some((far, addresses.map(|address| address.address.ip()).collect())))
        });
        match far {
            // The pod may have ended in between.
            Err(_) if self.link_of_index(near.index)?.is_none() => Ok(None),
            far => Ok(far?.filter(|(far, _)| far.peer == near.index)),
        }
    }

    /// A link that must be there.
    ///
    /// # Errors
    /// It is not, or the kernel could not be asked.
    pub fn known_link(&mut self, place: Place, name: &str) -> Result<Link> {
        let gone = || net::Error::of(format!("look up link {name}"), net::ENOENT, "");
        self.link(place, name)?.ok_or_else(|| gone().into())
    }

    /// A link's index, asked for once: a plan's links are not renamed under it.
    pub(crate) fn index(&mut self, place: Place, name: &str) -> Result<u32> {
        let known = self.indexes.iter().find(|(p, n, _)| *p == place && n == name);
        if let Some((_, _, index)) = known {
            return Ok(*index);
        }
        let link = self.known_link(place, name)?;
        self.remember(place, &link);
        Ok(link.index)
    }

    /// Keeps a link's index for [`Kernel::index`].
    pub(crate) fn remember(&mut self, place: Place, link: &Link) {
        self.forget(place, &link.name);
        self.indexes.push((place, link.name.clone(), link.index));
    }

    /// Forgets an index, after its link went.
    pub(crate) fn forget(&mut self, place: Place, name: &str) {
        self.indexes.retain(|(p, n, _)| *p != place || n != name);
    }

    /// The addresses of a link, both families.
    ///
    /// # Errors
    /// The link is not there, or the kernel could not be asked.
    pub fn addresses(&mut self, place: Place, name: &str) -> Result<Vec<IpNetwork>> {
        let index = self.index(place, name)?;
        let present = self.socket(place)?.list(&net::address::of_link(index))?;
        Ok(present.into_iter().map(|address| address.address).collect())
    }

    /// Sets a link down.
    ///
    /// # Errors
    /// The link is not there, or the kernel refuses.
    pub fn set_down(&mut self, place: Place, name: &str) -> Result<()> {
        let index = self.index(place, name)?;
        Ok(self.socket(place)?.set(&link::set_down(index, name))?)
    }

    /// Waits until both ends of a veth pair carry packets. The kernel starts their queues in its
    /// own time after they are up (net/core/link_watch.c) and until then drops what is sent.
    ///
    /// # Errors
    /// It takes longer than ten seconds.
    pub fn wait_running(&mut self, host: &str, pod: &str) -> Result<(Link, Link)> {
        let mut wait = |place, name: &str| -> Result<Link> {
            let what = format!("see {name} carry packets");
            let verb = link::by_name(name);
            Ok(self.socket(place)?.wait(&verb, &what, PATIENCE, |link| link.running)?)
        };
        Ok((wait(Place::Host, host)?, wait(Place::Pod, pod)?))
    }

    /// Waits until the spanning tree of a bridge lets a port forward frames: its forward delay twice
    /// (IEEE 802.1D section 8.4), and a little more. `begun` is called with the time that it may
    /// take, where there is something to wait for. Without STP a port forwards at once. Whether it
    /// does in the end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait_forwarding(
        &mut self,
        port: &Link,
        bridge: &str,
        begun: impl FnOnce(Duration),
    ) -> Result<bool> {
        if port.forwards {
            return Ok(true);
        }
        let delay = self.known_link(Place::Host, bridge)?.forward_delay;
        let patience = Duration::from_millis(u64::from(delay) * 20) + STP_MARGIN;
        begun(patience);
        let what = format!("see {} forward frames", port.name);
        let verb = link::by_index(port.index);
        match self.host.wait(&verb, &what, patience, |port| port.forwards) {
            Err(error) if error.is_timeout() => Ok(false),
            waited => Ok(waited.map(|_| true)?),
        }
    }

    /// Waits until a link listens for neighbour solicitations of its IPv6 addresses. The kernel
    /// joins their multicast groups in its own time, also of addresses without duplicate address
    /// detection (net/ipv6/addrconf.c, addrconf_dad_work), and until then no neighbour finds them.
    ///
    /// # Errors
    /// It takes longer than ten seconds.
    pub fn wait_reachable(
        &mut self,
        place: Place,
        link: &str,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<()> {
        let wanted: Vec<_> = addresses
            .filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(net::address::solicited_node(address)),
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let verb = net::address::groups_of_link(self.index(place, link)?);
        let joined = |groups: &[Ipv6Addr]| wanted.iter().all(|group| groups.contains(group));
        let what = format!("see {link} listen for its IPv6 neighbours");
        self.socket(place)?.wait_all(&verb, &what, PATIENCE, joined)?;
        Ok(())
    }

    /// Whether the host remembers an address at another MAC address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn is_known_elsewhere(&mut self, link: &str, address: IpAddr, mac: Mac) -> Result<bool> {
        let index = self.index(Place::Host, link)?;
        let known = self.host.get(&net::neighbour::of_address(index, address))?;
        Ok(known.is_some_and(|known| known.mac != mac && known.mac != Mac::default()))
    }

    /// Tells the pod's neighbours, the host first, that the pod's addresses are at its MAC
    /// address: they may remember the addresses' previous owner.
    ///
    /// The kernel sends gratuitous ARP and neighbour advertisements when the MAC address is set,
    /// also to what it is (net/core/dev.c: NETDEV_CHANGEADDR), if the link's sysctls arp_notify
    /// and ndisc_notify are 1. Sending them ourselves would take a packet socket, whose close
    /// waits for an RCU grace period: 10 ms and more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn announce(&mut self, link: &Link) -> Result<()> {
        Ok(self.pod()?.socket.set(&link::set_mac(link.index, link.mac, &link.name))?)
    }

    /// Waits until no address of the pod's link is tentative.
    ///
    /// # Errors
    /// It takes longer than ten seconds, or another node has the address.
    pub fn wait_for_dad(&mut self, link: &str) -> Result<()> {
        let index = self.index(Place::Pod, link)?;
        let socket = &mut self.pod()?.socket;
        let verb = net::address::of_link(index);
        let what = format!("finish duplicate address detection on {link}");
        let settled = socket.wait_all(&verb, &what, PATIENCE, |addresses| {
            addresses.iter().all(|a| !a.tentative || a.dad_failed)
        })?;
        match settled.iter().find(|address| address.dad_failed) {
            None => Ok(()),
            Some(address) => Err(Error::Conflict(format!(
                "another node on the link has the address {}",
                address.address
            ))),
        }
    }
}
