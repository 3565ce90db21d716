//! Runs `ferrule`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferrule::cli::run()
}
