//! The `firewall` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &firewall::Firewall)
}
