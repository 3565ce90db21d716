//! The `static` IPAM plugin.

use static_ipam::Static;
use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &Static)
}
