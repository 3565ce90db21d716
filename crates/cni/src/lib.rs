//! The Container Network Interface protocol, spec 1.1.0 and every version before it.
//!
//! An executable hands [`run`] a [`Plugin`]; everything that the protocol demands around it
//! (environment, configuration, versions, one JSON document on stdout, exit code) is done here,
//! and all of it before the plugin is called. Spec: <https://www.cni.dev/docs/spec/>.

mod attachment;
mod config;
mod delegate;
mod dispatch;
mod env;
mod error;
pub mod files;
pub mod ifname;
pub mod json;
pub mod lock;
pub mod log;
pub mod result;
mod version;

pub use attachment::{Attachment, Label};
pub use config::{NetConf, ValidAttachment};
pub use delegate::{Delegate, Running};
pub use dispatch::{About, Plugin, Request, run};
pub use env::{Args, Command, Env};
pub use error::{Error, Result, code};
pub use result::{CniResult, Dns, Interface, Ip, Route};
pub use version::Version;

#[doc(hidden)]
pub use dlmalloc::GlobalDlmalloc as Allocator;
