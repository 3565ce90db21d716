//! What the speaker says of itself.

use super::driver::Speaker;
use super::limit::is_near;
use super::neighbor::Neighbor;
use crate::report::Problem;
use crate::routes::learned::Hops;
use bgp_speaker::codec::Family;
use bgp_speaker::fsm::{Reason, State};
use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

/// The state of the speaker. Its JSON is `route-sync status bgp --json`, and its fields are frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpReport {
    /// AS number.
    pub asn: u32,
    /// BGP Identifier; absent until this node is in the node set.
    pub router_id: Option<Ipv4Addr>,
    /// What of the configuration cannot be meant, with the remedy.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is announced.
    pub announce: Vec<IpNetwork>,
    /// The communities of what is announced, by name where they have one.
    #[serde(default)]
    pub communities: Vec<String>,
    /// Every peer has sent its routes once, or the time for it is over: routes of an earlier run
    /// are gone.
    pub complete: bool,
    /// The peers, by address.
    pub peers: Vec<PeerReport>,
    /// What is learned and used, by prefix.
    pub routes: Vec<RouteReport>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Its address.
    pub address: IpAddr,
    /// Its AS number.
    pub asn: u32,
    /// `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm` or `Established` (RFC 4271
    /// section 8.2.2).
    pub state: String,
    /// Since when it is established, seconds since 1970.
    pub since: Option<u64>,
    /// What the two agreed on, while established.
    pub session: Option<SessionReport>,
    /// Seconds to the next timer: connect-retry, keepalive or hold.
    pub next_timer: Option<u64>,
    /// Prefixes that it announced and that are admitted.
    pub prefixes_in: u64,
    /// How many prefixes of each family may be admitted before the session ends.
    pub max_prefixes: u32,
    /// Families of which more than three quarters of that are: their prefixes.
    pub near_limit: BTreeMap<String, u64>,
    /// Announcements that are not admitted, since the session came up, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// What to do about the reasons of `rejected`.
    #[serde(default)]
    pub remedies: BTreeMap<String, String>,
    /// Prefixes that are admitted and not used, by next hop.
    #[serde(default)]
    pub unusable: Vec<UnusableReport>,
    /// UPDATEs since the session came up of whose communities only the first 16 of a kind are kept.
    #[serde(default)]
    pub shortened_communities: u64,
    /// Prefixes that are admitted and lead to what this node itself needs to reach, or to no pods;
    /// those of `refused` among them.
    #[serde(default)]
    pub refused_prefixes: u64,
    /// Why such prefixes are refused, and what to do; of the first 1,000.
    #[serde(default)]
    pub refused: BTreeMap<IpNetwork, String>,
    /// Prefixes announced to it.
    pub prefixes_out: u64,
    /// Prefixes that cannot be announced to it, and why.
    pub unannounced: BTreeMap<IpNetwork, String>,
    /// Counters of messages and sessions.
    pub counters: Counters,
    /// Why there is no session: the last NOTIFICATION of either side, else what happened last;
    /// null while there is one.
    pub last_error: Option<String>,
    /// What was last wrong with an UPDATE of it.
    pub last_fault: Option<String>,
}

/// A next hop that a peer names and that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnusableReport {
    /// The next hop.
    pub next_hop: IpAddr,
    /// How many of the peer's prefixes have it.
    pub prefixes: u64,
    /// One of them.
    pub example: IpNetwork,
    /// Why, and what to do.
    pub why: String,
}

/// What the OPENs of a session settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReport {
    /// The peer's BGP Identifier.
    pub router_id: Ipv4Addr,
    /// This node's address in it.
    pub local_address: Option<IpAddr>,
    /// Hold time in seconds; 0 for none.
    pub hold_time: u64,
    /// Seconds between keepalives.
    pub keepalive: u64,
    /// `IPv4`, `IPv6`.
    pub families: Vec<String>,
    /// Of both sides: `4-octet-as`, `extended-next-hop`, `route-refresh`, `graceful-restart`.
    pub capabilities: Vec<String>,
    /// Families of which the peer has sent all.
    pub end_of_rib: Vec<String>,
    /// Families whose routes are ignored until the session is new, and why, with the remedy.
    #[serde(default)]
    pub disabled: BTreeMap<String, String>,
}

