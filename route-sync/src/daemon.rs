//! The daemon's loop.

use crate::bgp::{NetworkEvent, Speaker};
use crate::config::{self, Config};
use crate::duties::{Duties, Order};
use crate::error::{Error, io_error};
use crate::node_object::NodeObject;
use crate::probe::{self, Prober};
use crate::query::Query;
use crate::source::Update;
use crate::sync::{Announced, Sync};
use crate::{control, metrics, source};
use daemon::privileges::{self, Capability};
use daemon::query::ask;
use daemon::{signals, systemd};
use net::Monitor;
use node::Lock;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

/// How long events are gathered before they are acted on: a device that flaps is one pass.
const GATHER: Duration = Duration::from_millis(2);

/// Readings of the kernel's notifications in one turn.
const READINGS: usize = 32;

/// Runs until SIGTERM or SIGINT. What is in the kernel stays there: traffic flows on.
///
/// # Errors
/// It cannot begin: another daemon runs, or the system refuses.
pub async fn run(config_path: &Path, config: Config) -> Result<(), Error> {
    let lock = Lock::take(&config.run_dir).map_err(io_error("take the lock"))?;
    let Some(lock) = lock else {
        return Err(Error::Running(config.run_dir.display().to_string()));
    };
    tokio::spawn(beat(lock));
    let (queries, asked) = mpsc::channel(16);
    let mut daemon = Daemon::begin(config_path, config, &queries, asked)?;
    info!(node = daemon.config.node_name, "running");
    systemd::ready();
    daemon.report_status();
    systemd::watchdog(move || {
        let queries = queries.clone();
        async move { ask(&queries, Query::Figures).await.is_some() }
    });
    while daemon.next_step().await? {
        daemon.work();
        daemon.report_status();
    }
    systemd::stopping();
    if let Some(speaker) = &mut daemon.speaker {
        speaker.stop().await;
    }
    info!("stopped; routes and tunnel stay");
    Ok(())
}

