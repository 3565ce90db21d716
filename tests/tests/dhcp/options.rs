//! Options requested and provided, as a server sees and answers them.

use crate::lan::{Lan, SERVER, address};
use crate::{Daemon, pods};
use ferrule_tests::Pod;
use ferrule_tests::bins::workspace;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use serde_json::{Value, json};

#[test]
fn routes_that_are_requested_are_set() {
    let lan = Lan::new();
    let _dnsmasq = lan.dnsmasq(
        "--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m --dhcp-option=3,10.9.0.1 \
         --dhcp-option=121,192.0.2.0/24,10.9.0.7,0.0.0.0/0,10.9.0.8",
    );
    let _daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let ipam = json!({"request": [{"option": "121"}, {"option": "routers"}], "priority": 70});
    let attachment = lan.node.attach(&pods(&ipam), &pod);
    let result = attachment.add();
    let routes = pod.run("ip -4 route");
    assert!(routes.contains("192.0.2.0/24 via 10.9.0.7 dev eth0 metric 70"), "{routes}");
    assert!(routes.contains("default via 10.9.0.8 dev eth0 metric 70"), "{routes}");
    assert_eq!(result["routes"][0]["priority"], 70);
    // Those that are not requested are not sent.
    let other = Pod::new();
    let bare = lan.node.attach(&pods(&json!({})), &other).add();
    assert_eq!(bare["routes"], json!([{"dst": "0.0.0.0/0", "gw": SERVER}]));
}

#[test]
fn what_is_provided_reaches_the_server() {
    let lan = Lan::new();
    let _dnsmasq = lan.dnsmasq("--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m");
    let _daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let ipam =
        json!({"provide": [{"option": "host-name", "value": "plain", "fromArg": "K8S_POD_NAME"}]});
    let attachment = lan.node.attach(&pods(&ipam), &pod).args("IgnoreUnknown=1;K8S_POD_NAME=web-0");
    let result = attachment.add();
    let leases = lan.server.read("/run/dnsmasq.leases");
    let own = address(&pod);
    assert!(leases.contains(&format!("{own} web-0 00:")), "{leases}");
    let id: String =
        format!("{}/pods/eth0", pod.id()).bytes().map(|byte| format!(":{byte:02x}")).collect();
    assert!(leases.contains(&format!("00{id}")), "{leases}");
    attachment.del(Some(&result));
    let released = || (!lan.server.read("/run/dnsmasq.leases").contains(&own)).then_some(());
    ferrule_tests::within(crate::PATIENCE, released).expect("dnsmasq has no lease any more");
}

#[test]
fn name_service_that_is_requested_is_in_the_result() {
    let lan = Lan::new();
    let _dnsmasq = lan.dnsmasq(
        "--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m --dhcp-option=6,10.9.0.53 \
         --domain=example.com --dhcp-option=option:domain-search,a.example,b.example",
    );
    let _daemon = Daemon::start(&lan.node, "");
    let pod = Pod::new();
    let request = json!({"request": [{"option": "domain-name-servers"}, {"option": "15"}, {"option": "119"}]});
    let result = lan.node.attach(&pods(&request), &pod).add();
    let dns = json!({"nameservers": ["10.9.0.53"], "domain": "example.com",
        "search": ["a.example", "b.example"]});
    assert_eq!(result["dns"], dns);
}

#[test]
fn answers_come_by_broadcast_where_the_flag_says_so() {
    let lan = Lan::new();
    let _dnsmasq = lan.dnsmasq("--dhcp-range=10.9.0.50,10.9.0.99,255.255.255.0,10m");
    let sniffer = ferrule_tests::raw::Sniffer::on(&lan.server, "eth0");
    let _daemon = Daemon::start(&lan.node, "-broadcast");
    let pod = Pod::new();
    lan.node.attach(&pods(&json!({})), &pod).add();
    // From the server's port to the client's, to every station.
    let offer = |frame: &[u8]| {
        frame.len() > 300 && frame[34..38] == [0, 67, 0, 68] && frame[..6] == [0xff; 6]
    };
    assert!(sniffer.wait(crate::PATIENCE, offer).is_some());
}

/// The configuration to copy: pods on a bridge that has an uplink already.
#[test]
fn the_example_of_conf_works() {
    let lan = Lan::new();
    let _dhcpd = lan.dhcpd(600, (100, 199), "");
    lan.node.sh("ip link add br0 type bridge; ip link set br0 up; ip link set lan0 master br0");
    let _daemon = Daemon::start(&lan.node, "");
    let text = std::fs::read_to_string(workspace().join("conf/10-dhcp.conflist")).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let mut config = list["plugins"][0].clone();
    config["cniVersion"] = list["cniVersion"].clone();
    config["name"] = list["name"].clone();
    let pod = Pod::new();
    let attachment = lan.node.attach(&config, &pod).args("IgnoreUnknown=1;K8S_POD_NAME=web-0");
    let result = attachment.add();
    ping(&pod, SERVER);
    assert!(lan.server.read("/run/dhcpd.leases").contains("client-hostname \"web-0\""));
    attachment.check(&result);
    attachment.del(Some(&result));
}
