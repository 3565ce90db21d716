//! Host ports: what comes to a port of the node goes to a port of a pod.
//!
//! ```text
//! table inet ferrule {
//!     map hostports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
//!         tcp . 8080 comment "…" : 10.1.0.5 . 80              on every address of the node
//!     map hostport-ips4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
//!         tcp . 192.0.2.1 . 8080 comment "…" : 10.1.0.5 . 80  on one address; asked first
//!     set hostport-self4 { type ipv4_addr . ipv4_addr; }      10.1.0.5 . 10.1.0.5 comment "…"
//!     set hostport-near4 { type ipv4_addr . ifname; }         10.1.0.5 . "cni0" comment "…"
//!     set hostport-all4 { type inet_proto . ipv4_addr . inet_service; }   tcp . 10.1.0.5 . 80
//!     set hostport-not-lo { type inet_proto . inet_service; } tcp . 8080 comment "…"
//!     set hostport-links { type ifname; }                     "cni0" comment "route_localnet was 0"
//!     … and the same with 6, but for the last two
//!     chain hostports-guard {
//!         type filter hook prerouting priority raw; policy accept;
//!         iifname @hostport-links ip daddr 127.0.0.0/8 drop
//!     }
//!     chain hostports-in {
//!         type nat hook prerouting priority dstnat + 1; policy accept;
//!         fib daddr type != local accept
//!         dnat ip to meta l4proto . ip daddr . th dport map @hostport-ips4
//!         dnat ip to meta l4proto . th dport map @hostports4
//!         … and the same of IPv6
//!     }
//!     chain hostports-out {
//!         type nat hook output priority -99; policy accept;
//!         fib daddr type != local accept
//!         ip6 daddr ::1 accept
//!         ip daddr 127.0.0.0/8 meta l4proto . th dport @hostport-not-lo accept
//!         … and the rules of hostports-in that translate
//!     }
//!     chain hostports-masq {
//!         type nat hook postrouting priority srcnat + 3; policy accept;
//!         ct status & dnat != dnat accept
//!         ip saddr . ip daddr @hostport-self4 masquerade
//!         ip saddr 127.0.0.0/8 ip daddr . ip daddr @hostport-self4 masquerade
//!         ip daddr . iifname @hostport-near4 masquerade
//!         meta l4proto . ip daddr . th dport @hostport-all4 masquerade
//!         … and the same of IPv6
//!     }
//! }
//! ```
//!
//! **Whose source is translated.** A pod answers its neighbours on its bridge itself, past the node,
//! which has to translate the answer: what leaves by the link that it came in by (`near`) carries the
//! node's address. Where br_netfilter hands frames to IP, they stay on the bridge, the answer passes
//! the node, and the kernel names no input link (br_nf_post_routing): then only what a pod sends to
//! itself (`self`) must be translated. So must what the node sends from 127.0.0.0/8. The answer to
//! anything else passes the node anyway, and the pod sees who asks.
//!
//! No packet is marked. A connection that another table translated to the same pod (kube-proxy's,
//! an administrator's) is masqueraded in these cases alone, in which it would fail.
//!
//! **127.0.0.1** takes the sysctl `route_localnet` of the link to the pod, which lets the pods behind
//! it reach the node's own 127.0.0.0/8: `hostports-guard` drops what they send there, before any
//! translation. `::1` has no such sysctl: it is left to the node, which refuses at once.

use std::net::{IpAddr, SocketAddr};

use nix::errno::Errno;

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::query::WantedChain;
use crate::kernel::set::{Data, Element, name_key};
use crate::rules::tables::{HOSTPORT_LINKS, HOSTPORT_NOT_LO, HOSTPORTS_BASES, INET};

mod removal;
mod ruleset;
mod sets;
mod types;

use ruleset::{frame, rules};
use sets::sets_of;
use types::{octets, port_key};

pub use removal::{LocalnetLink, UnusedHostPorts};
pub use types::{HostPort, MappedPod, Mapping, Sources, Transport};

/// protocol . address . port
fn target_key(transport: Transport, to: SocketAddr) -> Vec<u8> {
    [&[transport.number(), 0, 0, 0][..], &octets(to.ip()), &port_key(to.port())].concat()
}

fn self_key(address: IpAddr) -> Vec<u8> {
    [octets(address), octets(address)].concat()
}

fn near_key(address: IpAddr, link: &str) -> Result<Vec<u8>> {
    let Some(name) = name_key(link) else {
        return Err(Error::Invalid(format!("host ports: {link:?} is no interface name")));
    };
    Ok([octets(address), name].concat())
}

/// The host ports of one attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPorts {
    /// Each of them once.
    pub mappings: Vec<Mapping>,
    /// The addresses that they lead to.
    pub pods: Vec<MappedPod>,
    /// Whose source address is translated.
    pub sources: Sources,
    /// Whose they are; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`].
    pub comment: String,
}

