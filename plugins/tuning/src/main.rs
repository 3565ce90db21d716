//! The `tuning` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::run(cni::about!(), &tuning::Tuning)
}
