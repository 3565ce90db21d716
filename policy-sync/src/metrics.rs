//! The metrics, whose names are in policy-sync/README.md, and /healthz and /readyz.

use crate::query::{Figures, Query};
use daemon::http::{self, Health};
use daemon::metrics::Text;
use daemon::query::ask;
use std::io;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// Listens on an address and serves it on the current runtime.
///
/// # Errors
/// The address is not this node's, or is taken.
pub fn listen(address: SocketAddr, queries: mpsc::Sender<Query>) -> io::Result<SocketAddr> {
    http::listen(address, move || {
        let queries = queries.clone();
        async move { ask(&queries, Query::Figures).await }
    })
}

impl Health for Figures {
    fn metrics(&self) -> String {
        metrics(self)
    }

    fn not_ready(&self) -> Option<&str> {
        (!self.synced).then_some("not every kind of object has come, or is in force, yet")
    }
}

fn metrics(figures: &Figures) -> String {
    let mut text = Text::new("ferrule_policy_sync");
    text.build_info(env!("CARGO_PKG_VERSION"));
    text.one(
        "synced",
        "gauge",
        "1 once every kind of object has come and is in force.",
        u8::from(figures.synced),
    );
    let [pods, policies, local] = figures.counts;
    let [profiles, sets, elements] = figures.objects;
    for (name, help, value) in [
        ("pods", "Pods of the cluster with addresses of their own.", pods),
        ("local_pods", "Pods of this node.", local),
        ("policies", "Policies of both kinds.", policies),
        (
            "restricted_addresses",
            "Addresses of this node's pods that a policy restricts.",
            figures.restricted,
        ),
        ("held_addresses", "Addresses that are held until their pod is known.", figures.held),
        ("profiles", "Chains in nf_tables.", profiles),
        ("sets", "Sets in nf_tables.", sets),
        ("elements", "Elements of these sets.", elements),
        ("problems", "What fails or is refused.", figures.problems),
    ] {
        text.one(name, "gauge", help, value);
    }
    text.one(
        "last_pass_duration_seconds",
        "gauge",
        "What the last pass took.",
        figures.pass_seconds,
    );
    for (name, help, value) in [
        ("passes_total", "Passes over what must be in the kernel.", figures.passes),
        ("changes_total", "Elements and rules changed in the kernel.", figures.changes),
        ("repairs_total", "Passes that undid what other programs had changed.", figures.repairs),
        (
            "cut_connections_total",
            "Connections that a change forbade and that were cut.",
            figures.cut,
        ),
        ("errors_total", "Passes that the kernel refused.", figures.errors),
        ("source_sets_total", "Sets of objects that the source sent.", figures.sets),
        ("source_failures_total", "Times that the source failed.", figures.source_failures),
    ] {
        text.one(name, "counter", help, value);
    }
    let labels = ["enforced", "dry-run"].into_iter().zip(figures.dropped);
    text.family(
        "recent_dropped_packets",
        "gauge",
        "Packets of the flows that were dropped in the last ten minutes, or would be by policies in dry run.",
        labels.map(|(kind, packets)| (format!("policies=\"{kind}\""), packets)),
    );
    text.log_lines();
    text.finish()
}
