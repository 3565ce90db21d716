//! The daemon: leases of all pods on one thread.
//!
//! ```text
//! flags.rs     the command line
//! serve.rs     the socket: questions of the plugin
//! leases.rs    what the daemon knows; DEL, CHECK, GC
//! acquire.rs   ADD
//! keep.rs      one lease through its life: renewed, rebound, lost
//! exchange.rs  a client's exchange with servers
//! client.rs    the client of a lease
//! pod.rs       the pod's namespace and its link's socket
//! store.rs     leases on disk
//! report.rs    status and metrics
//! ```
//! A lease costs a timer and 5 KB. It has a socket only while it is asked for.

mod acquire;
mod client;
mod exchange;
mod flags;
mod keep;
mod leases;
mod pod;
pub mod report;
mod serve;
pub mod store;

use crate::rpc::Key;
use client::give_back;
use cni::{Error, code, log};
use flags::{Flags, HELP, Refusal};
use leases::Leases;
use node::Lock;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use store::Store;

/// Held for the daemon's life, in the folder of its leases.
const LOCK: &str = "lock";

/// Runs the daemon until it is told to stop. Leases stay: pods outlive the daemon.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let flags = match Flags::read(arguments) {
        Ok(flags) => flags,
        Err(Refusal::Help) => {
            say(HELP);
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Wrong(why)) => {
            say(&format!("dhcp: {why}\n"));
            return ExitCode::from(2);
        }
    };
    daemon::logs::start(tracing::level_filters::LevelFilter::INFO);
    match begin(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            daemon::logs::write(format_args!("dhcp: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// On stderr, as the reference's usage.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn begin(flags: Flags) -> io::Result<()> {
    let named = |what: &str, error: io::Error| io::Error::other(format!("{what}: {error}"));
    let state = flags.on_host(&flags.state.to_string_lossy());
    let lock = Lock::take_named(&state, LOCK)
        .map_err(|error| named(&state.display().to_string(), error))?;
    let Some(_lock) = lock else {
        let state = state.display();
        return Err(io::Error::other(format!("another daemon keeps its leases in {state}")));
    };
    if let Some(pidfile) = &flags.pidfile {
        std::fs::write(pidfile, std::process::id().to_string())
            .map_err(|error| named(&format!("Error writing pidfile {pidfile:?}"), error))?;
    }
    let pidfile = flags.pidfile.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, serve(flags, Store::new(&state)));
    if let Some(pidfile) = pidfile {
        let _ = std::fs::remove_file(pidfile);
    }
    done
}

async fn serve(flags: Flags, store: Store) -> io::Result<()> {
    let mut stop = daemon::signals::stop()?;
    let listening = serve::Listening::open(&flags)?;
    let leases = Rc::new(Leases::new(flags, store));
    keep::resume(&leases)?;
    report::listen(&leases)?;
    serve::start(listening.listener()?, &leases);
    daemon::systemd::ready();
    daemon::systemd::watchdog(|| async { true });
    tracing::info!("{} leases are kept", leases.count());
    let _ = stop.recv().await;
    daemon::systemd::stopping();
    Ok(())
}

/// DEL where no daemon answers: gives the lease back without one, so that no pod waits for a daemon.
///
/// # Errors
/// `unanswered`, where a daemon runs and does not answer.
pub fn release_without(state: &Path, of: &Key, unanswered: Error) -> cni::Result<()> {
    let store = Store::new(state);
    let Some(record) = store.read(of) else { return Ok(()) };
    // A daemon that begins meanwhile would keep what is removed here.
    let lock = Lock::take_named(state, LOCK)
        .map_err(|error| Error::io("cannot lock the DHCP leases", &error))?;
    let Some(_lock) = lock else { return Err(unanswered) };
    log::warn(&format!("no DHCP daemon runs: {}", unanswered.details));
    if let Err(why) = give_back(&record, &Flags::default()) {
        log::warn(&format!(
            "{} is not released, its server keeps it until it ends: {why}",
            record.lease.address
        ));
    }
    store.remove(of).map_err(|error| {
        Error::new(code::IO, "cannot remove the DHCP lease").details(error.to_string())
    })
}