/// Since the session's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Messages that came.
    pub messages_in: u64,
    /// Messages that went.
    pub messages_out: u64,
    /// UPDATEs that came.
    pub updates_in: u64,
    /// UPDATEs that went.
    pub updates_out: u64,
    /// UPDATEs whose routes were withdrawn for an error in them (RFC 7606).
    pub treated_as_withdraw: u64,
    /// UPDATEs with something wrong in them, those among them.
    #[serde(default)]
    pub faulty_updates: u64,
    /// Times that it was established.
    pub established: u64,
}

/// A route that is learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteReport {
    /// Where to.
    pub prefix: IpNetwork,
    /// Next hops that share the traffic.
    pub via: Vec<IpAddr>,
    /// Peers that announce it.
    pub peers: Vec<IpAddr>,
    /// The communities of all paths to it, by name where they have one.
    #[serde(default)]
    pub communities: Vec<String>,
}

impl Neighbor {
    /// Why there is no session, in words, and with what the speaker cannot know.
    pub(super) fn explain(&self, reason: &Reason) -> String {
        let silent = matches!(reason, Reason::ConnectTimeout);
        let password = match &self.config.password {
            Some(_) if silent => "; it may know another password (nstat -az TcpExtTCPMD5*)",
            None if silent => "; if it wants a password, write password-file",
            _ => "",
        };
        format!("{reason}{password}")
    }

    fn last_error(&self) -> Option<String> {
        let cause = self.explain(self.session.last_error()?);
        let now = self.session.unreachable().map(|reason| self.explain(reason));
        Some(now.map_or_else(|| cause.clone(), |now| format!("{cause}; now: {now}")))
    }
}

impl PeerReport {
    /// The session is established.
    pub fn is_up(&self) -> bool {
        self.state == "Established"
    }

    /// The session is established, and no family of it is disabled.
    pub fn is_whole(&self) -> bool {
        self.is_up() && self.session.as_ref().is_none_or(|session| session.disabled.is_empty())
    }
}

fn names<'a>(families: impl IntoIterator<Item = &'a Family>) -> Vec<String> {
    families.into_iter().map(Family::to_string).collect()
}

impl Speaker {
    /// All of it.
    pub fn report(&self) -> BgpReport {
        let identity = self.identity.as_ref();
        let own = identity.map(|identity| identity.own.clone()).unwrap_or_default();
        let route = |(prefix, hops): (&IpNetwork, &Hops)| RouteReport {
            prefix: *prefix,
            via: hops.iter().filter_map(|hop| hop.gateway).collect(),
            peers: self.peers.keys().copied().filter(|peer| self.rib.has(*peer, prefix)).collect(),
            communities: self.communities(prefix),
        };
        BgpReport {
            asn: self.bgp.asn,
            router_id: identity.map(|identity| identity.router_id),
            announce: self.bgp.announce.clone().unwrap_or(own),
            communities: self.bgp.communities.names(),
            warnings: self.bgp.warning().map(str::to_owned).into_iter().collect(),
            complete: self.is_complete(),
            peers: self.peer_reports(),
            routes: self.learned().iter().map(route).collect(),
        }
    }

    /// The peers, without the routes.
    pub fn peer_reports(&self) -> Vec<PeerReport> {
        self.peers.iter().map(|(address, peer)| self.peer(*address, peer)).collect()
    }

    /// Those of all paths to a prefix, each once.
    fn communities(&self, prefix: &IpNetwork) -> Vec<String> {
        let paths = self.peers.keys().filter_map(|peer| self.rib.path(*peer, prefix));
        let names: BTreeSet<String> =
            paths.flat_map(|path| path.attributes.all_communities().names()).collect();
        names.into_iter().collect()
    }

