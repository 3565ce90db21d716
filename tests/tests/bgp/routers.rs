//! A routed pod takes no addresses and no routes from what comes in by its link.

use std::net::Ipv4Addr;
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::routers::{self, mac_of, taken};
use ferrule_tests::{Node, Pod, raw, within};
use serde_json::json;

#[test]
fn a_pod_takes_no_router_advertisement_and_no_redirect() {
    for config in [crate::dual(), ferrule_tests::conf::with(&crate::dual(), &one_family())] {
        let (node, pod, open) = (Node::new(), Pod::new(), Pod::new());
        let attachment = node.attach(&config, &pod);
        let result = attachment.add();
        let accepting = node.attach(&config, &open).with(&json!({"acceptRa": true}));
        let accepted = accepting.add();
        let astray = Ipv4Addr::new(10, 1, 0, 77);
        for (pod, host) in [(&pod, 2), (&open, 3)] {
            pod.settle();
            pod.sh(&format!(
                "ip -6 route add 2001:db8:9::/64 via {} dev eth0
                ip neigh replace {astray} lladdr 02:00:00:00:00:77 dev eth0",
                routers::ROUTER6
            ));
            let link = crate::veth(if host == 2 { &result } else { &accepted });
            let (from, to) = (mac_of(&node, link), mac_of(pod, "eth0"));
            let gateway = crate::GATEWAY4.parse().unwrap();
            let host = Ipv4Addr::new(10, 1, 0, host);
            let frames = [
                routers::advertisement(from, to),
                routers::redirect6(from, to),
                routers::redirect4(from, to, gateway, astray, host),
            ];
            for _ in 0..3 {
                raw::send_all(&node, link, &frames);
            }
        }
        let took = within(Duration::from_secs(5), || {
            let all = taken(&open, astray);
            ["proto ra", "2001:db8:bad:"]
                .iter()
                .all(|part| all.iter().any(|line| line.contains(part)))
                .then_some(())
        });
        assert!(took.is_some(), "a pod with acceptRa takes it: {:?}", taken(&open, astray));
        assert_eq!(taken(&pod, astray), [""; 0], "a pod took what it should not");
        attachment.check(&result);
        accepting.check(&accepted);
        let altered = "echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects";
        pod.sh(altered);
        let error = attachment.try_check(&result).err();
        assert!(error.text().contains("all/accept_redirects"), "{error:?}");
    }
}

fn one_family() -> serde_json::Value {
    json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}})
}
