//! The tunnel's device in the kernel: made, mended, found, or not wanted any more.

use super::device::Tunnel;
use crate::facts::is_tunnel;
use net::vxlan::{Ensured, Vxlan};
use net::{Link, Socket, link, vxlan};
use node::vtep;

/// Why a tunnel is not made.
pub const UNGUARDED: &str = "it is not made: its port cannot be guarded, and any host that reaches it could \
                             send into the pods' network; the problem `nftables` or `device …` says why";

/// The key of the problem of a device that is wanted.
pub fn problem(wanted: &Tunnel) -> String {
    let Tunnel::Vxlan(vtep) = wanted;
    format!("vxlan {}", vtep.name)
}

/// Whether a problem is about some device that was wanted.
pub fn is_problem(what: &str) -> bool {
    what.starts_with("vxlan ")
}

/// The key of the problem of a device that cannot be removed.
pub fn removal_problem(unwanted: &Link) -> String {
    format!("device {}", unwanted.name)
}

/// Whether a problem is about some device that cannot be removed.
pub fn is_removal_problem(what: &str) -> bool {
    what.starts_with("device ")
}

/// Makes the device, or mends the one that exists.
///
/// # Errors
/// The first that the kernel refuses; everything else is done.
pub fn ensure(socket: &mut Socket, wanted: &Tunnel) -> net::Result<Ensured> {
    let Tunnel::Vxlan(wanted) = wanted;
    let device = Vxlan {
        name: &wanted.name,
        mac: wanted.mac,
        vni: wanted.vni,
        port: wanted.port,
        local: wanted.local,
        underlay: wanted.underlay.0,
        mtu: wanted.mtu,
    };
    let tunnel = vxlan::Tunnel { device, alias: vtep::ALIAS, addresses: &wanted.addresses };
    vxlan::ensure(socket, &tunnel)
}

/// The device as it is, whatever of it is not as wanted.
///
/// # Errors
/// The kernel cannot be asked.
pub fn find(socket: &mut Socket, wanted: &Tunnel) -> net::Result<Option<Link>> {
    Ok(socket.get(&link::by_name(wanted.name()))?.filter(is_tunnel))
}

/// Our devices that are not wanted.
#[derive(Debug, Default)]
pub struct Unwanted {
    /// Those at another port than the tunnel's: its guard does not cover them.
    pub elsewhere: Vec<Link>,
    /// The others.
    pub others: Vec<Link>,
}

/// Which of these links are our devices and are not wanted.
pub fn unwanted(wanted: Option<&Tunnel>, links: Vec<Link>) -> Unwanted {
    let ours = links.into_iter().filter(is_tunnel);
    let port = |link: &Link| link.vxlan.as_ref().map(|vxlan| vxlan.port);
    let (elsewhere, mut others): (Vec<_>, Vec<_>) =
        ours.partition(|link| wanted.is_some_and(|wanted| port(link) != Some(wanted.port())));
    others.retain(|link| wanted.is_none_or(|wanted| wanted.name() != link.name));
    Unwanted { elsewhere, others }
}
