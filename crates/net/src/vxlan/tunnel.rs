//! A VXLAN device: made, compared and repaired.

use super::{Vxlan, add_vxlan};
use crate::link::{self, Link};
use crate::socket::Socket;
use crate::{address, sysctl};
use ipnetwork::IpNetwork;
use netlink::{Error, Result};
use std::net::IpAddr;

/// A VXLAN device with its mark and its addresses, up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel<'a> {
    /// The device.
    pub device: Vxlan<'a>,
    /// The alias by which it is recognised as ours.
    pub alias: &'a str,
    /// Its addresses, /32 and /128.
    pub addresses: &'a [IpNetwork],
}

/// What was found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The device as it is now.
    pub link: Link,
    /// Why the device was made, in words; `None`: it was there.
    pub made: Option<String>,
    /// What of one that was there was not as wanted, in words.
    pub mended: Vec<String>,
}

/// Whether a link is the one that would be made, whether or not its maker lived to mark it.
fn is_ours(link: &Link, tunnel: &Tunnel<'_>) -> bool {
    let same = link.alias.is_empty() && link.mac == tunnel.device.mac;
    link.kind == "vxlan" && (link.alias == tunnel.alias || same)
}

/// What of a device cannot be altered, and differs.
fn fixed_difference(link: &Link, device: &Vxlan<'_>) -> Option<String> {
    let Some(is) = &link.vxlan else { return Some("it reports no VXLAN attributes".to_owned()) };
    let differs = |what: &str, is: String, wanted: String| {
        (is != wanted).then(|| format!("{what} was {is} instead of {wanted}"))
    };
    differs("VNI", is.vni.to_string(), device.vni.to_string())
        .or_else(|| differs("port", is.port.to_string(), device.port.to_string()))
        .or_else(|| {
            let local = is.local.map(|local| local.to_string()).unwrap_or_default();
            differs("local address", local, device.local.to_string())
        })
        .or_else(|| {
            let link = |index: u32| match index {
                0 => "none".to_owned(),
                index => format!("link {index}"),
            };
            differs("underlay", link(is.device), link(device.underlay))
        })
        .or_else(|| differs("learning", is.learning.to_string(), false.to_string()))
}

/// How the device differs from the one that is wanted, in words; nothing is changed.
///
/// # Errors
/// The kernel's.
pub fn differences(socket: &mut Socket, tunnel: &Tunnel<'_>) -> Result<Vec<String>> {
    let name = tunnel.device.name;
    let Some(link) = socket.get(&link::by_name(name))? else {
        return Ok(vec![format!("{name} is missing")]);
    };
    if !is_ours(&link, tunnel) {
        return Ok(vec![not_ours(name, &link).reason]);
    }
    let mut found: Vec<String> = fixed_difference(&link, &tunnel.device).into_iter().collect();
    found.extend(alterable(&link, tunnel).into_iter().map(|(what, _)| what));
    let addresses = socket.list(&address::of_link(link.index))?;
    for wanted in tunnel.addresses {
        if !addresses.iter().any(|held| held.address == *wanted) {
            found.push(format!("address {wanted} was missing"));
        }
    }
    Ok(found)
}

fn not_ours(name: &str, link: &Link) -> Error {
    let kind = if link.kind.is_empty() { "device" } else { &link.kind };
    let reason = format!(
        "{name} is a {kind} without Ferrule's mark; delete or rename it, or choose another VNI"
    );
    Error::of(format!("make VXLAN device {name}"), libc::EEXIST, reason)
}

/// What of a device can be altered, and differs: in words, and the message that alters it.
fn alterable(link: &Link, tunnel: &Tunnel<'_>) -> Vec<(String, crate::Verb<()>)> {
    let (device, index, name) = (&tunnel.device, link.index, tunnel.device.name);
    let mut found = Vec::new();
    if link.alias != tunnel.alias {
        found.push(("alias was missing".to_owned(), link::set_alias(index, tunnel.alias, name)));
    }
    if link.mac != device.mac {
        let what = format!("MAC address was {} instead of {}", link.mac, device.mac);
        found.push((what, link::set_mac(index, device.mac, name)));
    }
    if link.mtu != device.mtu {
        let what = format!("MTU was {} instead of {}", link.mtu, device.mtu);
        found.push((what, link::set_mtu(index, device.mtu, name)));
    }
    if !link.up {
        found.push(("it was down".to_owned(), link::set_up(index, name)));
    }
    found
}

