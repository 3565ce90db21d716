use super::*;
use crate::convergence::ThisNode;

/// What is known once the node set, this node and the routes of every peer are.
fn all_known() -> Convergence {
    let mut known = peers_sending(&[]);
    known.peers_complete();
    known
}

/// As [`all_known`], with an earlier run's node set.
fn kept_set() -> Convergence {
    let mut known = all_known();
    known.set_received(true);
    known
}

/// Peers have sent these prefixes, and send more.
fn peers_sending(received: &[&str]) -> Convergence {
    let mut known = Convergence::new(true);
    known.set_received(false);
    known.node_is(ThisNode::Known);
    received.iter().for_each(|prefix| known.prefix_received(cidr(prefix)));
    known
}

fn cidr(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn desired() -> Desired {
    let gateway: IpAddr = [10, 1, 3, 0].into();
    let mac = Mac([2, 0x56, 203, 0, 113, 3]);
    Desired {
        routes: [
            (cidr("10.1.1.0/24"), RouteTo::Blackhole),
            (
                cidr("10.1.2.0/24"),
                RouteTo::Direct { gateway: [192, 0, 2, 2].into(), link: 2, source: None },
            ),
            (cidr("10.1.3.0/24"), RouteTo::Tunnel { gateway, source: Some([10, 1, 1, 0].into()) }),
            (cidr("fd00:1::/64"), RouteTo::Blackhole),
        ]
        .into(),
        neighbours: [(gateway, mac)].into(),
        fdb: [(mac, [203, 0, 113, 3].into())].into(),
        ..Desired::default()
    }
}

/// What of ours the kernel has.
#[derive(Clone, Default)]
struct Actual {
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
    fdb: Vec<FdbEntry>,
}

fn diff(
    desired: &Desired,
    tunnel: Option<u32>,
    actual: &Actual,
    known: &Convergence,
) -> Vec<Change> {
    let deletions = Deletions { convergence: known, learned: &Learned::new() };
    let diff = Diff { desired, tunnel, deletions };
    let mut routes = <[Seen<IpNetwork>; 4]>::default();
    for route in &actual.routes {
        let at = 2 * usize::from(route.protocol == LEARNED) + usize::from(route.dst.is_ipv6());
        diff.route(&mut routes[at], route.clone());
    }
    let mut neighbours = <[Seen<IpAddr>; 2]>::default();
    for entry in &actual.neighbours {
        diff.neighbour(&mut neighbours[usize::from(entry.address.is_ipv6())], *entry);
    }
    let mut fdb = Seen::default();
    actual.fdb.iter().for_each(|entry| diff.entry(&mut fdb, *entry));
    diff.changes(routes, neighbours, fdb)
}

/// What the kernel has after the changes.
fn applied(actual: &Actual, changes: &[Change]) -> Actual {
    let mut after = actual.clone();
    for change in changes {
        match change {
            Change::Create(route) => after.routes.push(route.clone()),
            Change::Replace(route) => {
                after.routes.retain(|r| (r.dst, r.priority) != (route.dst, route.priority));
                after.routes.push(route.clone());
            }
            Change::Delete(route) => after.routes.retain(|r| r != route),
            Change::Neighbour(entry) => {
                after.neighbours.retain(|n| n.address != entry.address);
                after.neighbours.push(*entry);
            }
            Change::DeleteNeighbour(entry) => after.neighbours.retain(|n| n != entry),
            Change::Fdb(entry) => {
                after.fdb.retain(|f| f.mac != entry.mac);
                after.fdb.push(*entry);
            }
            Change::DeleteFdb(entry) => after.fdb.retain(|f| f != entry),
        }
    }
    after
}

#[test]
fn from_nothing_all_is_made_in_the_order_of_need() {
    let desired = desired();
    let changes = diff(&desired, Some(7), &Actual::default(), &all_known());
    assert!(matches!(changes[0], Change::Neighbour(_)) && matches!(changes[1], Change::Fdb(_)));
    assert_eq!(changes.len(), 6);
    let after = applied(&Actual::default(), &changes);
    assert_eq!(diff(&desired, Some(7), &after, &all_known()), []);
}

#[test]
fn each_alteration_is_one_change() {
    let desired = desired();
    let whole =
        applied(&Actual::default(), &diff(&desired, Some(7), &Actual::default(), &all_known()));
    for at in 0..whole.routes.len() {
        let mut gone = whole.clone();
        gone.routes.remove(at);
        assert_eq!(diff(&desired, Some(7), &gone, &all_known()).len(), 1);
        let mut altered = whole.clone();
        altered.routes[at].mtu = Some(1400);
        let changes = diff(&desired, Some(7), &altered, &all_known());
        assert!(matches!(changes[..], [Change::Replace(_)]), "{changes:?}");
        assert_eq!(applied(&altered, &changes).routes.len(), whole.routes.len());
    }
    let mut altered = whole.clone();
    altered.neighbours[0].mac = Mac([2; 6]);
    altered.fdb[0].dst = None;
    assert_eq!(diff(&desired, Some(7), &altered, &all_known()).len(), 2);
}

#[test]
fn what_is_not_wanted_goes_last_or_stays_by_a_kept_set() {
    let desired = desired();
    let mut more =
        applied(&Actual::default(), &diff(&desired, Some(7), &Actual::default(), &all_known()));
    let stale = Route { protocol: PROTOCOL, ..Route::blackhole(cidr("10.1.9.0/24")) };
    more.routes.push(stale);
    more.routes.remove(0);
    let changes = diff(&desired, Some(7), &more, &all_known());
    assert_eq!(changes.iter().map(Change::deletes).collect::<Vec<_>>(), [false, true]);
    assert_eq!(diff(&desired, Some(7), &more, &kept_set()).len(), 1);
}

#[test]
fn without_a_tunnel_the_other_routes_are_made() {
    let changes = diff(&desired(), None, &Actual::default(), &all_known());
    assert_eq!(changes.len(), 3);
}

/// `ip route append` puts a second one beside ours.
#[test]
fn an_appended_route_goes() {
    let desired = desired();
    let mut more =
        applied(&Actual::default(), &diff(&desired, Some(7), &Actual::default(), &all_known()));
    let at = more.routes.iter().position(|route| route.source.is_some()).unwrap();
    let mut second = more.routes[at].clone();
    second.source = None;
    more.routes.push(second.clone());
    assert_eq!(diff(&desired, Some(7), &more, &all_known()), [Change::Delete(second)]);
}

#[test]
fn a_route_of_an_earlier_run_stays_until_every_peer_has_sent_its_routes() {
    let hop = |gateway: [u8; 4]| Hop { gateway: Some(gateway.into()), link: 2, onlink: false };
    let learned = |hops: &[Hop], cidr| Route {
        hops: hops.to_vec(),
        protocol: LEARNED,
        ..Route::new(cidr, None, 0)
    };
    let desired = desired();
    let mut actual =
        applied(&Actual::default(), &diff(&desired, Some(7), &Actual::default(), &all_known()));
    let stale = learned(&[hop([192, 0, 2, 9])], cidr("10.1.9.0/24"));
    let in_place = learned(&[hop([192, 0, 2, 9])], cidr("10.1.3.0/24"));
    actual.routes.retain(|route| route.dst != in_place.dst);
    actual.routes.extend([stale.clone(), in_place]);
    assert_eq!(diff(&desired, Some(7), &actual, &peers_sending(&[])), []);
    let changes = diff(&desired, Some(7), &actual, &all_known());
    // What was received in this run and is withdrawn leads nowhere.
    let received = peers_sending(&["10.1.9.0/24", "10.1.3.0/24"]);
    assert_eq!(diff(&desired, Some(7), &actual, &received), changes);
    assert!(matches!(&changes[..], [Change::Replace(_), Change::Delete(gone)] if *gone == stale));
    assert_eq!(diff(&desired, Some(7), &applied(&actual, &changes), &all_known()), []);
    // Of several hops the kernel may report another order.
    let hops = [hop([192, 0, 2, 8]), hop([192, 0, 2, 9])];
    let mut found = learned(&hops, cidr("10.1.9.0/24"));
    found.hops.reverse();
    assert!(same(&learned(&hops, cidr("10.1.9.0/24")), &found));
    found.hops.pop();
    assert!(!same(&learned(&hops, cidr("10.1.9.0/24")), &found));
}

/// By an earlier run's node set nothing is deleted, but a route that a peer has withdrawn leads nowhere.
#[test]
fn a_withdrawn_route_goes_whatever_the_node_set_is() {
    let dst = cidr("10.1.9.0/24");
    let route = Route { protocol: LEARNED, ..Route::new(dst, Some([192, 0, 2, 9].into()), 2) };
    let gone = Change::Delete(route.clone());
    let actual = Actual { routes: vec![route], ..Actual::default() };
    assert_eq!(diff(&Desired::default(), None, &actual, &kept_set()), std::slice::from_ref(&gone));
    let of_set = Change::Delete(Route { protocol: PROTOCOL, ..Route::blackhole(dst) });
    let known = kept_set();
    let none = Learned::new();
    let deletions = Deletions { convergence: &known, learned: &none };
    assert_eq!(deletions.allow(&gone), Ok(()));
    assert_eq!(deletions.allow(&of_set), Err(Stays::NoCurrentSet));
    // A peer announces it, and only the node set does not say where to.
    let learned = Learned::from([(dst, vec![].into())]);
    assert!(Deletions { learned: &learned, ..deletions }.allow(&gone).is_err());
    let known = peers_sending(&[]);
    let deletions = Deletions { convergence: &known, learned: &none };
    assert_eq!(deletions.allow(&gone), Err(Stays::PeersSending));
}
