//! What an attachment owns: what ends with it, and is removed by name. Its record lists this before
//! the kernel is changed.
//!
//! A new kind is added here: a variant of [`Owned`], of [`Rule`] if it is one of nf_tables, and the
//! arms that the compiler then asks for. No match over the two has a `_` arm; the test `no_match_over_
//! what_is_owned_has_a_default` holds that.

use crate::hold::{HeldPod, PodName};
use crate::kernel::{Error, Kernel, Result};
use crate::setting::{Change, Setting};
use crate::sourced::SourceRouting;
use crate::subnet_route::SubnetRoute;
use ipnetwork::IpNetwork;
use net::Mac;
use nft::Nft;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

pub use nft::{
    Forwarded, HostPort, HostPorts, Isolation, Macspoof, MappedPod, Mapping, Masquerade, Rpfilter,
    Sources, Transport,
};

/// One thing that an attachment owns, as its record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Owned {
    /// A veth pair.
    Veth {
        /// The host end's name.
        host: String,
    },
    /// Masquerade of a pod's address.
    Masquerade {
        /// The address.
        address: IpAddr,
    },
    /// A check of the source MAC address of frames.
    Macspoof {
        /// The bridge port.
        port: String,
        /// The MAC address that may pass.
        #[serde(with = "mac_text")]
        mac: Mac,
    },
    /// A reverse path filter.
    Rpfilter {
        /// The link that packets come in by.
        link: String,
    },
    /// A pod's address that policies decide on; held until they have.
    #[serde(rename = "held")]
    Policed {
        /// The address.
        address: IpAddr,
        /// What the pod is called in Kubernetes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pod: Option<PodName>,
    },
    /// A pod's address whose forwarded packets pass other programs' rules.
    Forwarded {
        /// The address.
        address: IpAddr,
    },
    /// The host's route to one address of a pod on a bridge that holds no address of its subnet.
    PodRoute {
        /// The bridge, or a VLAN device over it.
        link: String,
        /// The pod's address.
        address: IpAddr,
    },
    /// A value of the pod that was another before.
    Setting {
        /// What it was set to.
        to: Setting,
        /// What it was before.
        from: Setting,
    },
    /// Ports of the node that lead to a pod. Without any of them: all that carry the mark.
    HostPorts {
        /// The ports.
        #[serde(default, with = "texts")]
        ports: Vec<HostPort>,
        /// The addresses that they lead to.
        #[serde(default, with = "texts")]
        pods: Vec<MappedPod>,
        /// Whose source addresses are translated.
        #[serde(with = "crate::text")]
        sources: Sources,
    },
    /// An IFB device, with the rate limit on it.
    Ifb {
        /// Its name.
        name: String,
    },
    /// A rate limit of a link that is not the plugin's own.
    RateLimit {
        /// The link.
        link: String,
    },
    /// A redirection of what a link receives.
    Redirect {
        /// The link.
        from: String,
        /// The IFB device.
        to: String,
    },
    /// A port of a VRF device in the pod, and the device after its last port.
    VrfPort {
        /// The interface.
        link: String,
        /// The VRF device.
        vrf: String,
    },
    /// Routing of a pod's interface by source.
    SourceRouting {
        /// The rules and routes, and what they replace.
        routing: SourceRouting,
    },
}

