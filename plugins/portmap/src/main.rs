//! The `portmap` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &portmap::Portmap)
}
