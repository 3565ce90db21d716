//! The executable `route-sync`.

fn main() -> std::process::ExitCode {
    route_sync::cli::run()
}
