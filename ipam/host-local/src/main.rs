//! The `host-local` IPAM plugin.

use host_local::HostLocal;
use nix::sys::stat::{Mode, umask};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A runtime's umask would show in the modes of leases and of their index.
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    cni::run(cni::about!(), &HostLocal::default())
}
