//! The `host-local` IPAM plugin.

use host_local::HostLocal;
use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &HostLocal::default())
}
