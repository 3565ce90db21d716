//! The command line.

use crate::facts::{Facts, SPAN};
use crate::output::{self, print};
use crate::places::Places;
use crate::report::Report;
use crate::{attachments, explain, ls, support, trace};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("FERRULE_COMMIT").filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("v{}{commit}: {}", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"))
});

/// Shows the state of this node's pod network, and what is wrong with it. It only reads.
#[derive(Debug, Parser)]
#[command(name = "ferrule", display_name = "Ferrule ferrule", version = VERSION.as_str())]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Debug, Args)]
struct Folders {
    /// Where the runtime reads networks
    #[arg(long, global = true, value_name = "PATH", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// Where the runtime finds plugins
    #[arg(long, global = true, value_name = "PATH", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// The networks' runDir, and route-sync's run-dir
    #[arg(long, global = true, value_name = "PATH", default_value = node::RUN_DIR)]
    run_dir: PathBuf,
    /// Where host-local keeps leases
    #[arg(long, global = true, value_name = "PATH", default_value = "/var/lib/cni/networks")]
    data_dir: PathBuf,
    /// Files that are read in the place of the node's, where it has them; for tests
    #[arg(long, global = true, value_name = "PATH", hide = true)]
    overlay: Option<PathBuf>,
}

impl Folders {
    fn places(self) -> Places {
        let Folders { conf_dir, bin_dir, run_dir, data_dir, overlay } = self;
        Places { conf_dir, bin_dir, run_dir, data_dir, overlay }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds what is wrong, and says what mends it; exit code 0: nothing, 1: problems, 2: cannot tell
    Doctor {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
        /// How many seconds counters are watched
        #[arg(long, value_name = "SECONDS", default_value_t = SPAN.as_secs())]
        watch: u64,
        /// Prints what each check looks for, as docs/troubleshooting.md
        #[arg(long)]
        explain: bool,
    },
    /// Shows the way of a packet through this node, hop by hop; exit code 0: it passes, 1: it fails, 2: cannot tell
    Trace {
        /// A pod, container or address of this node
        #[arg(value_name = "POD|ADDRESS")]
        from: String,
        /// A pod of this node, or any address
        #[arg(value_name = "DESTINATION")]
        to: String,
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Packs everything for a bug report into one archive, secrets left out
    Support {
        /// The archive; by default ferrule-support-NODE-TIME.tar.gz in this folder
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
    },
    /// Shows the node's attachments, orphans marked; exit code 0, or 1 if there are orphans
    Ls {
        /// As JSON, for scripts
        #[arg(long)]
        json: bool,
    },
}

fn trace(places: &Places, from: &str, to: &str, json: bool) -> ExitCode {
    let facts = Facts::gather(places, Duration::ZERO);
    match trace::walk(&facts, from, to) {
        Ok(trace) if json => print(&output::json(&trace), trace.code()),
        Ok(trace) => print(&trace::picture(&trace), trace.code()),
        Err(why) => {
            output::complain(why);
            ExitCode::from(2)
        }
    }
}

fn support(places: &Places, output: Option<PathBuf>) -> ExitCode {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let host = places.text("/proc/sys/kernel/hostname").ok().flatten().unwrap_or_default();
    let folder = format!("ferrule-support-{}-{now}", host.trim());
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
    let members = support::members(&Facts::gather(places, SPAN));
    match support::write(&path, &folder, &members, now) {
        Ok(()) => {
            let text =
                "passwords, tokens and keys are left out; addresses and names of pods are in it";
            print(&format!("{}: {} files; {text}\n", path.display(), members.len()), 0)
        }
        Err(error) => {
            output::complain(format!("cannot write {}: {error}", path.display()));
            ExitCode::FAILURE
        }
    }
}

/// From the process's arguments to its exit code.
pub fn run() -> ExitCode {
    let Cli { command, folders } = Cli::parse();
    let places = folders.places();
    match command {
        Command::Doctor { explain: true, .. } => print(&explain::page(), 0),
        Command::Doctor { json, watch, .. } => {
            let report = Report::of(&Facts::gather(&places, Duration::from_secs(watch)));
            let text = if json { output::json(&report) } else { report.text() };
            print(&text, report.code())
        }
        Command::Trace { from, to, json } => trace(&places, &from, &to, json),
        Command::Support { output } => support(&places, output),
        Command::Ls { json } => {
            let facts = Facts::gather(&places, Duration::ZERO);
            let all = attachments::list(&facts);
            let text = if json { output::json(&all) } else { ls::table(&all) };
            facts
                .unread()
                .iter()
                .for_each(|(what, why)| output::complain(format!("{what}: {why}")));
            print(&text, u8::from(all.iter().any(|one| one.orphan.is_some())))
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
        let cli = Cli::try_parse_from(["ferrule", "doctor", "--json", "--run-dir", "/x"]).unwrap();
        assert_eq!(cli.folders.run_dir, PathBuf::from("/x"));
        let folders = Cli::try_parse_from(["ferrule", "ls"]).unwrap().folders.places();
        let usual = Places::default();
        assert_eq!(
            (folders.conf_dir, folders.bin_dir, folders.run_dir, folders.data_dir),
            (usual.conf_dir, usual.bin_dir, usual.run_dir, usual.data_dir)
        );
    }
}
