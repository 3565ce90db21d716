//! Another configuration, another node set, and the end. A session is touched only by what concerns
//! it.

use super::config::{Bgp, Password, Peer};
use super::driver::Speaker;
use super::identity::{Identity, policy};
use super::listen_failure::ListenFailure;
use super::neighbor::Neighbor;
use super::tcp::{GOODBYE, Listeners};
use crate::clock::now;
use bgp_speaker::codec::{Family, cease};
use bgp_speaker::fsm::Event;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Instant;
use tokio::time::timeout;
use tracing::{info, warn};

impl Speaker {
    /// Another configuration.
    pub fn reconfigure(&mut self, bgp: Bgp) {
        let before = std::mem::replace(&mut self.bgp, bgp);
        self.reserve();
        if before.warning().is_none() {
            self.warn();
        }
        if before.listen != self.bgp.listen || self.listen_failure.is_some() {
            self.listen();
        } else if keys(&before) != keys(&self.bgp) {
            // Who has connected was not asked for them.
            self.listeners.pause();
            before.peers.iter().for_each(|peer| self.clear_key(peer.address));
            let served = self.serve();
            self.note_listening(served);
        }
        // What every OPEN says; of the router ID `identify` knows whether it becomes another.
        let every = (before.asn, before.hold_time) != (self.bgp.asn, self.bgp.hold_time);
        for old in &before.peers {
            let new = self.bgp.peers.iter().find(|peer| peer.address == old.address).cloned();
            match new {
                None => self.end(old.address, cease::DECONFIGURED, "it is configured no more"),
                Some(new) if !every && self.differs_by_limit(old, &new) => {
                    self.limit(old.address, new.max_prefixes);
                }
                Some(new) if every || new != *old => {
                    self.end(old.address, cease::CONFIGURATION, "its configuration changed");
                }
                Some(_) => {}
            }
        }
        self.set_least_ttl();
        for peer in self.peers.values_mut() {
            peer.session.set_connect_retry(self.bgp.connect_retry);
        }
        self.begin_missing();
        if self.rib.set_policy(policy(&self.bgp, self.identity.as_ref())) {
            self.refresh();
        }
        self.advertise();
        // The peer that was awaited may be gone.
        self.settle();
    }

    /// Listens on the configured addresses. If that fails, it keeps the previous ones and retries.
    pub(super) fn listen(&mut self) {
        // While the old sockets listen, new ones cannot bind their ports; while they are only
        // bound, new ones can, and the ports stay ours.
        self.listeners.pause();
        let opened = Listeners::open(&self.bgp.listen).map(|opened| self.listeners = opened);
        let served = self.serve();
        self.note_listening(opened.and(served));
    }

    /// Notes whether it listens where the configuration says.
    fn note_listening(&mut self, listens: io::Result<()>) {
        let before = self.listen_failure.take();
        let Err(error) = listens else {
            if before.is_some() {
                info!("listens where the configuration says");
            }
            return;
        };
        let error = error.to_string();
        let known = before.filter(|before| before.error == error);
        if known.is_none() {
            warn!("cannot listen on {error}; it is tried again, and a restart may help");
        }
        let since = known.map_or_else(now, |known| known.since);
        let again = Instant::now() + self.bgp.connect_retry;
        self.listen_failure = Some(ListenFailure { error, since, again });
    }

    /// Accepts connections from now on.
    ///
    /// # Errors
    /// As [`Listeners::serve`].
    fn serve(&mut self) -> io::Result<()> {
        // Keys first: a peer that connects before needs none.
        let peers = &self.bgp.peers;
        self.keyless.retain(|keyless, _| peers.iter().any(|peer| peer.address == *keyless));
        self.bgp.peers.clone().iter().for_each(|peer| self.set_key(peer));
        self.set_least_ttl();
        self.round += 1;
        self.listeners.serve(&self.events, self.round)
    }

    /// The connections themselves have the peer's own (RFC 5082); this spares those of strangers.
    fn set_least_ttl(&self) {
        if let Err(error) = self.listeners.set_least_ttl(&self.bgp.peers) {
            warn!("{error}");
        }
    }