/// Makes the device, or mends what of it differs; one that differs in what cannot be altered is
/// made anew. Idempotent.
///
/// # Errors
/// EEXIST naming the holder, when the name is not ours or another device has VNI and port; else
/// the kernel's.
pub fn ensure(socket: &mut Socket, tunnel: &Tunnel<'_>) -> Result<Ensured> {
    let name = tunnel.device.name;
    let found = socket.get(&link::by_name(name))?;
    if let Some(link) = found.as_ref().filter(|link| !is_ours(link, tunnel)) {
        return Err(not_ours(name, link));
    }
    let made = match &found {
        None => Some("it was missing".to_owned()),
        Some(link) => fixed_difference(link, &tunnel.device),
    };
    let link = match found {
        Some(link) if made.is_none() => link,
        Some(link) => match socket.set(&link::del(link.index, name)) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => make(socket, tunnel)?,
        },
        None => make(socket, tunnel)?,
    };
    let mut mended = Vec::new();
    // The alias comes first, and an MTU too small for IPv6 before its addresses. What fails hinders
    // nothing else.
    let mut failed = Ok(());
    for (what, verb) in alterable(&link, tunnel) {
        match socket.set(&verb) {
            Ok(()) => mended.push(what),
            Err(error) => failed = failed.and(Err(error)),
        }
    }
    mended.extend(addresses(socket, link.index, tunnel)?);
    failed?;
    if made.is_some() {
        // That it was made says it.
        mended.clear();
    }
    let link = socket.get(&link::by_index(link.index))?.unwrap_or(link);
    Ok(Ensured { link, made, mended })
}

fn make(socket: &mut Socket, tunnel: &Tunnel<'_>) -> Result<Link> {
    let device = &tunnel.device;
    let made = socket.set(&add_vxlan(device));
    // Another process may have made the same at the same time.
    let link = socket.get(&link::by_name(device.name))?;
    match (made, link) {
        (Err(error), None) if error.is_exists() => Err(held(socket, device, error)),
        (Err(error), Some(link)) if !error.is_exists() || !is_ours(&link, tunnel) => Err(error),
        (Err(error), None) => Err(error),
        (Ok(()), None) => Err(Error::of("find the VXLAN device just made", libc::ENODEV, "")),
        (_, Some(link)) => Ok(link),
    }
}

/// Whose VNI and port are: the kernel says only that they are taken.
fn held(socket: &mut Socket, device: &Vxlan<'_>, error: Error) -> Error {
    let links = socket.list(&link::list()).unwrap_or_default();
    let same = |link: &&Link| {
        link.vxlan.as_ref().is_some_and(|is| is.vni == device.vni && is.port == device.port)
    };
    let (vni, port) = (device.vni, device.port);
    let reason = match links.iter().find(same) {
        Some(holder) => format!(
            "device {} has VNI {vni} and port {port} already; choose another vni or port on every \
             node, or remove that device",
            holder.name
        ),
        None => error.reason,
    };
    Error::of(error.what, libc::EEXIST, reason)
}

/// Addresses that are missing are added, others removed: the device is ours alone. What fails
/// hinders nothing else, above all IPv6 not IPv4.
fn addresses(socket: &mut Socket, index: u32, tunnel: &Tunnel<'_>) -> Result<Vec<String>> {
    let mut altered = Vec::new();
    let mut failed = Ok(());
    if tunnel.addresses.iter().any(IpNetwork::is_ipv6) {
        // Some distributions switch IPv6 off on new devices.
        let key = format!("net/ipv6/conf/{}/disable_ipv6", tunnel.device.name);
        failed = sysctl::set(&key, "0").map(drop);
    }
    let present = socket.list(&address::of_link(index))?;
    for wanted in tunnel.addresses {
        if !present.iter().any(|held| held.address == *wanted) {
            match socket.set(&address::add_host(index, wanted.ip())) {
                Err(error) if !error.is_exists() => failed = failed.and(Err(error)),
                _ => altered.push(format!("address {wanted} was missing")),
            }
        }
    }
    for held in present {
        let link_local =
            matches!(held.address.ip(), IpAddr::V6(six) if six.is_unicast_link_local());
        if !link_local && !tunnel.addresses.contains(&held.address) {
            match socket.set(&address::del(index, held.address)) {
                Err(error) if !error.is_gone() => failed = failed.and(Err(error)),
                _ => altered.push(format!("address {} was not wanted", held.address)),
            }
        }
    }
    failed.map(|()| altered)
}
