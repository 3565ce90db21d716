//! The `bandwidth` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &bandwidth::Bandwidth)
}
