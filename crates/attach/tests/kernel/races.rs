//! Many at once.

use crate::check::{bridge, gateway, veth};
use crate::common::{Pod, in_netns, sh};
use attach::{Family, Item, Kernel, Mac, Place};
use std::sync::Barrier;

const THREADS: u8 = 8;

/// Runs the same in eight threads of the namespace, started together.
fn at_once(work: impl Fn(u8) + Sync) {
    let barrier = Barrier::new(usize::from(THREADS));
    std::thread::scope(|scope| {
        for i in 0..THREADS {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(i);
            });
        }
    });
}

#[test]
fn the_first_pods_of_a_node_make_one_bridge() {
    for _ in 0..10 {
        in_netns(|| {
            let items = vec![bridge(), gateway("10.1.0.1/24", false), gateway("fd00::1/64", false)];
            at_once(|_| {
                let mut kernel = Kernel::open(None).unwrap();
                kernel.apply(&items, &mut Vec::new()).unwrap();
                assert_eq!(kernel.check(&items).unwrap(), Vec::<String>::new());
            });
            assert_eq!(sh("ip -br link | cut -d' ' -f1"), "lo\nbr0\n");
            assert_eq!(sh("ip -br -4 addr show br0 | grep -o '10[^ ]*'"), "10.1.0.1/24\n");
        });
    }
}

#[test]
fn whole_pods_come_and_go_together() {
    in_netns(|| {
        let pods: Vec<_> = (0..THREADS).map(|_| Pod::new()).collect();
        at_once(|i| {
            let mut pair = veth(&format!("veth{i}"), &format!("ferrule c{i}"));
            pair.host_mac = Some(Mac([0xfe, 0, 0, 0, 0, i]));
            pair.pod_mac = Some(Mac([0x0a, 0, 0, 0, 0, i]));
            let items = vec![
                bridge(),
                Item::Veth(pair),
                Item::Up(Place::Pod, "eth0".to_owned()),
                Item::Up(Place::Host, format!("veth{i}")),
                gateway("10.1.0.1/24", false),
                Item::Forwarding(Family::V4),
                Item::Address("eth0".to_owned(), format!("10.1.0.1{i}/24").parse().unwrap(), false),
            ];
            let mut kernel = Kernel::open(Some(&pods[usize::from(i)].path())).unwrap();
            for _ in 0..5 {
                let mut done = Vec::new();
                kernel.apply(&items, &mut done).unwrap();
                kernel.wait_running(&format!("veth{i}"), "eth0").unwrap();
                assert_eq!(kernel.check(&items).unwrap(), Vec::<String>::new());
                assert!(kernel.remove(&done, &format!("ferrule c{i}")).is_empty());
                kernel = Kernel::open(Some(&pods[usize::from(i)].path())).unwrap();
            }
        });
        assert_eq!(sh("ip -br link | cut -d' ' -f1"), "lo\nbr0\n");
    });
}