impl HostPorts {
    /// The link whose `route_localnet` lets the node reach the pod from 127.0.0.0/8; `None` where
    /// it need not.
    #[must_use]
    pub fn loopback_link(&self) -> Option<&str> {
        let v4 = self.pods.iter().find(|pod| pod.address.is_ipv4());
        v4.filter(|_| self.sources != Sources::Kept)?.link.as_deref()
    }

    /// Its elements, the mappings last: nothing must come before its source would be translated.
    fn elements(&self) -> Result<Vec<Element>> {
        let mut elements = Vec::with_capacity(self.mappings.len() + 4);
        let comment = comment::fit(&self.comment);
        let element =
            |set, key, title| Element { set, key, title, data: None, comment: comment.clone() };
        for pod in self.pods.iter().filter(|_| self.sources == Sources::Near) {
            let (sets, address) = (sets_of(pod.address), pod.address);
            elements.push(element(sets.own, self_key(address), format!("{address} . {address}")));
            if let Some(link) = &pod.link {
                let key = near_key(address, link)?;
                elements.push(element(sets.near, key, format!("{address} . {link}")));
            }
        }
        for Mapping { port, to } in &self.mappings {
            let title = format!("{} {to}", port.transport);
            match self.sources {
                Sources::All => {
                    let key = target_key(port.transport, *to);
                    elements.push(element(sets_of(to.ip()).all, key, title));
                }
                Sources::Kept if port.at.is_ipv4() && port.is_on_all() => {
                    elements.push(element(HOSTPORT_NOT_LO, port.key(), port.to_string()));
                }
                Sources::Kept | Sources::Near => {}
            }
        }
        // Two ports may lead to one.
        elements.sort_by(|a, b| (a.set.name, &a.key).cmp(&(b.set.name, &b.key)));
        elements.dedup_by(|a, b| a.set == b.set && a.key == b.key);
        elements.extend(self.mappings.iter().map(|Mapping { port, to }| Element {
            data: Some(target(*to)),
            ..element(sets_of(to.ip()).of_port(port), port.key(), port.to_string())
        }));
        Ok(elements)
    }
}

fn target(to: SocketAddr) -> Data {
    Data::Value([&octets(to.ip())[..], &port_key(to.port())].concat())
}

/// How the comment of a link begins whose `route_localnet` is on for us; its old value follows.
const ROUTE_LOCALNET_WAS: &str = "route_localnet was ";

fn link_element(link: &str, was: bool) -> Result<Element> {
    let Some(key) = name_key(link) else {
        return Err(Error::Invalid(format!("host ports: {link:?} is no interface name")));
    };
    let comment = format!("{ROUTE_LOCALNET_WAS}{}", u8::from(was));
    Ok(Element { set: HOSTPORT_LINKS, key, title: link.to_owned(), data: None, comment })
}

/// What [`Nft::add_host_ports`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// All is there. `new_link`: the link was not yet among those that are guarded.
    Done {
        /// Whether this call made the link's element.
        new_link: bool,
    },
    /// Nothing was changed: another attachment has one of them.
    Taken {
        /// The one that it has.
        port: HostPort,
        /// Its comment.
        holder: String,
    },
}

/// What a batch came to be made of, beside its steps.
struct Attempt {
    batch: Batch,
    new_link: bool,
    /// It makes chains and sets, or replaces an element: it must be refused if anything changed.
    guarded: bool,
}

impl Nft {
    /// Leads host ports to a pod, in one batch. Idempotent: it makes what is missing (table, sets,
    /// chains, emptied rules), and elements with its comment become these. `was`: whether
    /// `route_localnet` of [`HostPorts::loopback_link`] is on already. The link is guarded from now
    /// on, so that it may be switched on.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a link that is no interface name; [`Error::is_unsupported`] on a
    /// kernel without nf_tables, NAT or its fib expression; EEXIST or EOPNOTSUPP when table
    /// `inet ferrule` holds something of our names that is not like ours.
    pub fn add_host_ports(&mut self, ports: &HostPorts, was: bool) -> Result<Added> {
        let elements = ports.elements()?;
        let link = ports.loopback_link().map(|link| link_element(link, was)).transpose()?;
        // Mostly none of them is there, and the kernel says so if one is.
        let mut look = false;
        self.at_generation(|nft, generation| {
            let mut attempt = nft.framed(generation, link.as_ref())?;
            if look || generation.is_none() {
                if let Some(taken) = nft.put_looking(&mut attempt, &elements)? {
                    return Ok(taken);
                }
            } else {
                elements.iter().for_each(|element| attempt.batch.add_element(element));
            }
            let done = Added::Done { new_link: attempt.new_link };
            if attempt.batch.steps().is_empty() {
                return Ok(done);
            }
            let named = generation.filter(|_| attempt.guarded);
            match nft.socket.commit(&attempt.batch, named) {
                Err(e) if generation.is_none() => Err(e),
                Err(e) if e.is_exists() && (!look || !attempt.guarded) => {
                    look = true;
                    Err(e.outdated())
                }
                // The frame went with another's last element.
                Err(e) if e.is_gone() && !attempt.guarded => Err(e.outdated()),
                // All is made before it is used: the kernel lacks a part (chain type nat, fib).
                Err(Error::Kernel { what, errno: errno @ Errno::ENOENT, .. }) => {
                    Err(Error::Unsupported { what, errno })
                }
                committed => committed.map(|()| done),
            }
        })
    }

