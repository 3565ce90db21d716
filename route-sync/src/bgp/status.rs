//! The speaker's report as tables.

use super::report::{BgpReport, PeerReport};
use bgp_speaker::rib::COMMUNITIES_MAX;
use daemon::table::{age, columns, plain};
use std::fmt::Write;

/// Whether BGP is configured, every session is established with all its families, and each prefix
/// is announced to at least one peer: two sessions with one switch may carry one family each.
pub fn is_well(report: &Option<BgpReport>) -> bool {
    let Some(report) = report else { return false };
    let announced = |prefix| report.peers.iter().any(|peer| !peer.unannounced.contains_key(prefix));
    report.complete
        && report.peers.iter().all(PeerReport::is_whole)
        && report.announce.iter().all(announced)
}

/// The report for people, as of `now` in seconds since 1970.
pub fn table(report: &Option<BgpReport>, now: u64) -> String {
    let Some(report) = report else {
        return "the configuration of the daemon has no [bgp]\n".to_owned();
    };
    let mut text = String::new();
    let id = report.router_id.map_or_else(|| "not known yet".to_owned(), |id| id.to_string());
    let announce: Vec<String> = report.announce.iter().map(ToString::to_string).collect();
    let complete = if report.complete { "yes" } else { "not yet" };
    // A String takes whatever is written.
    let _ = writeln!(text, "asn        {}", report.asn);
    let _ = writeln!(text, "router ID  {id}");
    let _ = writeln!(text, "announces  {}", announce.join(" "));
    if !report.communities.is_empty() {
        let _ = writeln!(text, "           communities {}", plain(&report.communities.join(" ")));
    }
    let _ = writeln!(text, "complete   {complete}");
    for warning in &report.warnings {
        let _ = writeln!(text, "warning    {}", plain(warning));
    }
    text.push('\n');
    let head = ["PEER", "ASN", "STATE", "SINCE", "IN", "OUT", "NEXT TIMER", "LAST ERROR"];
    let head = head.map(str::to_owned);
    let rows: Vec<[String; 8]> = report.peers.iter().map(|peer| row(peer, now)).collect();
    columns(&mut text, std::iter::once(&head).chain(&rows));
    sessions(&mut text, report);
    remarks(&mut text, report);
    routes(&mut text, report);
    text
}

fn row(peer: &PeerReport, now: u64) -> [String; 8] {
    let dash = || "-".to_owned();
    [
        peer.address.to_string(),
        peer.asn.to_string(),
        plain(&peer.state),
        peer.since.map_or_else(dash, |since| age(since, now)),
        peer.prefixes_in.to_string(),
        peer.prefixes_out.to_string(),
        peer.next_timer.map_or_else(dash, |seconds| format!("{seconds}s")),
        peer.last_error.as_deref().map_or_else(dash, plain),
    ]
}

/// What was agreed on.
fn sessions(text: &mut String, report: &BgpReport) {
    let head = ["SESSION", "ROUTER ID", "LOCAL ADDRESS", "HOLD", "FAMILIES", "CAPABILITIES"];
    let head = head.map(str::to_owned);
    let rows = report.peers.iter().filter_map(|peer| {
        let session = peer.session.as_ref()?;
        Some([
            peer.address.to_string(),
            session.router_id.to_string(),
            session.local_address.map_or_else(|| "-".to_owned(), |local| local.to_string()),
            format!("{}s", session.hold_time),
            plain(&session.families.join(" ")),
            plain(&session.capabilities.join(" ")),
        ])
    });
    let rows: Vec<[String; 6]> = rows.collect();
    if !rows.is_empty() {
        text.push('\n');
        columns(text, std::iter::once(&head).chain(&rows));
    }
}

/// What is not accepted, not announced, or malformed.
fn remarks(text: &mut String, report: &BgpReport) {
    let mut rows = vec![["PEER".to_owned(), "REMARK".to_owned()]];
    for peer in &report.peers {
        let mut remark = |remark: String| rows.push([peer.address.to_string(), plain(&remark)]);
        for (family, why) in peer.session.iter().flat_map(|session| &session.disabled) {
            remark(format!("{family} disabled: {why}"));
        }
        for (why, count) in &peer.rejected {
            let remedy = peer.remedies.get(why).map(|remedy| format!(": {remedy}"));
            remark(format!("{count} prefixes not taken: {why}{}", remedy.unwrap_or_default()));
        }
        if peer.shortened_communities > 0 {
            let count = peer.shortened_communities;
            remark(format!(
                "{count} UPDATEs with more than {COMMUNITIES_MAX} communities: the first \
                 {COMMUNITIES_MAX} are kept and shown; have the peer send fewer"
            ));
        }
        for unusable in &peer.unusable {
            let (count, example, next_hop) =
                (unusable.prefixes, unusable.example, unusable.next_hop);
            let why = &unusable.why;
            remark(format!("{count} prefixes not used, as {example}: next hop {next_hop}: {why}"));
        }
        for (family, count) in &peer.near_limit {
            let most = peer.max_prefixes;
            remark(format!("{count} {family} prefixes: close to max-prefixes, {most}"));
        }
        for (prefix, why) in &peer.refused {
            remark(format!("{prefix} refused: {why}"));
        }
        if peer.refused_prefixes > peer.refused.len() as u64 {
            remark(format!("{} prefixes refused in all", peer.refused_prefixes));
        }
        for (prefix, why) in &peer.unannounced {
            remark(format!("{prefix} not announced: {why}"));
        }
        let withdrawn = peer.counters.treated_as_withdraw;
        if let Some(fault) = &peer.last_fault {
            let faulty = peer.counters.faulty_updates;
            remark(format!(
                "{faulty} faulty UPDATEs; {withdrawn} UPDATEs treated as withdrawals; last fault: \
                 {fault}"
            ));
        }
    }
    if rows.len() > 1 {
        text.push('\n');
        columns(text, rows.iter());
    }
}

fn routes(text: &mut String, report: &BgpReport) {
    if report.routes.is_empty() {
        return;
    }
    text.push('\n');
    let list = |addresses: &[std::net::IpAddr]| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(" ")
    };
    let head = ["PREFIX", "VIA", "HEARD FROM", "COMMUNITIES"].map(str::to_owned);
    let any = report.routes.iter().any(|route| !route.communities.is_empty());
    let rows: Vec<[String; 4]> = report
        .routes
        .iter()
        .map(|route| {
            let communities = match route.communities.as_slice() {
                [] if any => "-".to_owned(),
                names => plain(&names.join(" ")),
            };
            [route.prefix.to_string(), list(&route.via), list(&route.peers), communities]
        })
        .collect();
    columns(text, std::iter::once(&head).chain(&rows));
}

#[cfg(test)]
pub(crate) mod tests;