pub(crate) mod mac_text {
    use super::Mac;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(crate) fn serialize<S: Serializer>(mac: &Mac, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(mac)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mac, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod texts {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(of: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(of.iter().map(T::to_string))
    }

    pub(super) fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

impl Owned {
    /// The link that the pod's packets take, by its name on the host, where it is one: it is silenced
    /// first and removed last.
    pub fn link(&self) -> Option<&str> {
        match self {
            Owned::Veth { host } => Some(host),
            Owned::Masquerade { .. }
            | Owned::Macspoof { .. }
            | Owned::Rpfilter { .. }
            | Owned::Policed { .. }
            | Owned::Forwarded { .. }
            | Owned::PodRoute { .. }
            | Owned::Setting { .. }
            | Owned::HostPorts { .. }
            | Owned::Ifb { .. }
            | Owned::RateLimit { .. }
            | Owned::Redirect { .. }
            | Owned::SourceRouting { .. }
            | Owned::VrfPort { .. } => None,
        }
    }
}

impl Owned {
    /// The host's end of a pod's link, if it is that.
    pub fn host_link(&self) -> Option<&str> {
        if let Owned::Veth { host } = self { Some(host) } else { None }
    }

    /// The pod's address that it is about, if it is about one.
    pub fn address(&self) -> Option<IpAddr> {
        if let Owned::Masquerade { address }
        | Owned::Policed { address, .. }
        | Owned::Forwarded { address }
        | Owned::PodRoute { address, .. } = self
        {
            Some(*address)
        } else {
            None
        }
    }

    /// The pod's namespace and name in Kubernetes, where the record has them.
    pub fn pod(&self) -> Option<(&str, &str)> {
        let Owned::Policed { pod: Some(pod), .. } = self else { return None };
        Some((&pod.namespace, &pod.name))
    }

    /// Whether the pod's packets leave with the node's address.
    pub fn is_masquerade(&self) -> bool {
        matches!(self, Owned::Masquerade { .. })
    }

    /// Whether rules of ours in other programs' chains let the pod's packets pass.
    pub fn is_forwarded(&self) -> bool {
        matches!(self, Owned::Forwarded { .. })
    }
}

/// As a person lists it: `link veth12ab…`, `masquerade of 10.1.0.5`.
impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owned::Veth { host } => write!(f, "link {host}"),
            Owned::Masquerade { address } => write!(f, "masquerade of {address}"),
            Owned::Macspoof { port, .. } => write!(f, "MAC check of {port}"),
            Owned::Rpfilter { link } => write!(f, "source check of {link}"),
            Owned::Policed { address, .. } => write!(f, "policies on {address}"),
            Owned::Forwarded { address } => write!(f, "forwarding of {address}"),
            Owned::PodRoute { address, link } => write!(f, "route to {address} on {link}"),
            Owned::Setting { to, .. } => write!(f, "{to}"),
            Owned::HostPorts { ports, .. } => {
                let ports: Vec<String> = ports.iter().map(HostPort::to_string).collect();
                write!(f, "host ports {}", ports.join(", "))
            }
            Owned::Ifb { name } => write!(f, "IFB device {name}"),
            Owned::RateLimit { link } => write!(f, "rate limit of {link}"),
            Owned::Redirect { from, to } => write!(f, "redirection of {from} to {to}"),
            Owned::VrfPort { link, vrf } => write!(f, "{link} in VRF {vrf}"),
            Owned::SourceRouting { routing } => write!(f, "routing by source of {}", routing.link),
        }
    }
}

/// An owned item that exists in nf_tables alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Masquerade of the pod's address.
    Masquerade(Masquerade),
    /// Frames with another source MAC address are dropped.
    Macspoof(Macspoof),
    /// Packets from sources that are not routed to the link are dropped.
    Rpfilter(Rpfilter),
    /// Nothing passes from and to the pod's address until policies were decided on.
    Policed(HeldPod),
    /// Forwarded packets of the pod's address pass other programs' rules.
    Forwarded(Forwarded),
    /// Ports of the node lead to the pod.
    HostPorts(HostPorts),
}

