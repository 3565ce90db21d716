//! The executable `policy-sync`.

fn main() -> std::process::ExitCode {
    policy_sync::cli::run()
}
