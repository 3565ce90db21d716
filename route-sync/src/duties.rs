//! What the container runtime finds on this node (`[cni]`): the plugins' executables, and, once the
//! node's pod CIDRs are known and its routes are made, the network's conflist.

pub mod conflist;
pub mod executables;
mod manifest;
mod merge;
mod others;
pub mod template;
mod version;

use crate::config::cni::Cni;
use crate::problems::Problems;
use crate::report::{ConflistReport, Problem};
use daemon::background;
use daemon::watch::Watch;
use executables::{Executables, Installed};
use node::files;
use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use template::{LIMIT, List, Template, Values};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

/// Problems, as `status` names them.
const CONFLIST: &str = "conflist";
const EXECUTABLES: &str = "executables";
const OTHERS: &str = "other networks";
/// Between what other programs do in the folders and a look at them.
const GATHER: Duration = Duration::from_millis(200);
/// Between two looks at folders that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// `[cni]`.
    pub cni: Option<Cni>,
    /// `state-dir`.
    pub state_dir: PathBuf,
    /// This node, once its routes are made; before, why they are not.
    pub node: Result<Values, String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What fails.
    pub problems: Vec<Problem>,
    /// What `status` remarks.
    pub remarks: Vec<String>,
    /// The conflist; `None` without `[cni]`.
    pub conflist: Option<ConflistReport>,
}

/// The task that does it.
#[derive(Debug)]
pub struct Duties {
    orders: watch::Sender<Order>,
    outcomes: watch::Receiver<Outcome>,
}

impl Duties {
    /// Starts on the current runtime; it ends when this is dropped.
    pub fn start(order: Order) -> Duties {
        let waits = order.cni.as_ref().map(|cni| ConflistReport {
            path: cni.conflist().display().to_string(),
            waits: Some("the daemon has just started".to_owned()),
        });
        let (outcomes, received) =
            watch::channel(Outcome { conflist: waits, ..Outcome::default() });
        let (orders, given) = watch::channel(order);
        tokio::spawn(run(given, outcomes));
        Duties { orders, outcomes: received }
    }

    /// Another order, if it is another.
    pub fn order(&self, order: Order) {
        self.orders.send_if_modified(|known| {
            let changed = *known != order;
            *known = order;
            changed
        });
    }

    /// What came of the last one.
    pub fn outcome(&self) -> Outcome {
        self.outcomes.borrow().clone()
    }
}

