//! The `vrf` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &vrf::Vrf)
}