    /// Sets the key of a peer's incoming connections, or takes it away. Where that fails, the peer's
    /// connections are refused.
    fn set_key(&mut self, peer: &Peer) {
        let before = self.keyless.remove(&peer.address);
        let Some(password) = &peer.password else { return self.clear_key(peer.address) };
        let Err(error) = self.listeners.set_key(peer.address, &password.0) else { return };
        warn!(peer = %peer.address, "its connections are refused: {error}");
        let error = error.to_string();
        let known = before.filter(|(before, _)| *before == error);
        let since = known.map_or_else(now, |(_, since)| since);
        self.keyless.insert(peer.address, (error, since));
    }

    fn clear_key(&self, peer: IpAddr) {
        if let Err(error) = self.listeners.set_key(peer, &[]) {
            warn!(%peer, "{error}");
        }
    }

    /// This node is another, or known at last.
    pub(super) fn follow_identity(&mut self, before: Option<&Identity>) {
        let wider = self.rib.set_policy(policy(&self.bgp, self.identity.as_ref()));
        let id = |identity: &Identity| identity.router_id;
        if before.map(id) != self.identity.as_ref().map(id) {
            for peer in self.bgp.peers.clone() {
                self.end(peer.address, cease::CONFIGURATION, "the router ID changed");
            }
            return self.begin_missing();
        }
        if wider {
            self.refresh();
        }
        self.advertise();
    }

    /// Begins the sessions of peers that have none.
    fn begin_missing(&mut self) {
        let Some(identity) = self.identity.clone() else { return };
        for peer in self.bgp.peers.clone() {
            if !self.peers.contains_key(&peer.address) {
                let neighbor = Neighbor::new(&peer, &self.bgp, &identity);
                self.peers.insert(peer.address, neighbor);
                self.event(peer.address, Event::Start);
            }
        }
    }

    /// Ends a session, for `why`; its peer's routes are withdrawn.
    fn end(&mut self, address: IpAddr, subcode: u8, why: &str) {
        if !self.peers.contains_key(&address) {
            return;
        }
        info!(peer = %address, "the session ends: {why}");
        self.event(address, Event::Stop { subcode });
        self.hang_up(address);
        self.connections.retain(|_, (peer, _)| *peer != address);
        self.rib.down(address);
        self.peers.remove(&address);
    }

    /// Asks the peers for what the policy did not admit before (RFC 2918). Who cannot be asked is
    /// asked by a new session.
    fn refresh(&mut self) {
        for address in self.peers.keys().copied().collect::<Vec<_>>() {
            let up = self.peers.get(&address).and_then(|peer| peer.session.established());
            if up.is_some_and(|up| !up.route_refresh) {
                self.end(address, cease::CONFIGURATION, "it cannot send its routes again");
            }
            for family in [Family::Ipv4, Family::Ipv6] {
                self.event(address, Event::Refresh(family));
            }
        }
        self.begin_missing();
    }

    /// Tells every peer what changed.
    pub(super) fn advertise(&mut self) {
        for address in self.peers.keys().copied().collect::<Vec<_>>() {
            if let Some(updates) = self.updates(address, None) {
                self.event(address, Event::Advertise(&updates));
            }
        }
    }

    /// Ends every session, for `why`.
    pub fn end_all(&mut self, why: &str) {
        for address in self.peers.keys().copied().collect::<Vec<_>>() {
            self.end(address, cease::SHUTDOWN, why);
        }
    }

    /// Ends every session, and waits until the peers were sent why, or for [`GOODBYE`].
    pub async fn stop(&mut self) {
        let connections = self.connections.values_mut();
        let written: Vec<_> = connections.filter_map(|(_, open)| open.written()).collect();
        self.end_all("the daemon stops");
        let all = async {
            for connection in written {
                // One that failed has sent what it could.
                let _ = connection.await;
            }
        };
        if timeout(GOODBYE, all).await.is_err() {
            warn!("a peer reads nothing: the stop cannot be announced to it");
        }
    }
}

/// The passwords, by peer.
fn keys(bgp: &Bgp) -> BTreeMap<IpAddr, &Password> {
    bgp.peers.iter().filter_map(|peer| Some((peer.address, peer.password.as_ref()?))).collect()
}
