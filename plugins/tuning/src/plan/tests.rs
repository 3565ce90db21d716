//! The values in their order, and what becomes of the result.

use super::*;
use crate::sysctl::Sysctl;
use attach::Mac;
use cni::{Interface, Ip};
use std::path::PathBuf;

fn config() -> Config {
    Config {
        sysctls: vec![Sysctl {
            key: "net.core.somaxconn".to_owned(),
            path: "net/core/somaxconn".to_owned(),
            value: "512".to_owned(),
        }],
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: Some(1400),
        promiscuous: true,
        all_multicast: Some(false),
        tx_queue_length: Some(0),
        data_dir: PathBuf::from("/d"),
        run_dir: PathBuf::from("/r"),
    }
}

fn previous() -> CniResult {
    let interface = |name: &str, sandbox: &str| Interface {
        name: name.to_owned(),
        mac: "0a:58:0a:01:00:02".to_owned(),
        mtu: Some(1500),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    let interfaces =
        vec![interface("veth1", ""), interface("eth0", "/ns"), interface("eth1", "/ns")];
    CniResult { interfaces, ..CniResult::default() }
}

#[test]
fn sysctls_come_first_and_then_the_links_values() {
    let items = items(&config(), "eth0", &previous()).unwrap();
    let names: Vec<_> = items.iter().map(ToString::to_string).collect();
    let wanted = [
        "sysctl net/core/somaxconn",
        "MAC address of eth0",
        "promiscuous mode of eth0",
        "MTU of eth0",
        "all-multicast mode of eth0",
        "transmit queue length of eth0",
    ];
    assert_eq!(names, wanted);
    let unset = Config {
        sysctls: vec![],
        mac: None,
        mtu: None,
        promiscuous: false,
        all_multicast: None,
        tx_queue_length: None,
        ..config()
    };
    assert_eq!(super::items(&unset, "eth0", &previous()).unwrap(), []);
    assert_eq!(result(&unset, "eth0", &previous()), previous());
}

#[test]
fn the_result_says_what_the_interface_has_now() {
    let result = result(&config(), "eth0", &previous());
    let seen: Vec<_> = result.interfaces.iter().map(|i| (i.mac.as_str(), i.mtu)).collect();
    let before = ("0a:58:0a:01:00:02", Some(1500));
    assert_eq!(seen, [before, ("02:00:00:00:00:01", Some(1400)), before]);
}

#[test]
fn ipv6_needs_an_mtu_of_1280() {
    let ip = Ip { interface: Some(1), address: "fd00:1::2/64".parse().unwrap(), gateway: None };
    let previous = CniResult { ips: vec![ip], ..previous() };
    let small = Config { mtu: Some(1279), ..config() };
    let error = items(&small, "eth0", &previous).unwrap_err();
    assert!(error.msg.contains("MTU 1279 is too small for the address fd00:1::2/64"), "{error}");
}
