//! The life of an attachment, for every plugin: ADD, CHECK, DEL, GC and STATUS.
//!
//! A plugin says as a [`Network`] what must exist: lists of [`Item`]s in the order that a person
//! would say them. ADD applies them beside the IPAM plugin, CHECK compares them with the kernel
//! field by field, a failed ADD removes what was applied, DEL and GC remove what the attachment's
//! [`record`] says that it owns. Items name links; indexes are the kernel's.

mod add;
mod apply;
pub mod backup;
pub mod chain;
mod check;
mod compare;
mod del;
mod flows;
pub mod forwarding;
mod gc;
mod hold;
mod holding;
mod host_ports;
mod item;
mod kernel;
pub mod keys;
mod legacy;
mod names;
mod network;
mod owned;
mod place;
pub mod ranges;
pub mod record;
mod remove;
mod restore;
mod route;
mod routed;
pub mod routes;
mod setting;
pub mod settings;
mod shaping;
mod sourced;
mod sourcing;
mod subnet;
mod subnet_route;
mod teardown;
mod text;
mod tunnel;
mod vrf;

pub use add::add;
pub use check::{check, status};
pub use del::del;
pub use gc::gc;
pub use hold::{HeldPod, Hold, PodName};
pub use item::{
    Bridge, Gateway, HostRoute, Ifb, Item, Neighbour, Port, RateLimit, Redirect, Route, Sysctl,
    Veth, Vlans, VrfPort,
};
pub use kernel::{Error, Kernel, Result, failed};
pub use names::{Maker, Names, alias, comment};
pub use net::link::Vlan;
pub use net::route::Route as NetRoute;
pub use net::{Family, Link, Mac};
pub use network::Network;
pub use nft::reference_macspoof_chain;
pub use owned::*;
pub use place::Place;
pub use setting::{Change, Setting};
pub use sourced::{LinkRoute, Routing, SourceRouting};
pub use subnet_route::SubnetRoute;
pub use teardown::{Foreign, Teardown};
pub use tunnel::TunnelDevice;
