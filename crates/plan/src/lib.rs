//! What a plan is made of, and the executor that applies, checks and removes it.
//!
//! A plan is a list of [`Item`]s in the order that a person would say them. ADD applies it,
//! CHECK compares it with the kernel field by field, a failed ADD removes what was applied, DEL
//! removes what is owned. Items name links; indexes are the kernel's.

mod apply;
mod check;
mod item;
mod kernel;
mod remove;
mod route;
mod routed;
mod subnet;
mod tunnel;

pub use item::{
    Bridge, Family, Gateway, HostRoute, Item, Neighbour, Place, Port, Route, SubnetRoute, Sysctl,
    Veth, Vlans,
};
pub use kernel::{Error, Kernel, Result};
pub use net::link::Vlan;
pub use net::route::Route as NetRoute;
pub use net::{Link, Mac, not_astray};
pub use nft::{Macspoof, Masquerade, Rpfilter, reference_macspoof_chain};
pub use tunnel::TunnelDevice;
