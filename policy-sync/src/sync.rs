//! From updates of the source to the kernel: what the daemon's loop does, apart from waiting.

use crate::config::{Config, Source};
use crate::evaluate::Flow;
use crate::explain::explain;
use crate::follow::Follower;
use crate::kernel::{Error, Kernel, Watch};
use crate::model::{Direction, Policy};
use crate::query::Figures;
use crate::question::{self, Answer};
use crate::report::{DropReport, PodReport, Report};
use crate::source::Update;
use crate::state::State;
use nft::policy::{Desired, Dropped, Members};
use node::Policy as Guard;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// The pauses after a pass that the kernel refused.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Everything that the loop works on.
pub struct Sync {
    config: Config,
    state: State,
    follower: Follower,
    kernel: Kernel,
    /// What policy.json says.
    guard: Guard,
    figures: Figures,
    /// The kernel's state, or the objects, may be others than at the last pass.
    due: bool,
    /// When to try again after the kernel has refused, and the pause before that.
    again: Option<(Instant, Duration)>,
    refusal: Option<String>,
    /// What the last pass could not do beside the policies.
    remarks: Vec<String>,
    told: BTreeSet<String>,
}

impl Sync {
    /// Opens the kernel's side. New pods are held from now on.
    ///
    /// # Errors
    /// The kernel refuses, or policy.json cannot be written.
    pub fn begin(config: Config) -> Result<Sync, crate::error::Error> {
        let wait_ms = u64::try_from(config.add_wait.as_millis()).unwrap_or(u64::MAX);
        let known = Guard::read(&config.run_dir).ok().flatten();
        let namespaces = known.and_then(|guard| guard.namespaces);
        let guard = Guard { version: Guard::VERSION, wait_ms, namespaces };
        let kernel = Kernel::open()?;
        let written = guard.write(&config.run_dir);
        written.map_err(|error| crate::error::Error::Io {
            what: "write policy.json".to_owned(),
            error: std::io::Error::other(error),
        })?;
        Ok(Sync {
            state: State::new(&config.node_name),
            config,
            follower: Follower::default(),
            kernel,
            guard,
            figures: Figures::default(),
            due: false,
            again: None,
            refusal: None,
            remarks: Vec::new(),
            told: BTreeSet::new(),
        })
    }

