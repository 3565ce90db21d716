//! What is offered, and what two OPENs settle. Pure.

use super::{Config, ConnectionId, Negotiated};
use crate::codec::{
    Capabilities, Context, GracefulRestart, Malformed, Notification, Open, capabilities, code,
};
use std::time::Duration;

/// Our OPEN.
pub(super) fn offer(config: &Config) -> Open {
    Open {
        asn: config.local_asn,
        hold_time: config.hold_time,
        router_id: config.router_id,
        capabilities: Capabilities {
            multiprotocol: config.families.clone(),
            other_families: false,
            extended_next_hop: config.extended_next_hop,
            route_refresh: true,
            four_octet_asn: true,
            graceful_restart: Some(GracefulRestart::default()),
        },
    }
}

/// Before anything is settled.
pub(super) fn unsettled(config: &Config) -> Context {
    Context {
        families: config.families.clone(),
        four_octet_asn: true,
        extended_next_hop: false,
        internal: config.internal(),
    }
}

/// Checks the peer's OPEN (RFC 4271 section 6.2) and settles the session.
pub(super) fn settle(
    config: &Config,
    open: &Open,
    connection: ConnectionId,
) -> Result<Negotiated, Malformed> {
    let refuse_with = |subcode, data, why: String| {
        let notification = Notification { code: code::OPEN, subcode, data };
        Err(Malformed { notification, why })
    };
    let refuse = |subcode, why| refuse_with(subcode, vec![], why);
    if open.asn != config.peer_asn {
        let why =
            format!("the peer says that it is AS {}, configured is {}", open.asn, config.peer_asn);
        return refuse(2, why);
    }
    // RFC 6286: unique in an AS, and not zero.
    let ours = config.internal() && open.router_id == config.router_id;
    if open.router_id.is_unspecified() || ours {
        let why = format!("the peer's router ID is {}", open.router_id);
        return refuse(3, if ours { format!("{why}, which is ours") } else { why });
    }
    if matches!(open.hold_time, 1 | 2) {
        return refuse(6, format!("the peer offers a hold time of {} s", open.hold_time));
    }
    let theirs = open.capabilities.families();
    let families = config.families.intersection(&theirs).copied().collect();
    let context = Context {
        families,
        four_octet_asn: open.capabilities.four_octet_asn,
        extended_next_hop: config.extended_next_hop && open.capabilities.extended_next_hop,
        internal: config.internal(),
    };
    if context.families.is_empty() {
        let multiprotocol = config.families.clone();
        let missing = Capabilities { multiprotocol, ..Capabilities::default() };
        let data = capabilities(&missing, config.local_asn);
        let why = "the peer offers none of the configured families".to_owned();
        return refuse_with(7, data, why);
    }
    let hold_time = Duration::from_secs(u64::from(config.hold_time.min(open.hold_time)));
    Ok(Negotiated {
        connection,
        router_id: open.router_id,
        context,
        hold_time,
        keepalive: hold_time / 3,
        route_refresh: open.capabilities.route_refresh,
        graceful_restart: open.capabilities.graceful_restart.clone(),
    })
}

/// Of two connections to one peer, whether the one that we dialled stays (RFC 4271 section 6.8,
/// RFC 6286 section 2.3).
pub(super) fn ours_stays(config: &Config, peer: &Negotiated) -> bool {
    let local = (u32::from(config.router_id), config.local_asn);
    local > (u32::from(peer.router_id), config.peer_asn)
}
