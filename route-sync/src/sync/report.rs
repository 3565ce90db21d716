//! What the daemon reports of itself.

use super::Sync;
use crate::clock::now;
use crate::config::Mode;
use crate::query::Figures;
use crate::report::{Entry, Path, Problem, Report};
use crate::routes::conditions::{failing_apart, state};
use crate::routes::desired::PathTo;
use ipnetwork::IpNetwork;
use std::borrow::Cow;
use std::net::IpAddr;

impl Sync {
    /// For `status`.
    pub fn report(&self) -> Report {
        let mut paths: Vec<Cow<'_, PathTo>> = self.view.desired.all_paths().collect();
        let key = |path: &PathTo| (path.path != Path::Local, path.cidr);
        paths.sort_by(|a, b| {
            let (own, other) = (key(a), key(b));
            own.0.cmp(&other.0).then_with(|| a.node.cmp(&b.node)).then_with(|| own.1.cmp(&other.1))
        });
        let entry = |path: Cow<'_, PathTo>| {
            let (state, error) = state(&self.view, &self.failures, &path);
            let since = self.conditions.since(&path);
            let (node, cidr) = (path.node.clone(), path.cidr);
            Entry { node, cidr, path: path.path, via: path.via, state, since, error }
        };
        let mut source = self.source.clone();
        source.name = self.view.config.source.to_string();
        let mode = match self.view.config.mode {
            Mode::Auto => "auto",
            Mode::Direct => "direct",
            Mode::Vxlan => "vxlan",
        };
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.view.config.node_name.clone(),
            mode: mode.to_owned(),
            synced: self.view.convergence.is_synced(),
            source,
            cidrs: paths.into_iter().map(entry).collect(),
            problems: self.all_problems(),
            remarks: self.masquerade_remark().into_iter().collect(),
            probe: None,
            conflist: None,
        }
    }

    /// Private addresses (RFC 1918, RFC 4193) that no NAT of the daemon's translates.
    fn masquerade_remark(&self) -> Option<String> {
        let private = |cidr: &&IpNetwork| match cidr.network() {
            IpAddr::V4(four) => four.is_private(),
            IpAddr::V6(six) => six.is_unique_local(),
        };
        let off = !self.view.config.masquerade.enabled && self.view.config.bgp.is_none();
        let cidr = self.view.desired.own.iter().find(private).filter(|_| off)?;
        Some(format!(
            "masquerade is off, and pods' addresses are private ({cidr}): they reach nothing outside of \
             the cluster, unless the network routes to them or the plugin has ipMasq; set \
             masquerade.enabled"
        ))
    }

    /// One line for the service manager. Its cost does not grow with the nodes.
    pub fn summary(&self) -> String {
        let (nodes, cidrs) = (self.source.nodes, self.conditions.count());
        let step = if self.view.convergence.is_synced() { "" } else { "not in step yet; " };
        let mut text = format!("{step}{nodes} nodes, {cidrs} CIDRs");
        let problems = self.view.desired.problems.len() + self.problems.count();
        for (count, what) in [(self.failures.len(), "failing"), (problems, "problems")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        if let Some(error) = &self.source.error {
            text += &format!("; the source fails: {error}");
        }
        text
    }

    pub(super) fn all_problems(&self) -> Vec<Problem> {
        let since = self.source.since.unwrap_or_else(now);
        let of_set = self.view.desired.problems.iter().map(|(what, error)| Problem {
            what: what.clone(),
            error: error.clone(),
            since,
        });
        let mut problems: Vec<Problem> = of_set
            .chain(self.problems.all())
            .chain(failing_apart(&self.view, &self.failures))
            .collect();
        problems.sort_by(|a, b| a.what.cmp(&b.what));
        problems
    }

    /// The figures.
    pub fn figures(&self) -> Figures {
        let desired = &self.view.desired;
        let counts = [desired.routes.len(), desired.neighbours.len(), desired.fdb.len()];
        Figures {
            not_ready: self.not_ready(),
            synced: self.view.convergence.is_synced(),
            nodes: self.source.nodes as u64,
            cidrs: self.conditions.counts(),
            problems: self.all_problems().len() as u64,
            desired: counts.map(|count| count as u64),
            errors: self.failures.errors() + self.problems.errors(),
            ..self.figures.clone()
        }
    }
}
