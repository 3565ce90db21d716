//! The daemon's loop.

use crate::bgp::{Heard, Listeners, Speaker};
use crate::config::{self, Config};
use crate::query::Query;
use crate::source::Update;
use crate::sync::Sync;
use crate::{control, metrics, privileges, reload, source, systemd};
use net::Monitor;
use node::Lock;
use std::future::pending;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

/// How long events are gathered before they are acted on: a device that flaps is one pass.
const GATHER: Duration = Duration::from_millis(2);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another one does.
    #[error("another route-sync runs here: it holds {0}/route-sync.lock")]
    Running(String),
    /// Netlink.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// Netlink of nf_tables.
    #[error(transparent)]
    Nft(#[from] nft::Error),
    /// The operating system.
    #[error("{what}: {error}")]
    Io {
        /// What was attempted.
        what: String,
        /// The cause.
        error: io::Error,
    },
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::Io { what: what.to_owned(), error }
}

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there: traffic flows on.
///
/// # Errors
/// It cannot begin: another daemon runs, or the system refuses.
pub async fn run(config_path: &Path, config: Config) -> Result<(), Error> {
    let lock = Lock::take(&config.run_dir).map_err(io_error("take the lock"))?;
    let Some(_lock) = lock else {
        return Err(Error::Running(config.run_dir.display().to_string()));
    };
    // Heard before the first dump, so that nothing falls in between.
    #[expect(deprecated, reason = "the other constructor is unsafe; Monitor keeps its promise")]
    let monitor = AsyncFd::new(Monitor::open()?).map_err(io_error("watch netlink"))?;
    #[expect(deprecated, reason = "the other constructor is unsafe; Monitor keeps its promise")]
    let mut ruleset = AsyncFd::new(nft::Monitor::open()?).map_err(io_error("watch nf_tables"))?;
    let (queries, mut asked) = mpsc::channel(16);
    control::listen(&config.run_dir, queries.clone()).map_err(io_error("open the socket"))?;
    if let Some(address) = config.metrics {
        let what = format!("listen on {address}");
        metrics::listen(address, queries.clone()).map_err(io_error(&what))?;
    }
    let listen = config.bgp.iter().flat_map(|bgp| bgp.listen.clone()).collect::<Vec<_>>();
    let listeners = Listeners::open(&listen).map_err(io_error("listen for BGP"))?;
    let mut changed = reload::watch(config_path).map_err(io_error("watch the configuration"))?;
    let mut stop = reload::stop().map_err(io_error("wait for signals"))?;
    privileges::keep_net_admin(!listen.is_empty()).map_err(io_error("give up privileges"))?;
    let updates = source::start(&config);
    let sync = Sync::new(config.clone())?;
    let speaker = config.bgp.clone().map(|bgp| Speaker::new(bgp, listeners)).transpose()?;
    let shown = String::new();
    let mut daemon = Daemon { sync, speaker, config, monitor, updates, shown };
    info!(node = daemon.config.node_name, "running");
    systemd::ready();
    daemon.tell();
    systemd::watchdog(queries);
    let mut periodic = daemon.period();
    loop {
        let again = daemon.sync.next_try();
        tokio::select! {
            Some(()) = stop.recv() => break,
            Some(()) = changed.recv() => daemon.reload(config_path),
            Some(query) = asked.recv() => daemon.answer(query),
            update = daemon.updates.recv() => match update {
                Some(update) => daemon.told(update),
                None => {
                    error!("the source has ended");
                    break;
                }
            },
            ready = daemon.monitor.readable_mut() => {
                let mut ready = ready.map_err(io_error("watch netlink"))?;
                sleep(GATHER).await;
                let events = ready.get_inner_mut().read()?;
                if events.is_empty() {
                    ready.clear_ready();
                }
                daemon.speaker.iter_mut().for_each(|speaker| speaker.events(&events));
                daemon.sync.events(events);
            }
            heard = hear(&mut daemon.speaker) => {
                if let Some(speaker) = &mut daemon.speaker {
                    speaker.act(heard);
                }
            }
            ready = ruleset.readable_mut() => {
                let mut ready = ready.map_err(io_error("watch nf_tables"))?;
                sleep(GATHER).await;
                let changed = ready.get_inner_mut().read()?;
                ready.clear_ready();
                if changed {
                    daemon.sync.ruleset_changed();
                }
            }
            () = until(again.map(Instant::from_std)) => {}
            () = until(periodic) => {
                daemon.sync.pass("the interval is over");
                periodic = daemon.period();
            }
        }
        daemon.work();
        daemon.tell();
    }
    systemd::stopping();
    if let Some(speaker) = &mut daemon.speaker {
        speaker.stop().await;
    }
    info!("stopped; routes and tunnel stay");
    Ok(())
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

async fn hear(speaker: &mut Option<Speaker>) -> Option<Heard> {
    match speaker {
        Some(speaker) => speaker.hear().await,
        None => pending().await,
    }
}

struct Daemon {
    sync: Sync,
    speaker: Option<Speaker>,
    config: Config,
    monitor: AsyncFd<Monitor>,
    updates: mpsc::Receiver<Update>,
    /// What `systemctl status` shows.
    shown: String,
}

impl Daemon {
    fn period(&self) -> Option<Instant> {
        self.config.resync_interval.map(|interval| Instant::now() + interval)
    }

    fn told(&mut self, update: Update) {
        match update {
            Update::Set { set, kept } => self.sync.set(&set, kept),
            Update::Failed(error) => self.sync.source_failed(error),
        }
    }

    /// Does what there is to do; then again, as far as BGP's next hops depend on it.
    fn work(&mut self) {
        self.sync.work();
        let Some(speaker) = &mut self.speaker else { return };
        speaker.links(self.sync.facts());
        speaker.identify(self.sync.own());
        let changes = speaker.follow();
        self.sync.learn(changes, speaker.is_of_use(), speaker.is_complete());
        self.sync.work();
    }

    fn answer(&self, query: Query) {
        let speaker = self.speaker.as_ref();
        // Who does not wait any more needs no answer.
        match query {
            Query::Status(to) => {
                let mut report = self.sync.report();
                report.problems.extend(speaker.map(Speaker::problems).unwrap_or_default());
                drop(to.send(report));
            }
            Query::Bgp(to) => drop(to.send(speaker.map(Speaker::report))),
            Query::Figures(to) => {
                let mut figures = self.sync.figures();
                figures.problems += speaker.map_or(0, |speaker| speaker.problems().len()) as u64;
                figures.bgp = speaker.map(|speaker| speaker.report().peers).unwrap_or_default();
                drop(to.send(figures));
            }
        }
    }

    /// Begins, alters or ends the speaker as the configuration has it.
    fn speak(&mut self) {
        match (&mut self.speaker, self.config.bgp.clone()) {
            (Some(speaker), Some(bgp)) => speaker.reconfigure(bgp),
            (None, Some(bgp)) => {
                let listeners = Listeners::open(&bgp.listen).unwrap_or_else(|error| {
                    warn!("cannot listen on {error}; a restart may");
                    Listeners::default()
                });
                match Speaker::new(bgp, listeners) {
                    Ok(speaker) => self.speaker = Some(speaker),
                    Err(error) => warn!("{error}"),
                }
            }
            (Some(speaker), None) => {
                speaker.end_all("there is no [bgp] any more");
                self.speaker = None;
                self.sync.forget_learned();
            }
            (None, None) => {}
        }
    }

    /// Reads the configuration anew; one that is wrong changes nothing.
    fn reload(&mut self, path: &Path) {
        systemd::reloading();
        match config::read(path) {
            Ok(config) if config == self.config => {}
            Ok(mut config) => {
                if (&config.run_dir, config.metrics) != (&self.config.run_dir, self.config.metrics)
                {
                    warn!("run-dir and metrics need a restart; the rest is in force");
                    config.run_dir.clone_from(&self.config.run_dir);
                    config.metrics = self.config.metrics;
                }
                // What of a set is accepted depends on the node's name and the service ranges, and
                // the set as it was told is not held twice.
                let of_set = |config: &Config| {
                    let (name, services) = (&config.node_name, &config.service_cidrs);
                    (
                        name.clone(),
                        services.clone(),
                        config.source.clone(),
                        config.state_dir.clone(),
                    )
                };
                if of_set(&config) != of_set(&self.config) {
                    self.updates = source::start(&config);
                }
                info!("the configuration was read anew");
                self.config = config.clone();
                self.sync.reconfigure(config);
                self.speak();
            }
            Err(errors) => {
                for error in errors {
                    warn!("the configuration stands as it was: {error}");
                }
            }
        }
        systemd::ready();
    }

    /// Tells systemd.
    fn tell(&mut self) {
        let summary = self.sync.summary();
        if summary != self.shown {
            systemd::status(&summary);
            self.shown = summary;
        }
    }
}
