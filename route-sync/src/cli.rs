//! The command line.

use crate::cleanup::Cleaned;
use crate::config::{self, Config};
use crate::error::Error;
use crate::{bgp, cleanup, control, status, uninstall};
use clap::{Parser, Subcommand, ValueEnum};
use daemon::cli::{Level, Program};
use daemon::logs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

const PROGRAM: Program = Program(control::NAME);

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("FERRULE_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("v{}{commit}: {}", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
});

/// Installs the routes to every other node's pod CIDRs, and keeps them. Without a command it is
/// the daemon, which runs until SIGTERM and leaves all routes where they are.
#[derive(Debug, Parser)]
#[command(name = "route-sync", display_name = "Ferrule route-sync", version = VERSION.as_str())]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration
    #[arg(long, global = true, value_name = "PATH", default_value = config::PATH)]
    config: PathBuf,
    /// What is logged on stderr
    #[arg(long, global = true, value_name = "LEVEL", value_enum, default_value = "info")]
    log_level: Level,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads a configuration and prints every error in it; exit code 0 or 1
    CheckConfig {
        /// The configuration
        file: PathBuf,
    },
    /// Shows what the daemon keeps; exit code 0: all in sync, 1: something is not, 2: no daemon
    Status {
        /// Of what: all of it, or BGP
        #[arg(value_enum, value_name = "PART")]
        part: Option<Part>,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Removes everything that the daemon has made on the node, but for what [cni] installs; it must
    /// not run
    Cleanup,
    /// Removes everything: the conflist and the executables that [cni] installs, the kept state, and
    /// what cleanup removes; the daemon must not run. Pods keep their links
    Uninstall {
        /// Also executables that the deletion of pods still needs
        #[arg(long)]
        force: bool,
        /// Once all is removed, waits for SIGTERM or SIGINT, as the pod of a DaemonSet must
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The sessions with BGP peers and what they announce
    Bgp,
}

/// From the process's arguments to its exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logs::start(cli.log_level.into());
    let read = config::read;
    match cli.command {
        None => PROGRAM.with_config(read(&cli.config), |config| {
            PROGRAM.run(crate::daemon::run(&cli.config, config))
        }),
        Some(Command::CheckConfig { file }) => PROGRAM.with_config(read(&file), |config| {
            let warning = config.bgp.as_ref().and_then(|bgp| bgp.warning());
            warning.into_iter().for_each(|it| PROGRAM.complain(format_args!("warning: {it}")));
            PROGRAM.print(&described(&file, &config))
        }),
        Some(Command::Status { part, json }) => show_status(&cli.config, part, json),
        Some(Command::Cleanup) => {
            PROGRAM.with_config(read(&cli.config), |config| show_cleaned(cleanup::cleanup(&config)))
        }
        Some(Command::Uninstall { force, wait }) => {
            PROGRAM.with_config(read(&cli.config), |config| run_uninstall(&config, force, wait))
        }
    }
}

fn described(path: &Path, config: &Config) -> String {
    let Config { node_name, mode, source, cluster_cidrs, bgp, .. } = config;
    let cidrs: Vec<String> = cluster_cidrs.iter().map(ToString::to_string).collect();
    let cidrs = if cidrs.is_empty() { "none".to_owned() } else { cidrs.join(" ") };
    let bgp = bgp.as_ref().map(|bgp| format!(", AS {}, BGP peers {}", bgp.asn, bgp.peers.len()));
    format!(
        "{}: node {node_name}, mode {mode}, source {source}, cluster CIDRs {cidrs}{}\n",
        path.display(),
        bgp.unwrap_or_default()
    )
}

fn show_status(path: &Path, part: Option<Part>, json: bool) -> ExitCode {
    // A broken configuration is no reason not to ask the daemon that runs.
    let run_dir = config::read(path).map_or_else(|_| node::RUN_DIR.into(), |it| it.run_dir);
    match part {
        None => {
            let report = control::status(&run_dir, "status");
            PROGRAM.show(report, json, status::table, status::is_well)
        }
        Some(Part::Bgp) => {
            let report = control::status(&run_dir, "status bgp");
            PROGRAM.show(report, json, bgp::status::table, bgp::status::is_well)
        }
    }
}

fn run_uninstall(config: &Config, force: bool, wait: bool) -> ExitCode {
    let cleaned = uninstall::uninstall(config, force);
    let complete = cleaned.as_ref().is_ok_and(|cleaned| cleaned.errors.is_empty());
    let code = show_cleaned(cleaned);
    if !(wait && complete) {
        return code;
    }
    match uninstall::wait_for_stop() {
        Ok(()) => code,
        Err(error) => {
            PROGRAM.complain(error);
            ExitCode::FAILURE
        }
    }
}

fn show_cleaned(cleaned: Result<Cleaned, Error>) -> ExitCode {
    match cleaned {
        Ok(Cleaned { removed, stays, errors }) => {
            let mut lines: String =
                removed.iter().map(|what| format!("removed {what}\n")).collect();
            if removed.is_empty() && errors.is_empty() {
                "there was nothing to remove\n".clone_into(&mut lines);
            }
            lines.extend(stays.iter().map(|what| format!("{what}\n")));
            let printed = PROGRAM.print(&lines);
            let failed = !errors.is_empty();
            errors.into_iter().for_each(|error| PROGRAM.complain(error));
            if failed { ExitCode::FAILURE } else { printed }
        }
        Err(error) => {
            PROGRAM.complain(error);
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let cli =
            Cli::try_parse_from(["route-sync", "status", "--config", "/x", "--json"]).unwrap();
        assert_eq!(cli.config, PathBuf::from("/x"));
        assert!(matches!(cli.command, Some(Command::Status { part: None, json: true })));
        assert!(Cli::try_parse_from(["route-sync"]).unwrap().command.is_none());
        assert!(Cli::try_parse_from(["route-sync", "--vni", "1"]).is_err());
        let version = Cli::command().render_version();
        assert!(version.starts_with("Ferrule route-sync v0.1.0"), "{version}");
    }
}
