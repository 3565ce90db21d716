//! Token bucket filters and redirections, with `tc` as the oracle.

use crate::common::{in_netns, ip, look, open, tc};
use net::qdisc::{self, Bucket, INGRESS_HANDLE, TBF_HANDLE, TICK_NS, Tbf};
use net::{Mac, filter, link};

/// A link with a token bucket filter as `tc` shows it, and as we read it.
#[track_caller]
fn shown(tbf: Tbf, wanted: &'static str) {
    in_netns(move || {
        ip("link add limited type veth peer name other");
        let mut socket = open();
        let index = look(&mut socket, "limited").index;
        socket.set(&qdisc::add_tbf(index, &tbf, "limited")).unwrap();
        let shown = tc("qdisc show dev limited");
        assert!(shown.contains(wanted), "{shown}");
        let found = socket.get(&qdisc::at(index, qdisc::ROOT, "limited")).unwrap().unwrap();
        assert_eq!((found.kind.as_str(), found.handle), ("tbf", TBF_HANDLE));
        let report = found.tbf.unwrap();
        assert_eq!((report.rate, report.limit), (tbf.rate, tbf.limit));
        let ticks = match tbf.bucket {
            Bucket::Bytes(burst) => {
                u128::from(burst) * 1_000_000_000 / u128::from(tbf.rate * TICK_NS)
            }
            Bucket::Ticks(ticks) => ticks.into(),
        };
        assert!((ticks as u32).abs_diff(report.ticks) <= 1 + (ticks >> 30) as u32, "{report:?}");
    });
}

#[test]
fn rates_and_bursts_are_those_asked_for_from_tiny_to_large() {
    shown(Tbf { rate: 1, bucket: Bucket::Bytes(1), limit: 1514 }, "rate 8bit burst 1b");
    shown(Tbf { rate: 12, bucket: Bucket::Bytes(10_000), limit: 10_000 }, "rate 96bit burst");
    shown(
        Tbf { rate: 1_000_000, bucket: Bucket::Bytes(100_000), limit: 125_000 },
        "rate 8Mbit burst 100000b lat 25ms",
    );
    let ticks = Bucket::Ticks(1_562_500);
    shown(Tbf { rate: 1_000_000, bucket: ticks, limit: 9 }, "rate 8Mbit burst 100000b");
    let ticks = Bucket::Ticks(u32::MAX);
    shown(Tbf { rate: 1000, bucket: ticks, limit: 9 }, "rate 8Kbit burst 274877b");
    shown(
        Tbf { rate: 12_500_000_000, bucket: Bucket::Bytes(8000), limit: 312_508_000 },
        "rate 100Gbit burst",
    );
    shown(
        Tbf { rate: u32::MAX.into(), bucket: Bucket::Bytes(1 << 20), limit: 1 << 20 },
        "rate 34359Mbit burst",
    );
    shown(
        Tbf { rate: 1 << 32, bucket: Bucket::Bytes(1 << 20), limit: 1 << 20 },
        "rate 34359Mbit burst",
    );
    shown(Tbf { rate: 125_000, bucket: Bucket::Bytes(u32::MAX), limit: u32::MAX }, "rate 1Mbit");
}

#[test]
fn a_second_root_qdisc_is_refused_and_ours_can_be_replaced() {
    in_netns(|| {
        ip("link add limited type veth peer name other");
        let mut socket = open();
        let index = look(&mut socket, "limited").index;
        assert_eq!(socket.get(&qdisc::at(index, qdisc::ROOT, "limited")).unwrap(), None);
        let tbf = Tbf { rate: 1000, bucket: Bucket::Bytes(2000), limit: 3000 };
        socket.set(&qdisc::add_tbf(index, &tbf, "limited")).unwrap();
        let refused = socket.set(&qdisc::add_tbf(index, &tbf, "limited")).unwrap_err();
        assert!(refused.is_exists(), "{refused}");
        let faster = Tbf { rate: 5000, ..tbf };
        socket.set(&qdisc::replace_tbf(index, &faster, "limited")).unwrap();
        assert!(tc("qdisc show dev limited").contains("rate 40Kbit"));
        socket.set(&qdisc::del(index, TBF_HANDLE, qdisc::ROOT, "limited")).unwrap();
        assert!(!tc("qdisc show dev limited").contains("tbf"));
        assert_eq!(socket.get(&qdisc::at(index, qdisc::ROOT, "limited")).unwrap(), None);
    });
}

#[test]
fn a_redirection_is_shown_read_and_removed() {
    in_netns(|| {
        ip("link add source type veth peer name other");
        let mut socket = open();
        let mac = Mac([6, 0, 0, 0, 0, 1]);
        socket.set(&link::add_ifb("target", mac, 1400)).unwrap();
        let target = look(&mut socket, "target");
        assert_eq!((target.kind.as_str(), target.mac, target.mtu), ("ifb", mac, 1400));
        assert!(!target.up);
        let index = look(&mut socket, "source").index;
        assert_eq!(socket.get(&qdisc::at(index, qdisc::INGRESS, "source")).unwrap(), None);
        socket.set(&qdisc::add_ingress(index, "source")).unwrap();
        let found = socket.get(&qdisc::at(index, qdisc::INGRESS, "source")).unwrap();
        assert_eq!(found.unwrap().kind, "ingress");
        assert_eq!(socket.list(&filter::of_ingress(index, "source")).unwrap(), []);
        socket.set(&filter::redirect(index, target.index, "source")).unwrap();
        let shown = tc("filter show dev source ingress");
        assert!(shown.contains("protocol all pref 1 u32"), "{shown}");
        assert!(shown.contains("match 00000000/00000000 at 0"), "{shown}");
        assert!(shown.contains("mirred (Egress Redirect to device target) stolen"), "{shown}");
        let list = |socket: &mut net::Socket| socket.list(&filter::of_ingress(index, "source"));
        let [found] = &list(&mut socket).unwrap()[..] else { panic!("one filter") };
        assert_eq!((found.kind.as_str(), found.priority), ("u32", filter::PRIORITY));
        assert_eq!(found.redirect, Some(target.index));
        ip("link del target");
        let [found] = &list(&mut socket).unwrap()[..] else { panic!("one filter") };
        assert_eq!(found.redirect, Some(0), "its target is gone");
        socket.set(&filter::del(index, filter::PRIORITY, "source")).unwrap();
        assert_eq!(list(&mut socket).unwrap(), []);
        socket.set(&qdisc::del(index, INGRESS_HANDLE, qdisc::INGRESS, "source")).unwrap();
        assert!(!tc("qdisc show dev source").contains("ingress"));
    });
}

#[test]
fn filters_of_others_are_seen() {
    in_netns(|| {
        ip("link add source type veth peer name other");
        tc("qdisc add dev source clsact");
        tc("filter add dev source ingress prio 7 protocol ip u32 match u32 0 0 classid 1:1");
        let mut socket = open();
        let index = look(&mut socket, "source").index;
        let refused = socket.set(&qdisc::add_ingress(index, "source")).unwrap_err();
        assert!(refused.is_exists(), "{refused}");
        let found = socket.get(&qdisc::at(index, qdisc::INGRESS, "source")).unwrap();
        assert_eq!(found.unwrap().kind, "clsact");
        assert_eq!(socket.get(&qdisc::at(index, qdisc::ROOT, "source")).unwrap(), None);
    });
}