/// Holds the lock as long as the runtime lives, and touches it each minute.
async fn beat(lock: Lock) {
    loop {
        if let Err(error) = lock.beat() {
            debug!("cannot touch the lock: {error}");
        }
        sleep(node::keeper::BEAT).await;
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

async fn next_event(speaker: &mut Option<Speaker>) -> Option<NetworkEvent> {
    match speaker {
        Some(speaker) => speaker.next_event().await,
        None => pending().await,
    }
}

/// Capabilities that are kept beside CAP_NET_ADMIN.
fn needed(config: &Config) -> Vec<Capability> {
    let listens = config.bgp.as_ref().is_some_and(|bgp| !bgp.listen.is_empty());
    let bind = listens.then_some(Capability::CAP_NET_BIND_SERVICE);
    let raw = config.probe.as_ref().map(|_| Capability::CAP_NET_RAW);
    bind.into_iter().chain(raw).collect()
}

/// What is to be done for the container runtime.
fn order(config: &Config, sync: &Sync) -> Order {
    let (cni, state_dir) = (config.cni.clone(), config.state_dir.clone());
    // Without [cni] nothing depends on the node.
    let node = if cni.is_some() { sync.ready() } else { Err(String::new()) };
    Order { cni, state_dir, node }
}

struct Daemon {
    sync: Sync,
    speaker: Option<Speaker>,
    prober: Option<Prober>,
    /// `[cni]`.
    duties: Duties,
    node_object: Option<NodeObject>,
    queries: mpsc::Sender<Query>,
    config: Config,
    config_path: PathBuf,
    /// Links, addresses, routes and neighbours change.
    monitor: AsyncFd<Monitor>,
    /// nf_tables changes.
    ruleset: AsyncFd<nft::Monitor>,
    updates: mpsc::Receiver<Update>,
    asked: mpsc::Receiver<Query>,
    /// The configuration is to be read again.
    changed: mpsc::Receiver<()>,
    stop: mpsc::Receiver<()>,
    periodic: Option<Instant>,
    /// What `systemctl status` shows.
    shown: String,
}

impl Daemon {
    /// Opens everything that events and questions come from, and gives up privileges.
    fn begin(
        config_path: &Path,
        config: Config,
        queries: &mpsc::Sender<Query>,
        asked: mpsc::Receiver<Query>,
    ) -> Result<Daemon, Error> {
        // Opened before the first dump, so that no change is missed.
        #[expect(deprecated, reason = "the other constructor is unsafe; Monitor keeps its promise")]
        let monitor = AsyncFd::new(Monitor::open()?).map_err(io_error("watch netlink"))?;
        #[expect(deprecated, reason = "the other constructor is unsafe; Monitor keeps its promise")]
        let ruleset = AsyncFd::new(nft::Monitor::open()?).map_err(io_error("watch nf_tables"))?;
        control::listen(&config.run_dir, queries.clone()).map_err(io_error("open the socket"))?;
        if let Some(address) = config.metrics {
            let what = format!("listen on {address}");
            metrics::listen(address, queries.clone()).map_err(io_error(&what))?;
        }
        let changed = signals::reload(config_path).map_err(io_error("watch the configuration"))?;
        let stop = signals::stop().map_err(io_error("wait for signals"))?;
        privileges::keep_net_admin(control::NAME, &needed(&config))
            .map_err(io_error("give up privileges"))?;
        let updates = source::start(&config);
        let mut sync = Sync::new(config.clone())?;
        sync.receive_neighbours_by(monitor.get_ref().neighbour_filter()?);
        let speaker = config.bgp.clone().map(Speaker::new).transpose()?;
        let duties = Duties::start(order(&config, &sync));
        let mut daemon = Daemon {
            duties,
            node_object: NodeObject::of(&config, queries),
            queries: queries.clone(),
            sync,
            speaker,
            prober: config.probe.clone().map(Prober::new),
            config,
            config_path: config_path.to_owned(),
            monitor,
            ruleset,
            updates,
            asked,
            changed,
            stop,
            periodic: None,
            shown: String::new(),
        };
        daemon.periodic = daemon.period();
        Ok(daemon)
    }

    /// Waits for one event and handles it; false where the daemon must stop.
    async fn next_step(&mut self) -> Result<bool, Error> {
        // Tasks that read, write and answer run, however much waits here.
        yield_now().await;
        let again = self.sync.next_try();
        tokio::select! {
            Some(()) = self.stop.recv() => return Ok(false),
            Some(()) = self.changed.recv() => self.reload(),
            Some(query) = self.asked.recv() => self.answer(query),
            update = self.updates.recv() => match update {
                Some(update) => self.update(update),
                None => {
                    error!("the source has ended");
                    return Ok(false);
                }
            },
            ready = self.monitor.readable_mut() => {
                let mut ready = ready.map_err(io_error("watch netlink"))?;
                sleep(GATHER).await;
                let events = ready.get_inner_mut().read()?;
                if events.is_empty() {
                    ready.clear_ready();
                }
                self.speaker.iter_mut().for_each(|speaker| speaker.events(&events));
                self.sync.events(events);
            }
            event = next_event(&mut self.speaker) => {
                self.read_notifications()?;
                if let Some(speaker) = &mut self.speaker {
                    speaker.act(event);
                }
            }
            event = probe::next_event(&mut self.prober) => {
                if let Some(prober) = &mut self.prober {
                    prober.act(event, &self.sync);
                }
            }
            ready = self.ruleset.readable_mut() => {
                let mut ready = ready.map_err(io_error("watch nf_tables"))?;
                sleep(GATHER).await;
                let changed = ready.get_inner_mut().read()?;
                ready.clear_ready();
                if changed {
                    self.sync.ruleset_changed();
                }
            }
            () = until(again.map(Instant::from_std)) => {}
            () = until(self.periodic) => {
                self.sync.pass("the interval is over");
                self.periodic = self.period();
            }
        }
        Ok(true)
    }

    /// Reads the notifications of the daemon's own changes, so that many of them do not fill the socket.
    fn read_notifications(&mut self) -> Result<(), Error> {
        for _ in 0..READINGS {
            let events = self.monitor.get_mut().read()?;
            if events.is_empty() {
                break;
            }
            self.speaker.iter_mut().for_each(|speaker| speaker.events(&events));
            self.sync.events(events);
        }
        Ok(())
    }

    fn period(&self) -> Option<Instant> {
        self.config.resync_interval.map(|interval| Instant::now() + interval)
    }

    fn update(&mut self, update: Update) {
        match update {
            Update::Set { set, kept } => self.sync.set(&set, kept),
            Update::Failed(error) => self.sync.source_failed(error),
        }
    }

    /// Does the pending work; then again, as far as BGP's next hops depend on it.
    fn work(&mut self) {
        self.sync.work();
        self.learn();
        // A full pass for BGP may have found other links.
        if self.speaker.as_ref().is_some_and(|speaker| !speaker.knows(self.sync.facts())) {
            self.learn();
        }
        self.duties.order(order(&self.config, &self.sync));
    }

    /// Carries out what BGP peers announce.
    fn learn(&mut self) {
        let Some(speaker) = &mut self.speaker else { return };
        speaker.links(self.sync.facts());
        speaker.identify(self.sync.own());
        let changes = speaker.follow();
        self.sync.learn(Announced {
            changes,
            has_routes: speaker.has_routes(),
            complete: speaker.is_complete(),
            refuses: speaker.refuses(),
        });
        self.sync.work();
    }

    fn answer(&self, query: Query) {
        let speaker = self.speaker.as_ref();
        // An answer that no client waits for any more is dropped.
        match query {
            Query::Status(to) => {
                let mut report = self.sync.report();
                report.problems.extend(speaker.map(Speaker::problems).unwrap_or_default());
                if let Some(prober) = &self.prober {
                    report.problems.extend(prober.problems(&self.sync));
                    report.remarks.extend(prober.remark());
                    report.probe = Some(prober.report(&self.sync));
                }
                let outcome = self.duties.outcome();
                report.problems.extend(outcome.problems);
                report.problems.extend(self.node_object.iter().flat_map(NodeObject::problems));
                report.remarks.extend(outcome.remarks);
                report.conflist = outcome.conflist;
                drop(to.send(report));
            }
            Query::Alive(to) => drop(to.send(())),
            Query::Bgp(to) => drop(to.send(speaker.map(Speaker::report))),
            Query::Figures(to) => {
                let mut figures = self.sync.figures();
                figures.problems += speaker.map_or(0, |speaker| speaker.problems().len()) as u64;
                if let Some(prober) = &self.prober {
                    figures.problems += prober.problems(&self.sync).len() as u64;
                    figures.probe = Some(prober.report(&self.sync));
                }
                let outcome = self.duties.outcome();
                let of_object = self.node_object.iter().flat_map(NodeObject::problems).count();
                figures.problems += (outcome.problems.len() + of_object) as u64;
                let waits = outcome.conflist.and_then(|conflist| conflist.waits);
                figures.not_ready = figures.not_ready.or(waits);
                figures.bgp = speaker.map(Speaker::peer_reports).unwrap_or_default();
                drop(to.send(figures));
            }
        }
    }

    /// Begins, alters or ends the speaker as the configuration has it.
    fn speak(&mut self) {
        match (&mut self.speaker, self.config.bgp.clone()) {
            (Some(speaker), Some(bgp)) => speaker.reconfigure(bgp),
            (None, Some(bgp)) => match Speaker::new(bgp) {
                Ok(speaker) => self.speaker = Some(speaker),
                Err(error) => warn!("{error}"),
            },
            (Some(speaker), None) => {
                speaker.end_all("there is no [bgp] any more");
                self.speaker = None;
                self.sync.forget_learned();
            }
            (None, None) => {}
        }
    }

    /// Begins, alters or ends the probe as the configuration has it.
    fn probe(&mut self) {
        match (&mut self.prober, self.config.probe.clone()) {
            (Some(prober), Some(probe)) => prober.reconfigure(probe),
            (_, probe) => self.prober = probe.map(Prober::new),
        }
    }

    /// Reads the configuration again; one that is wrong changes nothing.
    fn reload(&mut self) {
        systemd::reloading();
        match config::read(&self.config_path) {
            Ok(config) if config == self.config => {}
            Ok(mut config) => {
                if (&config.run_dir, config.metrics) != (&self.config.run_dir, self.config.metrics)
                {
                    warn!("run-dir and metrics need a restart; the rest is in force");
                    config.run_dir.clone_from(&self.config.run_dir);
                    config.metrics = self.config.metrics;
                }
                // What of a set is accepted depends on the node's name and the cluster's and service ranges, and
                // the set as the source gave it is not kept.
                let of_set = |config: &Config| {
                    let (name, services) = (&config.node_name, &config.service_cidrs);
                    (
                        name.clone(),
                        config.cluster_cidrs.clone(),
                        services.clone(),
                        config.source.clone(),
                        config.state_dir.clone(),
                    )
                };
                if of_set(&config) != of_set(&self.config) {
                    self.updates = source::start(&config);
                    self.node_object = NodeObject::of(&config, &self.queries);
                }
                info!("the configuration was read anew");
                self.config = config.clone();
                self.periodic = self.period();
                self.sync.reconfigure(config);
                self.speak();
                self.probe();
            }
            Err(errors) => {
                for error in errors {
                    warn!("the configuration stands as it was: {error}");
                }
            }
        }
        systemd::ready();
    }

    /// Reports the status to systemd, where it changed.
    fn report_status(&mut self) {
        let summary = self.sync.summary();
        if summary != self.shown {
            systemd::status(&summary);
            self.shown = summary;
        }
    }
}
