//! The `bridge` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &bridge::Bridge)
}
