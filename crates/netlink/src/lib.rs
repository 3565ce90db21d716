//! Netlink for every protocol that Ferrule speaks: rtnetlink and nf_tables.
//!
//! A [`Verb`] is a request and the parser of its replies. A [`Socket`] sends verbs one by one, or
//! many in one system call, and blocks until the kernel has answered. A [`Monitor`] receives
//! notifications and does not block. Messages are written with [`Message`] and read with
//! [`replies`] and [`attributes`]; the kernel's extended acknowledgement (NETLINK_EXT_ACK) is part
//! of every [`Error`].
#![warn(missing_docs)]

mod attributes;
mod batch;
mod error;
mod mac;
mod message;
mod monitor;
mod reply;
mod socket;
mod verb;

pub use attributes::{Attribute, attributes, checked, find, ip_of, u32_of};
pub use error::{Error, Result};
pub use mac::Mac;
pub use message::{Message, frame};
pub use monitor::Monitor;
pub use reply::{HEADER, NLMSG_DONE, NLMSG_ERROR, Reply, next_reply, refusal, replies};
pub use socket::{Protocol, Socket};
pub use verb::{Answer, Verb};
