//! The metrics, whose names are in route-sync/README.md, and /healthz and /readyz.

use crate::bgp::report::{Counters, PeerReport};
use crate::query::{Figures, Query};
use crate::report::ProbeReport;
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
        self.not_ready.as_deref()
    }
}

fn metrics(figures: &Figures) -> String {
    let mut text = Text::new("ferrule_route_sync");
    text.build_info(env!("CARGO_PKG_VERSION"));
    text.one(
        "synced",
        "gauge",
        "1 once a complete node set was carried out, each entry tried.",
        u8::from(figures.synced),
    );
    text.one("nodes", "gauge", "Nodes in the set that stands.", figures.nodes);
    let cidrs = figures
        .cidrs
        .iter()
        .map(|(path, state, count)| (format!("path=\"{path}\",state=\"{state}\""), count));
    text.family("cidrs", "gauge", "Pod CIDRs by path and state.", cidrs);
    text.one("problems", "gauge", "What fails or is refused and is no CIDR's.", figures.problems);
    let objects = ["route", "neighbour", "fdb"].iter().zip(figures.desired);
    let objects = objects.map(|(object, count)| (format!("object=\"{object}\""), count));
    text.family("desired_objects", "gauge", "Objects that must exist in the kernel.", objects);
    text.one("passes_total", "counter", "Full passes over the kernel's state.", figures.passes);
    text.one(
        "last_pass_duration_seconds",
        "gauge",
        "What the last full pass took.",
        figures.pass_seconds,
    );
    let repairs = figures.repairs.iter().map(|(what, count)| (format!("object=\"{what}\""), count));
    text.family("repairs_total", "counter", "Repairs of what others deleted or altered.", repairs);
    text.one("changes_total", "counter", "Changes made in the kernel.", figures.changes);
    text.one("errors_total", "counter", "Changes that the kernel refused.", figures.errors);
    text.one(
        "overruns_total",
        "counter",
        "Times that the kernel's notifications were lost.",
        figures.overruns,
    );
    text.one("source_sets_total", "counter", "Node sets that the source sent.", figures.sets);
    text.one(
        "source_failures_total",
        "counter",
        "Times that the source failed.",
        figures.source_failures,
    );
    text.log_lines();
    if let Some(probe) = &figures.probe {
        probed(&mut text, probe);
    }
    if !figures.bgp.is_empty() {
        bgp(&mut text, &figures.bgp);
    }
    text.finish()
}

/// `[probe]`.
fn probed(text: &mut Text, probe: &ProbeReport) {
    text.one("probe_rounds_total", "counter", "Rounds of the probe.", probe.rounds);
    text.one("probe_answers_total", "counter", "Answers of pod networks.", probe.answered);
    text.one(
        "probe_silent",
        "gauge",
        "Pod networks that do not answer although their nodes do.",
        probe.silent,
    );
}

/// The BGP sessions.
fn bgp(text: &mut Text, peers: &[PeerReport]) {
    let label = |peer: &PeerReport| format!("peer=\"{}\",asn=\"{}\"", peer.address, peer.asn);
    let mut gauge = |name: &str, help: &str, value: fn(&PeerReport) -> u64| {
        let values = peers.iter().map(|peer| (label(peer), value(peer)));
        text.family(name, "gauge", help, values);
    };
    gauge("bgp_session_up", "1 while the session is established.", |p| u64::from(p.is_up()));
    gauge("bgp_prefixes_in", "Prefixes that the peer announces and that are admitted.", |peer| {
        peer.prefixes_in
    });
    gauge("bgp_prefixes_max", "Prefixes of each family that end the session when exceeded.", |p| {
        p.max_prefixes.into()
    });
    gauge("bgp_prefixes_out", "Prefixes announced to the peer.", |peer| peer.prefixes_out);
    gauge("bgp_prefixes_rejected", "Announcements of this session not admitted.", |peer| {
        peer.rejected.values().sum()
    });
    gauge("bgp_prefixes_refused", "Prefixes admitted and not used for where they lead.", |peer| {
        peer.refused_prefixes
    });
    let mut counter = |name: &str, help: &str, value: fn(&Counters) -> u64| {
        let values = peers.iter().map(|peer| (label(peer), value(&peer.counters)));
        text.family(name, "counter", help, values);
    };
    counter("bgp_sessions_total", "Times that the session was established.", |c| c.established);
    counter("bgp_messages_in_total", "Messages that came.", |c| c.messages_in);
    counter("bgp_messages_out_total", "Messages that went.", |c| c.messages_out);
    counter("bgp_updates_in_total", "UPDATEs that came.", |c| c.updates_in);
    counter("bgp_updates_out_total", "UPDATEs that went.", |c| c.updates_out);
    counter(
        "bgp_treated_as_withdraw_total",
        "UPDATEs whose routes were withdrawn for an error in them (RFC 7606).",
        |c| c.treated_as_withdraw,
    );
    counter("bgp_faulty_updates_total", "UPDATEs with something wrong in them.", |c| {
        c.faulty_updates
    });
}

#[cfg(test)]
mod tests;
