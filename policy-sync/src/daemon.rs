//! The daemon's loop.

use crate::config::{self, Config};
use crate::error::{Error, io_error};
use crate::kernel::Watch;
use crate::query::Query;
use crate::source::{self, Update};
use crate::sync::Sync;
use crate::{control, metrics};
use daemon::query::ask;
use daemon::{privileges, signals, systemd};
use node::Lock;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::{info, warn};

/// Runs until SIGTERM or SIGINT. What is in the kernel stays in force.
///
/// # Errors
/// It cannot begin: another daemon runs, or the system refuses.
pub async fn run(config_path: &Path, config: Config) -> Result<(), Error> {
    let lock = Lock::take_named(&config.run_dir, control::LOCK);
    let Some(_lock) = lock.map_err(io_error("take the lock"))? else {
        return Err(Error::Running(config.run_dir.display().to_string()));
    };
    let (queries, asked) = mpsc::channel(16);
    let mut daemon = Daemon::begin(config_path, config, &queries, asked)?;
    info!(node = daemon.config.node_name, source = %daemon.config.source, "running");
    systemd::ready();
    daemon.report_status();
    systemd::watchdog(move || {
        let queries = queries.clone();
        async move { ask(&queries, Query::Alive).await.is_some() }
    });
    while daemon.next_step().await? {
        daemon.sync.work();
        daemon.report_status();
    }
    systemd::stopping();
    info!("stopped; policies stay in force");
    Ok(())
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}

struct Daemon {
    sync: Sync,
    config: Config,
    config_path: PathBuf,
    /// nf_tables changes.
    watch: Watch,
    updates: mpsc::Receiver<Update>,
    asked: mpsc::Receiver<Query>,
    /// The configuration is to be read again.
    changed: mpsc::Receiver<()>,
    stop: mpsc::Receiver<()>,
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
        control::listen(&config.run_dir, queries.clone()).map_err(io_error("open the socket"))?;
        if let Some(address) = config.metrics {
            let what = format!("listen on {address}");
            metrics::listen(address, queries.clone()).map_err(io_error(&what))?;
        }
        let changed = signals::reload(config_path).map_err(io_error("watch the configuration"))?;
        let stop = signals::stop().map_err(io_error("wait for signals"))?;
        privileges::keep_net_admin(control::NAME, &[]).map_err(io_error("give up privileges"))?;
        let sync = Sync::begin(config.clone())?;
        // Opened before the first pass, so that no change is missed.
        let watch = sync.watch()?;
        let updates = source::start(&config);
        let config_path = config_path.to_owned();
        let shown = String::new();
        Ok(Daemon { sync, config, config_path, watch, updates, asked, changed, stop, shown })
    }

    /// Waits for one event and handles it; false where the daemon must stop.
    async fn next_step(&mut self) -> Result<bool, Error> {
        let again = self.sync.next_try();
        tokio::select! {
            Some(()) = self.stop.recv() => return Ok(false),
            Some(()) = self.changed.recv() => self.reload(),
            Some(query) = self.asked.recv() => self.answer(query),
            update = self.updates.recv() => match update {
                Some(update) => {
                    self.sync.update(update);
                    // What came at the same time is one pass.
                    while let Ok(update) = self.updates.try_recv() {
                        self.sync.update(update);
                    }
                }
                None => {
                    warn!("the source has ended");
                    return Ok(false);
                }
            },
            changed = self.watch.changed() => {
                changed.map_err(io_error("watch nf_tables"))?;
                self.sync.kernel_changed();
            }
            () = until(again) => {}
        }
        Ok(true)
    }

    fn answer(&mut self, query: Query) {
        // An answer that no client waits for any more is dropped.
        match query {
            Query::Status(to) => drop(to.send(self.sync.report())),
            Query::Drops(to) => drop(to.send(self.sync.drops())),
            Query::Why(source, destination, to) => {
                drop(to.send(self.sync.why(&source, &destination)));
            }
            Query::Alive(to) => drop(to.send(())),
            Query::Figures(to) => drop(to.send(self.sync.figures())),
        }
    }

    /// Reads the configuration again; one that is wrong changes nothing.
    fn reload(&mut self) {
        systemd::reloading();
        match config::read(&self.config_path) {
            Ok(config) if config == self.config => {}
            Ok(new) => {
                let Config { strict, add_wait, .. } = new;
                let config = Config { strict, add_wait, ..self.config.clone() };
                if config != new {
                    warn!(
                        "node-name, run-dir, [source] and [metrics] need a restart; the rest is in force"
                    );
                }
                self.config = config.clone();
                self.sync.reconfigure(config);
                info!("the configuration was read anew");
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
