//! The command line.

use crate::cleanup::Cleaned;
use crate::config::{self, Config};
use crate::{bgp, cleanup, control, daemon, logs, status};
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::level_filters::LevelFilter;

/// Exit code of `status` where no daemon answers.
const NO_DAEMON: u8 = 2;

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
    /// Reads a configuration and tells every error in it; exit code 0 or 1
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
    /// Removes everything that the daemon has made; it must not run
    Cleanup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The sessions with BGP peers and what they tell
    Bgp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> LevelFilter {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// From the process's arguments to its exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logs::start(cli.log_level.into());
    match cli.command {
        None => with_config(&cli.config, |config| run_daemon(&cli.config, config)),
        Some(Command::CheckConfig { file }) => with_config(&file, |config| {
            let warning = config.bgp.as_ref().and_then(|bgp| bgp.warning());
            warning.into_iter().for_each(|it| complain(format_args!("warning: {it}")));
            print(&described(&file, &config))
        }),
        Some(Command::Status { part, json }) => show_status(&cli.config, part, json),
        Some(Command::Cleanup) => with_config(&cli.config, |config| clean(&config)),
    }
}

fn with_config(path: &Path, act: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    match config::read(path) {
        Ok(config) => act(config),
        Err(errors) => {
            for error in errors {
                complain(error);
            }
            ExitCode::FAILURE
        }
    }
}

fn run_daemon(path: &Path, config: Config) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            logs::tell(format_args!("route-sync: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(daemon::run(path, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logs::tell(format_args!("route-sync: {error}"));
            ExitCode::FAILURE
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
        None => show(&run_dir, "status", json, status::table, status::is_well),
        Some(Part::Bgp) => {
            show(&run_dir, "status bgp", json, bgp::status::table, bgp::status::is_well)
        }
    }
}

/// Asks, and prints what is answered.
fn show<T: DeserializeOwned + Serialize>(
    run_dir: &Path,
    command: &str,
    json: bool,
    table: impl FnOnce(&T, u64) -> String,
    is_well: impl FnOnce(&T) -> bool,
) -> ExitCode {
    let report: T = match control::status(run_dir, command) {
        Ok(report) => report,
        Err(error) => {
            complain(error);
            return ExitCode::from(NO_DAEMON);
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let text = match json {
        true => serde_json::to_string_pretty(&report).map(|text| text + "\n"),
        false => Ok(table(&report, now)),
    };
    let printed = match text {
        Ok(text) => print(&text),
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    };
    if is_well(&report) { printed } else { ExitCode::FAILURE }
}

fn clean(config: &Config) -> ExitCode {
    match cleanup::cleanup(config) {
        Ok(Cleaned { removed, errors }) => {
            let mut lines: String =
                removed.iter().map(|what| format!("removed {what}\n")).collect();
            if removed.is_empty() && errors.is_empty() {
                "there was nothing to remove\n".clone_into(&mut lines);
            }
            let printed = print(&lines);
            let failed = !errors.is_empty();
            errors.into_iter().for_each(complain);
            if failed { ExitCode::FAILURE } else { printed }
        }
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// On stdout. Whoever closes it has read enough.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// On stderr; that nobody reads it cannot be told anybody.
fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "route-sync: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
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
