//! The `dhcp` executable: the IPAM plugin, and with the argument `daemon` the process that keeps its
//! leases.

use dhcp::Dhcp;
use std::process::ExitCode;

fn main() -> ExitCode {
    let about = cni::about!();
    dhcp::command_line(std::env::args().skip(1)).unwrap_or_else(|| cni::run(about, &Dhcp))
}
