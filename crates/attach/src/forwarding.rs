//! Forwarding: the node's, and that of the links that pods send by. A link inherits the switch of
//! `conf.default`, which hardened nodes leave off.

pub use crate::network::Forwarder;
use crate::record::Records;
use crate::settings::sysctl;
use crate::{Family, Item, Kernel, Maker, Network, Place, SubnetRoute, failed, ranges};
use cni::{Error, Request, Result, code};
use ipnetwork::IpNetwork;

/// Forwarding by a link, for some families. The node's comes first: it sets that of all links
/// (net/ipv4/devinet.c, inet_forward_change; net/ipv6/addrconf.c, addrconf_fixup_forwarding).
pub fn items(link: &str, families: impl Iterator<Item = Family>) -> Vec<Item> {
    let of_family = |family| {
        let key = match family {
            Family::V4 => "ipv4/conf/*/forwarding",
            Family::V6 => "ipv6/conf/*/forwarding",
        };
        [Item::Forwarding(family), sysctl(Place::Host, key, link, "1", false)]
    };
    families.flat_map(of_family).collect()
}

/// Whether pods that live are cut off since forwarding is off. ADD switches it on, so a node
/// without pods needs none.
///
/// # Errors
/// Code 51 with what is off.
pub(crate) fn status(request: &Request, network: &impl Network, kernel: &mut Kernel) -> Result<()> {
    if Records::new(network.run_dir(), Maker::Main).hashes()?.is_empty() {
        return Ok(());
    }
    let differences = differences(request, network, kernel).map_err(|error| failed(&error))?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::new(code::LIMITED_CONNECTIVITY, "the node does not forward what its pods send")
        .details(format!(
            "{}; set it to 1, and find the file of /etc/sysctl.d that switches it off",
            differences.join("; ")
        )))
}

/// A sysctl that is off, and that route-sync cannot set.
#[must_use]
pub fn off(sysctl: &str) -> Error {
    Error::new(code::LIMITED_CONNECTIVITY, "the node does not forward what its pods send").details(
        format!(
            "{sysctl} is 0, and route-sync cannot set it: set it to 1; see `route-sync status`"
        ),
    )
}

fn differences(
    request: &Request,
    network: &impl Network,
    kernel: &mut Kernel,
) -> crate::kernel::Result<Vec<String>> {
    let cidrs = ranges::of(&request.conf.object);
    let has = |cidrs: &[IpNetwork], family| cidrs.iter().any(|net| Family::of(net.ip()) == family);
    let families = [Family::V4, Family::V6].into_iter();
    let items = match network.forwarder() {
        Forwarder::None => Vec::new(),
        Forwarder::Link(link) => {
            let served = served(kernel, &link, cidrs)?;
            items(&link, families.filter(|family| has(&served, *family)))
        }
        Forwarder::EachPods => {
            families.filter(|family| has(&cidrs, *family)).map(Item::Forwarding).collect()
        }
    };
    kernel.check(&items)
}

/// The subnets that a link serves: it holds an address inside, or the route to one whose gateway
/// lies outside.
fn served(
    kernel: &mut Kernel,
    link: &str,
    cidrs: Vec<IpNetwork>,
) -> crate::kernel::Result<Vec<IpNetwork>> {
    if kernel.link(Place::Host, link)?.is_none() {
        return Ok(Vec::new());
    }
    let held = kernel.addresses(Place::Host, link)?;
    let mut served = Vec::new();
    for cidr in cidrs {
        // A pod's address: those before it are the network's and mostly the gateway's.
        let pod = cidr.iter().nth(2).and_then(|pod| IpNetwork::new(pod, cidr.prefix()).ok());
        let route = pod.map(|pod| Item::SubnetRoute(SubnetRoute { link: link.to_owned(), pod }));
        let routed =
            |route: Item| Ok::<_, crate::kernel::Error>(kernel.check(&[route])?.is_empty());
        if held.iter().any(|net| cidr.contains(net.ip()))
            || route.map(routed).transpose()?.unwrap_or(false)
        {
            served.push(cidr);
        }
    }
    Ok(served)
}