    /// A batch that makes what is missing of chains and sets, and the element of a link.
    fn framed(&mut self, generation: Option<u32>, link: Option<&Element>) -> Result<Attempt> {
        let mut batch = Batch::new(INET);
        let present = self.table_rules(INET)?;
        let chains = HOSTPORTS_BASES.iter().map(|base| base.name).zip(rules());
        let wanting = chains.filter(|(name, rules)| present.of(name).len() < rules.len());
        for (at, (name, rules)) in wanting.enumerate() {
            if at == 0 {
                frame(&mut batch);
            }
            // Without a generation another process may have filled it since we looked.
            if generation.is_none() || !present.of(name).is_empty() {
                batch.flush_chain(name);
            }
            batch.add_rules(name, &rules);
        }
        let guarded = !batch.steps().is_empty();
        let new_link = match link {
            Some(link) => self.element(INET, &link.set, &link.key)?.is_none(),
            None => false,
        };
        if let Some(link) = link.filter(|_| new_link) {
            batch.add_element(link);
        }
        Ok(Attempt { batch, new_link, guarded })
    }

    /// Adds to the batch what each element needs, after a look at each; who has one of the ports.
    fn put_looking(
        &mut self,
        attempt: &mut Attempt,
        elements: &[Element],
    ) -> Result<Option<Added>> {
        for wanted in elements {
            let Some(found) = self.element(INET, &wanted.set, &wanted.key)? else {
                attempt.batch.add_element(wanted);
                continue;
            };
            if found.is(wanted) {
                continue;
            }
            let theirs = found.comment.as_deref() != Some(&wanted.comment);
            // An address without its ports is that of a pod that is gone.
            match wanted.title.parse().ok().filter(|_| theirs && wanted.data.is_some()) {
                Some(port) => {
                    let holder = found.comment.unwrap_or_default();
                    return Ok(Some(Added::Taken { port, holder }));
                }
                None => attempt.replace(wanted),
            }
        }
        Ok(None)
    }

    /// Says that `route_localnet` of a guarded link was off before.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn set_localnet_was_off(&mut self, link: &str) -> Result<()> {
        let element = link_element(link, false)?;
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(INET);
            if nft.element(INET, &element.set, &element.key)?.is_some() {
                batch.del_element(&element.set, &element.key);
            }
            batch.add_element(&element);
            nft.socket.commit(&batch, generation)
        })
    }

    /// Whether a port leads anywhere.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn has_host_port(&mut self, port: &HostPort) -> Result<bool> {
        let set = sets_of(port.at.ip()).of_port(port);
        Ok(self.element(INET, &set, &port.key())?.is_some())
    }

    /// What is not as [`Self::add_host_ports`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_host_ports(&mut self, ports: &HostPorts) -> Result<Vec<String>> {
        let elements = ports.elements()?;
        let mut differences = match self.table(INET)? {
            None => return Ok(vec![format!("table {} is missing", INET.title)]),
            Some(state) if state.dormant => vec![format!("table {} is dormant", INET.title)],
            Some(_) => Vec::new(),
        };
        let rules = rules();
        let bases = HOSTPORTS_BASES.iter().zip(&rules);
        let wanted: Vec<_> = bases.map(|(base, rules)| WantedChain::Base(base, rules)).collect();
        differences.extend(self.chain_differences(INET, &wanted)?.concat());
        for element in &elements {
            differences.extend(self.element_differences(INET, element)?);
        }
        if let Some(link) = ports.loopback_link() {
            let element = link_element(link, false)?;
            if self.element(INET, &element.set, &element.key)?.is_none() {
                let name = element.set.name;
                differences.push(format!(
                    "element {link} of {name} in table {} is missing: what comes by it may reach \
                     127.0.0.0/8",
                    INET.title
                ));
            }
        }
        Ok(differences)
    }
}

impl Attempt {
    fn replace(&mut self, element: &Element) {
        self.guarded = true;
        self.batch.del_element(&element.set, &element.key);
        self.batch.add_element(element);
    }
}
