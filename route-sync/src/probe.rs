//! `[probe]`: whether other nodes' pod networks answer where the nodes themselves do. Networks that
//! drop packets from pods' addresses report it to no daemon.

mod memory;
mod round;
mod targets;

use crate::clock::now;
use crate::config::Probe;
use crate::report::{Path, ProbeReport, Problem};
use crate::source::nodes::Node;
use crate::sync::Sync;
use memory::{Memory, News};
use round::Answer;
use std::future::pending;
use std::time::Duration;
use targets::{Target, Unasked};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// What of a round's news is logged one by one.
const LOGGED: usize = 20;

const WAITS: &str = "the probe asks no node: this node has no address of its pod CIDRs yet; the \
                     first pod on a bridge with isGateway brings one";

/// What [`Prober::next_event`] waits for.
#[derive(Debug)]
pub enum ProbeEvent {
    /// It is time for a round.
    Due,
    /// A round is over.
    Answers(Vec<Answer>),
}

/// Asks some nodes in each round.
#[derive(Debug)]
pub struct Prober {
    config: Probe,
    due: Instant,
    round: Option<JoinHandle<Vec<Answer>>>,
    memory: Memory,
    /// Why the last round could not ask a node.
    unsent: Option<(String, u64)>,
    /// The last round asked no node, since this one has no address to ask from.
    waits: bool,
}

impl Prober {
    /// The first round is an interval from now: tunnels and routes come first.
    pub fn new(config: Probe) -> Prober {
        let due = Instant::now() + config.interval;
        Prober { config, due, round: None, memory: Memory::default(), unsent: None, waits: false }
    }

    /// Another configuration; what is known stays.
    pub fn reconfigure(&mut self, config: Probe) {
        if config != self.config {
            self.due = Instant::now() + config.interval;
            self.config = config;
        }
    }

    /// Waits for the next thing to do. Nothing is lost when it is not waited for to the end.
    pub async fn next_event(&mut self) -> ProbeEvent {
        match &mut self.round {
            Some(round) => {
                let answers = round.await;
                self.round = None;
                // One that ended without a result asked no node.
                ProbeEvent::Answers(answers.unwrap_or_default())
            }
            None => {
                sleep_until(self.due).await;
                ProbeEvent::Due
            }
        }
    }

    /// Acts on an event.
    pub fn act(&mut self, event: ProbeEvent, sync: &Sync) {
        match event {
            ProbeEvent::Due => self.begin(sync),
            ProbeEvent::Answers(answers) => self.end(&answers),
        }
    }

    fn begin(&mut self, sync: &Sync) {
        self.due = Instant::now() + self.config.interval;
        self.memory.keep(|target| targets::of_name(sync, &target.node).contains(target));
        let mut waits = false;
        let targets = |node: &Node| {
            let (targets, without) = targets::of_node(sync, node);
            waits |= without == Some(Unasked::NoSource);
            targets
        };
        let asked = self.memory.next(&sync.view().nodes.others, self.config.peers, targets);
        let waits = waits && asked.is_empty();
        if waits && !self.waits {
            info!("{WAITS}");
        }
        self.waits = waits;
        let patience = self.config.interval.min(round::PATIENCE);
        self.round = Some(tokio::spawn(round::ask(asked, patience)));
    }

    fn end(&mut self, answers: &[Answer]) {
        let unsent = answers.iter().find_map(|answer| answer.unsent.clone());
        let since = |before: &(String, u64)| Some(before.1);
        match &unsent {
            Some(error) if self.unsent.as_ref().is_none_or(|(before, _)| before != error) => {
                warn!("probe: {error}");
            }
            _ => {}
        }
        let since = self.unsent.as_ref().and_then(since).unwrap_or_else(now);
        self.unsent = unsent.map(|error| (error, since));
        let news = self.memory.take(answers, now());
        for news in news.iter().take(LOGGED) {
            match news {
                News::Silent(target) => warn!("{}: {}", what(target), text(target)),
                News::Answers(target) => info!("{}: well again", what(target)),
            }
        }
        if news.len() > LOGGED {
            info!("the probe found {} more: see `route-sync status`", news.len() - LOGGED);
        }
    }

    /// What is wrong. Results for a path that packets no longer take are left out.
    pub fn problems(&self, sync: &Sync) -> Vec<Problem> {
        let unsent = self.unsent.iter().map(|(error, since)| Problem {
            what: "probe".to_owned(),
            error: error.clone(),
            since: *since,
        });
        let silent = self.silent(sync).map(|(target, since)| Problem {
            what: what(target),
            error: text(target),
            since,
        });
        unsent.chain(silent).collect()
    }

    fn silent<'a>(&'a self, sync: &'a Sync) -> impl Iterator<Item = (&'a Target, u64)> {
        self.memory
            .silent()
            .filter(|(target, _)| targets::of_name(sync, &target.node).contains(target))
    }

    /// Why no node is asked.
    pub fn remark(&self) -> Option<String> {
        self.waits.then(|| WAITS.to_owned())
    }

    /// For `status` and metrics.
    pub fn report(&self, sync: &Sync) -> ProbeReport {
        let seconds = |duration: Duration| duration.as_secs();
        ProbeReport {
            interval: seconds(self.config.interval),
            peers: self.config.peers,
            rounds: self.memory.rounds(),
            answered: self.memory.answered(),
            silent: self.silent(sync).count(),
            waits: self.waits,
        }
    }
}

/// As [`Prober::next_event`], for ever where there is none.
pub async fn next_event(prober: &mut Option<Prober>) -> ProbeEvent {
    match prober {
        Some(prober) => prober.next_event().await,
        None => pending().await,
    }
}

fn what(target: &Target) -> String {
    let family = if target.v4 { "IPv4" } else { "IPv6" };
    format!("pods of node {}, {family}", target.node)
}

fn text(target: &Target) -> String {
    let Target { of_node, of_pods, port, .. } = target;
    let (from, to) = (of_pods.from, of_pods.to);
    if target.path == Path::Vxlan {
        return format!(
            "node {} answers and its pod network does not: an echo request from {from} to {to} \
             through the tunnel is not answered. See that route-sync runs there, and that no \
             firewall drops UDP port {port} between {} and {}",
            target.node, of_node.from, of_node.to
        );
    }
    format!(
        "node {} answers and its pod network does not: an echo request from {from} to {to} is not \
         answered, and one from {} to {} is. Something between drops packets from addresses of \
         pods, as many clouds do: set mode = \"vxlan\" on every node, or let pods' addresses \
         through",
        target.node, of_node.from, of_node.to
    )
}
