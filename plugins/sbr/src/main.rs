//! The `sbr` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &sbr::Sbr)
}
