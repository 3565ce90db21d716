//! The command line.

use crate::check::{self, Checked};
use crate::config::{self, Config};
use crate::control::{self, Reply};
use crate::question::{self, Answer};
use crate::report::{DropReport, Report};
use crate::{cleanup, status};
use clap::{Parser, Subcommand};
use daemon::cli::{Level, Program};
use daemon::logs;
use ipnetwork::IpNetwork;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

const PROGRAM: Program = Program(control::NAME);
/// Exit code of `why` for what is dropped.
const DROPPED: u8 = 3;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("FERRULE_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("v{}{commit}: {}", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
});

/// Enforces NetworkPolicy on the pods of this node, and explains it. Without a command it is the
/// daemon, which runs until SIGTERM and leaves all policies in force.
#[derive(Debug, Parser)]
#[command(name = "policy-sync", display_name = "Ferrule policy-sync", version = VERSION.as_str())]
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
    /// Reads policies and tells what is wrong or suspicious: ones that select nothing, ports that no
    /// pod has, CIDRs inside of pod ranges; exit code 0: nothing, 1: something
    Check {
        /// YAML files, or folders of them; pods and namespaces in them are taken into account
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A range of pods' addresses; by default those that route-sync knows
        #[arg(long, value_name = "CIDR")]
        pod_cidr: Vec<IpNetwork>,
    },
    /// Says whether packets pass from one end to another, and why; exit code 0: they pass, 3: they are
    /// dropped, 1: it cannot be said
    Why {
        /// A pod, as namespace/name, or an address
        source: String,
        /// The same, with a port: shop/web:80, shop/web:http, 10.0.0.1:53/udp, [fd00::1]:80
        destination: String,
        /// Asks these YAML files instead of the daemon
        #[arg(long, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Shows what the daemon keeps; exit code 0: all is in force, 1: something is not, 2: no daemon
    Status {
        /// What was dropped in the last ten minutes, and why
        #[arg(long)]
        drops: bool,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Removes everything that the daemon has made, and so opens all pods; it must not run
    Cleanup,
}

/// From the process's arguments to its exit code.
pub fn run() -> ExitCode {
    let Cli { command, config, log_level } = Cli::parse();
    logs::start(log_level.into());
    let read = config::read;
    match command {
        None => PROGRAM
            .with_config(read(&config), |read| PROGRAM.run(crate::daemon::run(&config, read))),
        Some(Command::CheckConfig { file }) => PROGRAM.with_config(read(&file), |config| {
            let Config { node_name, source, .. } = &config;
            PROGRAM.print(&format!("{}: node {node_name}, source {source}\n", file.display()))
        }),
        Some(Command::Check { files, pod_cidr }) => show_check(&files, pod_cidr, &run_dir(&config)),
        Some(Command::Why { source, destination, files, json }) => {
            let answer = match files.as_slice() {
                [] => ask(&run_dir(&config), &format!("why {source} {destination}")),
                files => check::state(files)
                    .and_then(|state| question::answer(&state, &source, &destination)),
            };
            show_answer(answer, json)
        }
        Some(Command::Status { drops: false, json }) => {
            let report = control::request::<Report>(&run_dir(&config), "status");
            PROGRAM.show(report, json, |report, _| status::table(report), status::is_well)
        }
        Some(Command::Status { drops: true, json }) => {
            match ask::<Vec<DropReport>>(&run_dir(&config), "drops") {
                Ok(drops) if json => print_json(&drops),
                Ok(drops) => PROGRAM.print(&status::drops(&drops)),
                Err(error) => complain(error),
            }
        }
        Some(Command::Cleanup) => PROGRAM.with_config(read(&config), |config| clean(&config)),
    }
}

/// Where the daemon is; a broken configuration is no reason not to ask the one that runs.
fn run_dir(config: &Path) -> PathBuf {
    config::read(config).map_or_else(|_| node::RUN_DIR.into(), |it| it.run_dir)
}

fn ask<T: serde::de::DeserializeOwned>(run_dir: &Path, command: &str) -> Result<T, String> {
    match control::request::<Reply<T>>(run_dir, command) {
        Ok(Reply::Answer(answer)) => Ok(answer),
        Ok(Reply::Refused { error }) => Err(error),
        Err(error) => Err(error.to_string()),
    }
}

fn complain(error: impl std::fmt::Display) -> ExitCode {
    PROGRAM.complain(error);
    ExitCode::FAILURE
}

fn print_json<T: serde::Serialize>(value: &T) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => PROGRAM.print(&(text + "\n")),
        Err(error) => complain(error),
    }
}

fn show_answer(answer: Result<Answer, String>, json: bool) -> ExitCode {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return complain(error),
    };
    let printed = if json { print_json(&answer) } else { PROGRAM.print(&question::text(&answer)) };
    if printed == ExitCode::SUCCESS && !answer.passes() {
        return ExitCode::from(DROPPED);
    }
    printed
}

fn show_check(files: &[PathBuf], pod_cidrs: Vec<IpNetwork>, run_dir: &Path) -> ExitCode {
    let Checked { text, is_well } = match check::check(files, pod_cidrs, run_dir) {
        Ok(checked) => checked,
        Err(error) => return complain(error),
    };
    let printed = PROGRAM.print(&text);
    if is_well { printed } else { ExitCode::FAILURE }
}

fn clean(config: &Config) -> ExitCode {
    match cleanup::cleanup(config) {
        Ok(cleanup::Cleaned { removed, errors }) => {
            let lines: String = removed.iter().map(|what| format!("removed {what}\n")).collect();
            let printed = PROGRAM.print(&lines);
            errors.iter().for_each(|error| PROGRAM.complain(error));
            if errors.is_empty() { printed } else { ExitCode::FAILURE }
        }
        Err(error) => complain(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let of = |words: &[&str]| Cli::try_parse_from([&["policy-sync"], words].concat());
        let cli = of(&["why", "shop/web", "10.0.0.1:80", "--config", "/x"]).unwrap();
        assert_eq!(cli.config, PathBuf::from("/x"));
        assert!(matches!(cli.command, Some(Command::Why { json: false, .. })));
        assert!(of(&[]).unwrap().command.is_none());
        assert!(of(&["check"]).is_err(), "without files there is nothing to check");
        assert!(of(&["status", "--drops", "--json"]).is_ok());
        let version = Cli::command().render_version();
        assert!(version.starts_with("Ferrule policy-sync v0.1.0"), "{version}");
    }
}
