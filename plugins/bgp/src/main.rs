//! The `bgp` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &bgp::Bgp)
}
