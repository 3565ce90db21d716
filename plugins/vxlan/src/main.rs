//! The `vxlan` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &vxlan::Overlay)
}
