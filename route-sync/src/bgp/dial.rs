//! Dialling: from which address, and whether any route leads to a peer.

use super::driver::Speaker;
use super::tcp;
use bgp_speaker::fsm::Event;
use std::net::IpAddr;

impl Speaker {
    pub(super) fn dial(&mut self, address: IpAddr) {
        if self.is_cut(address) {
            let error = format!(
                "{address} is on no link of this node that is up; for a peer across a router \
                 write multihop"
            );
            return self.event(address, Event::ConnectFailed { error });
        }
        let source = self.source(address);
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let internal = self.bgp.is_internal(&peer.config);
        let dial = tcp::dial(&peer.config, source, internal, self.next, &self.events);
        peer.dialling = Some((self.next, dial));
        self.next += 1;
    }

    pub(super) fn hang_up(&mut self, address: IpAddr) {
        let dialling = self.peers.get_mut(&address).and_then(|peer| peer.dialling.take());
        dialling.inspect(|(_, dialling)| dialling.abort());
    }

    /// A peer that has to be on a link is on none that carries packets.
    pub(super) fn is_cut(&self, address: IpAddr) -> bool {
        let strict = self.peers.get(&address).is_some_and(|peer| {
            !self.bgp.is_internal(&peer.config) && peer.config.multihop.is_none()
        });
        strict && self.facts.on_live_link(address).is_none()
    }

    /// The node set's address, by which the peer knows this node, where it goes as the source of a
    /// session. The kernel would take the first one of the link, or of IPv6 a temporary one.
    fn source(&mut self, peer: IpAddr) -> Option<IpAddr> {
        let own = &self.identity.as_ref()?.addresses;
        if self.facts.on_link(peer).is_some() {
            return self.facts.source(peer, own);
        }
        let mut look = self.lookup.look(false);
        let route = look.toward(peer, &self.facts);
        self.moved |= look.end();
        // The source that another program gave a route is used.
        let route = route.filter(|route| {
            route.source.is_none_or(|source| self.facts.passing.contains(&source))
        })?;
        let link = self.facts.links.get(&route.hops.first()?.link)?;
        own.iter().copied().find(|own| own.is_ipv4() == peer.is_ipv4() && link.holds(*own))
    }
}