    fn peer(&self, address: IpAddr, peer: &Neighbor) -> PeerReport {
        let session = &peer.session;
        let instant = Instant::now();
        let counted = session.counters();
        let rejected = self.rib.rejected(address);
        let (refused_prefixes, refused) = self.refused(address);
        PeerReport {
            address,
            asn: peer.config.asn,
            state: session.state().to_string(),
            since: session.established().map(|_| peer.since),
            session: self.session(peer),
            next_timer: session
                .next_deadline()
                .map(|at| at.saturating_duration_since(instant).as_secs()),
            prefixes_in: self.rib.count(address) as u64,
            unusable: self.unusable(address),
            refused_prefixes: refused_prefixes as u64,
            refused,
            remedies: rejected
                .keys()
                .map(|why| (why.to_string(), why.remedy().to_owned()))
                .collect(),
            max_prefixes: peer.config.max_prefixes,
            near_limit: self.near_limit(address, peer.config.max_prefixes),
            rejected: rejected.into_iter().map(|(why, n)| (why.to_string(), n)).collect(),
            shortened_communities: self.rib.shortened(address),
            prefixes_out: peer.sent.len() as u64,
            unannounced: peer.unannounced.iter().map(|(p, why)| (*p, why.to_string())).collect(),
            counters: Counters {
                messages_in: counted.messages_in,
                messages_out: counted.messages_out,
                updates_in: counted.updates_in,
                updates_out: counted.updates_out,
                treated_as_withdraw: counted.treated_as_withdraw,
                faulty_updates: counted.faulty_updates,
                established: counted.established,
            },
            last_error: peer.last_error(),
            last_fault: peer.fault.clone(),
        }
    }

    fn near_limit(&self, address: IpAddr, most: u32) -> BTreeMap<String, u64> {
        let count = |family| (family, self.rib.count_of(address, family) as u64);
        let counts = [Family::Ipv4, Family::Ipv6].map(count).into_iter();
        let near = counts.filter(|(_, count)| is_near(*count, most));
        near.map(|(family, count)| (family.to_string(), count)).collect()
    }

    fn session(&self, peer: &Neighbor) -> Option<SessionReport> {
        let up = peer.session.established()?;
        let connection = self.connections.get(&up.connection).map(|(_, connection)| connection);
        let capabilities = [
            (up.context.four_octet_asn, "4-octet-as"),
            (up.context.extended_next_hop, "extended-next-hop"),
            (up.route_refresh, "route-refresh"),
            (up.graceful_restart.is_some(), "graceful-restart"),
        ];
        Some(SessionReport {
            router_id: up.router_id,
            local_address: connection.map(|connection| connection.local.ip().to_canonical()),
            hold_time: up.hold_time.as_secs(),
            keepalive: up.keepalive.as_secs(),
            families: names(&up.context.families),
            capabilities: capabilities
                .iter()
                .filter(|(there, _)| *there)
                .map(|(_, name)| (*name).to_owned())
                .collect(),
            end_of_rib: names(&peer.ended),
            disabled: peer.disabled(),
        })
    }

    /// What is not as it must be: peers without a session, or whose password is not asked for,
    /// and addresses that cannot be listened on.
    pub fn problems(&self) -> Vec<Problem> {
        let listen_failure = self.listen_failure.iter().map(|listen_failure| Problem {
            what: "bgp.listen".to_owned(),
            error: format!(
                "cannot listen on {}; it is tried again, and where it could it still does",
                listen_failure.error
            ),
            since: listen_failure.since,
        });
        if self.identity.is_none() {
            let error = match self.known {
                true => {
                    "the node set gives this node no IPv4 address to take the router ID from: set \
                     router-id under [bgp]"
                }
                false => "no session begins before this node is in the node set",
            };
            let (what, error) = ("bgp".to_owned(), error.to_owned());
            return listen_failure.chain([Problem { what, error, since: self.begun }]).collect();
        }
        let warning = self.bgp.warning().map(|warning| Problem {
            what: "bgp.import-cidrs".to_owned(),
            error: warning.to_owned(),
            since: self.begun,
        });
        let down = |peer: &&Neighbor| peer.session.state() != State::Established;
        let problem = |peer: &Neighbor| {
            let state = peer.session.state();
            let error = peer.last_error();
            let error =
                error.map_or_else(|| state.to_string(), |error| format!("{state}: {error}"));
            let what = format!("bgp peer {}", peer.config.address);
            Problem { what, error, since: peer.since }
        };
        let keyless = self.keyless.iter().map(|(peer, (error, since))| Problem {
            what: format!("password of bgp peer {peer}"),
            error: format!("its connections are refused: {error}"),
            since: *since,
        });
        let impaired = self.peers.values().flat_map(Neighbor::impaired);
        let peers = self.peers.values().filter(down).map(problem).chain(impaired);
        peers.chain(keyless).chain(listen_failure).chain(warning).collect()
    }
}
