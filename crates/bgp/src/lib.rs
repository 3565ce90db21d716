//! A BGP-4 speaker (RFC 4271) for an end node: it announces its own CIDRs and learns others'.
//! Nothing here does I/O: sockets, clocks and the kernel are the caller's.
//!
//! - [`codec`]: messages as bytes, and what of a broken one still counts.
//! - [`fsm`]: the state machine of one peer, driven by (event, time).
//! - [`rib`]: import policy, best paths, next hops, what we announce.
//!
//! # The loop that drives it
//!
//! One [`fsm::Session`] for each peer and one [`rib::Rib`] for all. Here the two ends of a session
//! are both ours, and the network is a variable; a daemon has sockets in its place.
//!
//! ```
//! use bgp_speaker::codec::Family;
//! use bgp_speaker::fsm::{Action, Config, ConnectionId, Event, Session, State};
//! use bgp_speaker::rib::{AdjRibOut, LocalAddresses, Policy, Rib, Source, exports};
//! use std::collections::{BTreeMap, VecDeque};
//! use std::net::IpAddr;
//! use std::time::Instant;
//!
//! type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//!
//! /// A node, its one peer, and the routes of that peer.
//! struct Node {
//!     address: IpAddr,
//!     peer: IpAddr,
//!     own: &'static str,
//!     session: Session,
//!     rib: Rib,
//!     announced: AdjRibOut,
//! }
//!
//! # fn main() -> Result<()> {
//! impl Node {
//!     fn new(n: u8, asn: u32, peer: u8, peer_asn: u32, own: &'static str) -> Result<Node> {
//!         let router_id = [192, 0, 2, n].into();
//!         let policy = Policy {
//!             import_cidrs: vec!["10.244.0.0/16".parse()?],
//!             max_length: (32, 128),
//!             own_cidrs: vec![own.parse()?],
//!             announced: vec![],
//!             local_asn: asn,
//!             router_id,
//!         };
//!         Ok(Node {
//!             address: [192, 0, 2, n].into(),
//!             peer: [192, 0, 2, peer].into(),
//!             own,
//!             session: Session::new(Config::new(asn, router_id, peer_asn), Instant::now()),
//!             rib: Rib::new(policy),
//!             announced: AdjRibOut::new(),
//!         })
//!     }
//!
//!     /// Hands an event to the session and carries out its actions. Those for the network are
//!     /// returned: the daemon would do them.
//!     fn handle(&mut self, event: Event<'_>) -> Vec<Action> {
//!         let random = 0; // 32 random bits
//!         let mut network = vec![];
//!         let mut actions = VecDeque::from(self.session.handle(Instant::now(), random, event));
//!         while let Some(action) = actions.pop_front() {
//!             match action {
//!                 Action::Up(negotiated) => {
//!                     self.rib.up(Source {
//!                         address: self.peer,
//!                         router_id: negotiated.router_id,
//!                         internal: negotiated.context.internal,
//!                         own_as: 0,
//!                     });
//!                     let local = LocalAddresses { // getsockname() of negotiated.connection
//!                         session: self.address, ipv4: None, ipv6: None, link_local: None,
//!                     };
//!                     let own = BTreeMap::from([(self.own.parse().unwrap(), Default::default())]);
//!                     let asn = self.session.config().local_asn;
//!                     let (exports, _) = exports(&own, asn, &local, &negotiated.context);
//!                     self.announced = AdjRibOut::new();
//!                     let mut updates = self.announced.sync(exports);
//!                     updates.extend(AdjRibOut::end_of_rib(&negotiated.context.families));
//!                     let event = Event::Advertise(&updates);
//!                     actions.extend(self.session.handle(Instant::now(), random, event));
//!                 }
//!                 Action::Update(update) => self.rib.update(self.peer, &update),
//!                 Action::Down(reason) => {
//!                     eprintln!("{}: {reason}", self.peer);
//!                     self.rib.down(self.peer);
//!                 }
//!                 Action::Failed(reason) => eprintln!("{}: {reason}", self.peer),
//!                 Action::Resend(_) => {} // AdjRibOut::forget, and what sync says then
//!                 Action::Unsendable(why) => eprintln!("{}: {why}", self.peer),
//!                 other => network.push(other), // Connect, CancelConnect, Send, Close
//!             }
//!         }
//!         // Then: arm a timer for self.session.next_deadline(), and bring the kernel what
//!         // self.rib.changes(…) says.
//!         network
//!     }
//! }
//!
//! let mut nodes = [
//!     Node::new(1, 65001, 2, 65002, "10.244.1.0/24")?,
//!     Node::new(2, 65002, 1, 65001, "10.244.2.0/24")?,
//! ];
//! let connection = ConnectionId(1);
//! assert_eq!(nodes[0].handle(Event::Start), [Action::Connect]);
//! nodes[1].handle(Event::Start);
//! let mut under_way = VecDeque::new();
//! for (node, incoming) in [(0, false), (1, true)] {
//!     let actions = nodes[node].handle(Event::Connected { connection, incoming });
//!     under_way.extend(actions.into_iter().map(|action| (1 - node, action)));
//! }
//! while let Some((node, action)) = under_way.pop_front() {
//!     let Action::Send { bytes, .. } = action else { continue };
//!     let actions = nodes[node].handle(Event::Received { connection, bytes: &bytes });
//!     under_way.extend(actions.into_iter().map(|action| (1 - node, action)));
//! }
//! assert_eq!(nodes[0].session.state(), State::Established);
//!
//! let changes = nodes[0].rib.changes(|_next_hop, _peer| Some(0));
//! let via = changes[&"10.244.2.0/24".parse()?][0];
//! assert_eq!(via.address, nodes[1].address);
//! # assert_eq!(Family::of(&"10.244.2.0/24".parse()?), Family::Ipv4);
//! # Ok(())
//! # }
//! ```

pub mod codec;
pub mod fsm;
pub mod rib;