impl Rule {
    /// What a record says of it.
    pub fn owned(&self) -> Owned {
        match self {
            Rule::Masquerade(masquerade) => Owned::Masquerade { address: masquerade.address },
            Rule::Macspoof(macspoof) => {
                Owned::Macspoof { port: macspoof.port.clone(), mac: macspoof.mac }
            }
            Rule::Rpfilter(rpfilter) => Owned::Rpfilter { link: rpfilter.link.clone() },
            Rule::Policed(held) => {
                Owned::Policed { address: held.held.address, pod: held.pod.clone() }
            }
            Rule::Forwarded(forwarded) => Owned::Forwarded { address: forwarded.address },
            Rule::HostPorts(ports) => Owned::HostPorts {
                ports: ports.mappings.iter().map(|mapping| mapping.port).collect(),
                pods: ports.pods.clone(),
                sources: ports.sources,
            },
        }
    }

    /// A pod on which policies decide.
    pub(crate) fn held_pod(&self) -> Option<&HeldPod> {
        if let Rule::Policed(pod) = self { Some(pod) } else { None }
    }

    /// Takes what ADD made from the record, where a plan for CHECK has it from the result: a plugin
    /// behind may have set another MAC address since.
    pub(crate) fn take_recorded(&mut self, recorded: &[Owned]) {
        let Rule::Macspoof(check) = self else { return };
        for owned in recorded {
            if let Owned::Macspoof { port, mac } = owned
                && *port == check.port
            {
                check.mac = *mac;
            }
        }
    }
}

impl From<HeldPod> for Rule {
    fn from(pod: HeldPod) -> Rule {
        Rule::Policed(pod)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Masquerade(masquerade) => write!(f, "masquerade of {}", masquerade.address),
            Rule::Macspoof(macspoof) => write!(f, "MAC spoofing check of {}", macspoof.port),
            Rule::Rpfilter(rpfilter) => write!(f, "reverse path filter of {}", rpfilter.link),
            Rule::Policed(held) => write!(f, "policies of {}", held.held.address),
            Rule::Forwarded(forwarded) => write!(f, "forwarding of {}", forwarded.address),
            Rule::HostPorts(ports) => write!(f, "host ports of {}", Addresses(&ports.pods)),
        }
    }
}

/// The addresses of a pod, as a person lists them.
struct Addresses<'a>(&'a [MappedPod]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.0.iter().map(|pod| pod.address.to_string()).collect();
        f.write_str(&addresses.join(" and "))
    }
}

impl Kernel {
    pub(crate) fn add_rule(&mut self, rule: &Rule) -> Result<()> {
        match rule {
            Rule::Masquerade(masquerade) => Ok(self.nft()?.add_masquerade(masquerade)?),
            Rule::Macspoof(macspoof) => Ok(self.nft()?.add_macspoof(macspoof)?),
            Rule::Rpfilter(rpfilter) => {
                self.rpfilter_made |= self.nft()?.add_rpfilter(rpfilter)?;
                Ok(())
            }
            Rule::Policed(held) => self.hold(held),
            Rule::Forwarded(forwarded) => self.add_forwarded(forwarded),
            Rule::HostPorts(ports) => self.add_host_ports(ports),
        }
    }

    pub(crate) fn check_rule(&mut self, rule: &Rule) -> Result<Vec<String>> {
        Ok(match rule {
            Rule::Masquerade(masquerade) => self.nft()?.check_masquerade(masquerade)?,
            Rule::Macspoof(macspoof) => self.nft()?.check_macspoof(macspoof)?,
            Rule::Rpfilter(rpfilter) => self.nft()?.check_rpfilter(rpfilter)?,
            // What becomes of it is the daemon's.
            Rule::Policed(_) => Vec::new(),
            Rule::Forwarded(forwarded) => self.check_forwarded(forwarded)?,
            Rule::HostPorts(ports) => self.check_host_ports(ports)?,
        })
    }