async fn run(mut orders: watch::Receiver<Order>, outcomes: watch::Sender<Outcome>) {
    let mut state = State::default();
    loop {
        let order = orders.borrow_and_update().clone();
        // Before the look, so that no change is missed.
        let watches = Watches::of(order.cni.as_ref());
        let done = background::run(move || {
            let outcome = state.round(&order);
            (state, outcome)
        });
        // Without a result only where the thread panicked.
        let (again, outcome) = done.await.unwrap_or_default();
        state = again;
        outcomes.send_replace(outcome);
        tokio::select! {
            ordered = orders.changed() => if ordered.is_err() {
                return;
            },
            () = watches.changed() => {}
            () = until(state.problems.next_try()) => {}
        }
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// The template, the conflist's folder, that of the executables.
struct Watches(Vec<io::Result<Watch>>);

impl Watches {
    fn of(cni: Option<&Cni>) -> Watches {
        let Some(cni) = cni else { return Watches(vec![]) };
        let bin_dir = cni.executables.as_ref().map(|_| Watch::entries(&cni.bin_dir));
        let both = [Watch::new(&cni.template), Watch::entries(&cni.conf_dir)];
        Watches(both.into_iter().chain(bin_dir).collect())
    }

    async fn changed(self) {
        if self.0.is_empty() {
            return pending().await;
        }
        let (sender, mut changed) = tokio::sync::mpsc::channel(1);
        let mut tasks = tokio::task::JoinSet::new();
        for watch in self.0 {
            let sender = sender.clone();
            tasks.spawn(async move {
                let done = match watch {
                    Ok(mut watch) => watch.changed().await,
                    Err(error) => Err(error),
                };
                match done {
                    Ok(()) => sleep(GATHER).await,
                    Err(error) => {
                        tracing::debug!("cannot watch the folders of [cni]: {error}");
                        sleep(UNWATCHED).await;
                    }
                }
                let _ = sender.send(()).await;
            });
        }
        changed.recv().await;
    }
}

#[derive(Debug, Default)]
struct State {
    problems: Problems,
    executables: Executables,
    /// What a conflist of this run was written for.
    written: Option<Cni>,
}

impl State {
    fn round(&mut self, order: &Order) -> Outcome {
        let Some(cni) = &order.cni else {
            *self = State::default();
            return Outcome::default();
        };
        conflist::tidy(cni);
        let Installed { problems, mut remarks, missing } = self.executables.install(cni);
        self.note(EXECUTABLES, first_of(problems));
        let waits = match self.conflist(cni, order, &missing) {
            Ok(of_conflist) => {
                remarks.extend(of_conflist);
                self.written = Some(cni.clone());
                None
            }
            Err(why) => (self.written.as_ref() != Some(cni)).then_some(why),
        };
        match others::look(cni) {
            Ok(found) => {
                remarks.extend(found.remark);
                self.note(OTHERS, found.problem);
            }
            Err(error) => {
                let what = format!("cannot read {}: {error}", cni.conf_dir.display());
                self.note(OTHERS, Some(what));
            }
        }
        self.problems.postpone();
        let path = cni.conflist().display().to_string();
        let problems = self.problems.all().collect();
        Outcome { problems, remarks, conflist: Some(ConflistReport { path, waits }) }
    }

    /// Writes the conflist if it is time for it, and gives what is to be remarked of it.
    fn conflist(
        &mut self,
        cni: &Cni,
        order: &Order,
        missing: &BTreeSet<String>,
    ) -> Result<Vec<String>, String> {
        let template = read(&cni.template);
        let written = template.and_then(|template| {
            let Ok(values) = &order.node else { return Ok(None) };
            if let Some(kind) = template.types().into_iter().find(|kind| missing.contains(*kind)) {
                return Err(format!(
                    "{}/{kind} is missing, which the conflist needs: the problem of the \
                     executables says why",
                    cni.bin_dir.display()
                ));
            }
            conflist::write(cni, &order.state_dir, &template.render(values)).map(Some)
        });
        match (written, &order.node) {
            (Err(why), _) => {
                self.note(CONFLIST, Some(why.clone()));
                Err(why)
            }
            (Ok(Some(written)), _) => {
                self.note(CONFLIST, None);
                if written.changed {
                    tracing::info!("wrote {}", cni.conflist().display());
                }
                Ok(written.remarks)
            }
            (Ok(None), node) => {
                self.note(CONFLIST, None);
                Err(node.as_ref().err().cloned().unwrap_or_default())
            }
        }
    }

    fn note(&mut self, what: &str, problem: Option<String>) {
        match problem {
            Some(problem) => self.problems.add(what, &problem),
            None => self.problems.solved(what),
        }
    }
}

/// The first of several, and how many more there are.
fn first_of(problems: Vec<String>) -> Option<String> {
    let more = problems.len().saturating_sub(1);
    let first = problems.into_iter().next()?;
    Some(if more == 0 { first } else { format!("{first}; {more} more could not be installed") })
}

/// Reads the template.
fn read(path: &Path) -> Result<Template, String> {
    let text = files::text(path, LIMIT).map_err(|error| {
        format!("cannot read the template {}: {error}; see template under [cni]", path.display())
    })?;
    Template::parse(&text).map_err(|faults| {
        let faults = faults.join("; ");
        format!("the template {} is invalid: {faults}; the conflist stays as it is", path.display())
    })
}

/// The template as it is, where it can be read: what is the network's, without this node's values.
pub fn network(cni: &Cni) -> Option<List> {
    let text = files::text(&cni.template, LIMIT).ok()?;
    template::list(&text).ok()
}

#[cfg(test)]
mod tests;