    /// What tells of other programs' changes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn watch(&self) -> Result<Watch, Error> {
        self.kernel.watch()
    }

    /// The configuration is another one; node, run directory, source and metrics are as they were.
    pub fn reconfigure(&mut self, config: Config) {
        self.guard.wait_ms = u64::try_from(config.add_wait.as_millis()).unwrap_or(u64::MAX);
        self.config = config;
        self.write_guard(self.guard.clone());
        self.due = true;
    }

    /// The source has something new.
    pub fn update(&mut self, update: Update) {
        self.follower.update(update, &mut self.state);
        self.due = true;
        self.tell();
    }

    /// Another program has changed what is in the kernel, or a pod was held.
    pub fn kernel_changed(&mut self) {
        self.due = true;
    }

    /// When a pass is to be tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.again.map(|(at, _)| at)
    }

    /// Makes the kernel hold what is desired, where that is due.
    pub fn work(&mut self) {
        let again = self.again.is_some_and(|(at, _)| at <= Instant::now());
        if !(self.due || again) || !self.follower.missing().is_empty() {
            return;
        }
        self.due = false;
        let begin = Instant::now();
        let wanted = self.wanted_guard();
        // A pod that comes now may be selected by a policy of either.
        self.write_guard(united(&self.guard, &wanted));
        let desired = self.state.desired();
        match self.kernel.apply(&desired, self.config.strict) {
            Ok(report) => {
                self.write_guard(wanted);
                self.applied(&desired, &report, begin);
            }
            Err(error) => self.refused(&error),
        }
        self.tell();
    }

    fn applied(&mut self, desired: &Desired, report: &crate::kernel::Report, begin: Instant) {
        let took = begin.elapsed();
        if !self.figures.synced {
            info!(pods = desired.pods.len(), "policies are in force");
        }
        let figures = &mut self.figures;
        figures.synced = true;
        figures.passes += 1;
        figures.pass_seconds = took.as_secs_f64();
        figures.changes += report.changed as u64;
        figures.repairs += u64::from(report.repaired);
        figures.cut += report.cut as u64;
        figures.held = report.held;
        if report.repaired {
            warn!(
                "another program had changed what policy-sync keeps in nf_tables; it is repaired"
            );
        }
        debug!(changed = report.changed, cut = report.cut, held = report.held, ?took, "pass");
        self.remarks.clone_from(&report.problems);
        self.refusal = None;
        self.again = None;
    }

    fn refused(&mut self, error: &Error) {
        self.figures.errors += 1;
        let [first, longest] = RETRY;
        let pause = self.again.map_or(first, |(_, pause)| (pause * 2).min(longest));
        self.again = Some((Instant::now() + pause, pause));
        self.refusal = Some(format!("the kernel does not take the policies: {error}"));
    }

    /// The pods that ADD must hold.
    fn wanted_guard(&self) -> Guard {
        let guarded = self.state.guarded();
        let namespaces = match self.config.source {
            // The runtime names no namespaces: any container may be selected once there is a policy.
            Source::Files { .. } => guarded.filter(BTreeSet::is_empty),
            Source::Kubernetes { .. } => guarded,
        };
        Guard { namespaces, ..self.guard.clone() }
    }

    fn write_guard(&mut self, guard: Guard) {
        if guard == self.guard && Guard::path(&self.config.run_dir).exists() {
            return;
        }
        match guard.write(&self.config.run_dir) {
            Ok(()) => self.guard = guard,
            Err(error) => warn!("{error}; pods are held as before"),
        }
    }

    /// Logs each problem once, and that it has gone.
    fn tell(&mut self) {
        let problems: BTreeSet<String> = self.problems().into_iter().collect();
        problems.difference(&self.told).for_each(|it| warn!("{it}"));
        self.told.difference(&problems).for_each(|it| info!("no more: {it}"));
        self.told = problems;
    }

    fn problems(&self) -> Vec<String> {
        let own = self.refusal.iter().chain(&self.remarks).cloned();
        own.chain(self.follower.problems()).collect()
    }

    /// One line for `systemctl status`.
    pub fn summary(&self) -> String {
        let missing = self.follower.missing();
        if !missing.is_empty() {
            return format!("waiting for {}", missing.join(", "));
        }
        let [_, policies, local] = self.state.counts();
        let problems = match self.problems().len() {
            0 => String::new(),
            count => format!(", {count} problems"),
        };
        format!("{policies} policies, {local} pods here{problems}")
    }

    /// The figures; what was dropped is asked of the kernel.
    pub fn figures(&mut self) -> Figures {
        let desired = self.state.desired();
        let mut figures = self.figures.clone();
        figures.counts = self.state.counts();
        let restricted = |pod: &&nft::policy::Pod| pod.ingress.is_some() || pod.egress.is_some();
        figures.restricted = desired.pods.values().filter(restricted).count();
        figures.objects = objects(&desired);
        figures.problems = self.problems().len();
        (figures.sets, figures.source_failures) = self.follower.counts();
        for dropped in self.kernel.drops().unwrap_or_default() {
            let [enforced, tried] = &mut figures.dropped;
            *(if dropped.trial { tried } else { enforced }) += dropped.packets;
        }
        figures
    }

    /// The state, for `status`.
    pub fn report(&mut self) -> Report {
        let desired = self.state.desired();
        let missing = self.follower.missing().into_iter().map(str::to_owned).collect();
        let [pods, policies, _] = self.state.counts();
        let all = self.state.policies();
        let local = self.state.pods().filter(|pod| self.state.is_local(&pod.name));
        let mut local: Vec<PodReport> = local
            .map(|pod| {
                let of = |direction| -> Vec<String> {
                    let selects = |it: &&&Policy| {
                        let concerned = it.rules(direction).is_some();
                        concerned && crate::explain::selects(&self.state, &it.subject, pod)
                    };
                    all.iter().filter(selects).map(|it| it.name.to_string()).collect()
                };
                let addresses = self.state.addresses_of(&pod.name);
                PodReport {
                    name: pod.name.to_string(),
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                    ingress: of(Direction::Ingress),
                    egress: of(Direction::Egress),
                }
            })
            .collect();
        local.sort_by(|a, b| a.name.cmp(&b.name));
        Report {
            node: self.config.node_name.clone(),
            source: self.config.source.to_string(),
            synced: self.figures.synced && self.refusal.is_none(),
            missing,
            strict: self.config.strict,
            pods,
            policies,
            local,
            held: self.figures.held,
            objects: objects(&desired),
            problems: self.problems(),
        }
    }

    /// Why a flow passes or not.
    ///
    /// # Errors
    /// In words: an end is unknown, or not everything has come yet.
    pub fn why(&self, source: &str, destination: &str) -> Result<Answer, String> {
        let missing = self.follower.missing();
        if !missing.is_empty() {
            let what = missing.join(", ");
            return Err(format!("these have not come yet: {what}; see policy-sync status"));
        }
        question::answer(&self.state, source, destination)
    }

    /// What was dropped in the last ten minutes, most packets first.
    ///
    /// # Errors
    /// The kernel's, in words.
    pub fn drops(&mut self) -> Result<Vec<DropReport>, String> {
        let dropped = self.kernel.drops().map_err(|error| error.to_string())?;
        let mut drops: Vec<DropReport> = dropped.iter().map(|it| self.drop_report(it)).collect();
        drops.sort_by(|a, b| (b.packets, &a.source).cmp(&(a.packets, &b.source)));
        Ok(drops)
    }

    fn drop_report(&self, dropped: &Dropped) -> DropReport {
        let Dropped { source, destination, protocol, port, packets, trial } = *dropped;
        let it = explain(&self.state, &Flow { source, destination, protocol, port });
        let deciding = |passes: bool, would: bool| if trial { would } else { !passes };
        let reason = if deciding(it.egress.passes, it.egress.would_drop) {
            format!("egress: {}", it.egress.reason)
        } else if deciding(it.ingress.passes, it.ingress.would_drop) {
            format!("ingress: {}", it.ingress.reason)
        } else {
            "the policies of now would let it pass".to_owned()
        };
        let (source, destination, what) = (it.source, it.destination, it.what);
        DropReport { source, destination, what, packets, reason, dry_run: trial }
    }
}

/// Profiles, sets and elements.
fn objects(desired: &Desired) -> [usize; 3] {
    let count = |members: &Arc<Members>| match &**members {
        Members::Peers(all) => all.len(),
        Members::PeerPorts(all) => all.len(),
        Members::Ports(all) => all.len(),
        Members::Networks(all) => all.len(),
        Members::NetworkPorts(all) => all.len(),
    };
    let elements = desired.sets.values().map(count).sum();
    [desired.profiles.len(), desired.sets.len(), elements]
}

/// What holds the pods that either does.
fn united(one: &Guard, other: &Guard) -> Guard {
    let namespaces = match (&one.namespaces, &other.namespaces) {
        (Some(one), Some(other)) => Some(one.union(other).cloned().collect()),
        _ => None,
    };
    Guard { namespaces, ..other.clone() }
}