    /// Removes what an attachment owns, if it carries the attachment's mark (what alias and comments
    /// hold, also where they hold only its beginning). DEL, GC, undo and a repeated ADD all remove by
    /// this. What is gone already is no error: `false` where it would have been seen.
    ///
    /// # Errors
    /// The kernel's; a link of the name that is another's.
    pub fn release(&mut self, owned: &Owned, mark: &str) -> Result<bool> {
        match owned {
            Owned::Veth { host } => self.remove_veth(host, mark)?,
            Owned::Masquerade { address } => {
                return Ok(self.nft()?.del_masquerade(*address, mark)?);
            }
            Owned::Macspoof { port, mac } => self.nft()?.del_macspoof(port, *mac, mark)?,
            Owned::Rpfilter { link } => self.nft()?.del_rpfilter(link, mark)?,
            // The daemon may have removed it long ago.
            Owned::Policed { address, .. } => drop(self.nft()?.release(*address, mark)?),
            Owned::Forwarded { address } => {
                return Ok(self.nft()?.del_forwarded(*address, mark)?);
            }
            Owned::PodRoute { link, address } => {
                let pod = IpNetwork::from(*address);
                self.remove_pod_route(&SubnetRoute { link: link.clone(), pod })?;
            }
            Owned::Setting { to, from } => self.restore(to, from)?,
            Owned::HostPorts { ports, pods, sources } => {
                return self.remove_host_ports(ports, pods, *sources, mark);
            }
            Owned::Ifb { name } => self.remove_ifb(name, mark)?,
            Owned::RateLimit { link } => self.remove_rate_limit(link)?,
            Owned::Redirect { from, to } => self.remove_redirect(from, to)?,
            Owned::VrfPort { link, vrf } => self.leave_vrf(link, vrf)?,
            Owned::SourceRouting { routing } => self.remove_source_routing(routing)?,
        }
        Ok(true)
    }

    /// What carries marks in nf_tables, each with its mark. A kernel without nf_tables holds none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn marked_rules(&mut self) -> Result<Vec<(String, Owned)>> {
        match self.nft().and_then(|nft| Ok(nft.consistent(marked_elements)?)) {
            Err(Error::Nft(error)) if error.is_unsupported() => Ok(Vec::new()),
            found => found,
        }
    }

    /// All of the host that carries marks, each with its mark; links first.
    ///
    /// # Errors
    /// The kernel's.
    pub fn marked(&mut self) -> Result<Vec<(String, Owned)>> {
        let mut marked: Vec<_> = self.marked_links()?;
        marked.extend(self.marked_rules()?);
        Ok(marked)
    }
}

/// The elements of every kind of [`Rule`], each with its mark.
fn marked_elements(nft: &mut Nft) -> nft::Result<Vec<(String, Owned)>> {
    let masquerades = nft.masquerades()?.into_iter();
    let masquerades = masquerades.map(|(address, mark)| (mark, Owned::Masquerade { address }));
    let macspoofs = nft.macspoofs()?.into_iter();
    let macspoofs = macspoofs.map(|((port, mac), mark)| (mark, Owned::Macspoof { port, mac }));
    let rpfilters = nft.rpfilters()?.into_iter();
    let rpfilters = rpfilters.map(|(link, mark)| (mark, Owned::Rpfilter { link }));
    let held = nft.policed()?.into_iter();
    let held = held.map(|(address, mark)| (mark, Owned::Policed { address, pod: None }));
    let forwarded = nft.forwarded()?.into_iter();
    let forwarded = forwarded.map(|(address, mark)| (mark, Owned::Forwarded { address }));
    let all = || Owned::HostPorts { ports: Vec::new(), pods: Vec::new(), sources: Sources::Near };
    let host_ports = nft.host_ports()?.into_iter().map(|((), mark)| (mark, all()));
    let rules = masquerades.chain(macspoofs).chain(rpfilters).chain(held);
    Ok(rules.chain(forwarded).chain(host_ports).collect())
}

impl Change {
    /// What the attachment owns of it: nothing where nothing was changed.
    pub(crate) fn owned(&self) -> Option<Owned> {
        let from = self.from.clone().filter(|from| *from != self.to)?;
        Some(Owned::Setting { to: self.to.clone(), from })
    }
}
