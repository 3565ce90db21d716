//! Plans as data.

use super::*;
use cni::{Command, Env, Interface, Ip, NetConf};
use std::path::PathBuf;

/// Interfaces of the pod have a `!` before their name.
fn plan(policy: Policy, interfaces: &[&str], ips: &[&str]) -> Result<Vec<Item>> {
    let config =
        Config { policy, admin: "CNI-ADMIN".to_owned(), run_dir: PathBuf::from("/run/ferrule") };
    let stdin = br#"{"cniVersion": "1.1.0", "name": "pods", "type": "firewall"}"#.to_vec();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), Command::Check).unwrap();
    let env = Env::read("STATUS", &|_| None).unwrap();
    let interface = |name: &&str| {
        let (pods, name) = name.strip_prefix('!').map_or((false, *name), |name| (true, name));
        let sandbox = if pods { "/run/netns/pod" } else { "" };
        Interface { name: name.to_owned(), sandbox: sandbox.to_owned(), ..Interface::default() }
    };
    let ip = |text: &&str| Ip { interface: None, address: text.parse().unwrap(), gateway: None };
    let result = CniResult {
        interfaces: interfaces.iter().map(interface).collect(),
        ips: ips.iter().map(ip).collect(),
        ..CniResult::default()
    };
    config.plan(&Request { env, conf, stdin }, &result, "mark")
}

fn item(address: &str, isolation: Option<Isolation>) -> Item {
    Item::Rule(Rule::Forwarded(Forwarded {
        address: address.parse().unwrap(),
        isolation,
        admin: "CNI-ADMIN".to_owned(),
        comment: "mark".to_owned(),
    }))
}

#[test]
fn each_address_once() {
    let ips = ["10.1.0.5/24", "fd00:1::5/64", "10.1.0.5/32"];
    let wanted = vec![item("10.1.0.5", None), item("fd00:1::5", None)];
    assert_eq!(plan(Policy::Open, &[], &ips).unwrap(), wanted);
    assert_eq!(plan(Policy::Open, &[], &[]).unwrap(), vec![]);
}

#[test]
fn a_policy_is_of_the_first_interface() {
    for (policy, isolated) in [(Policy::SameBridge, false), (Policy::Isolated, true)] {
        let isolation = Some(Isolation { bridge: "cni0".to_owned(), isolated });
        let planned = plan(policy, &["cni0", "veth0", "!eth0"], &["10.1.0.5/24"]).unwrap();
        assert_eq!(planned, vec![item("10.1.0.5", isolation)]);
    }
}

#[test]
fn a_policy_without_a_bridge_is_refused() {
    for (interfaces, wanted) in [
        (&[][..], "interface needs to be set for ingress policy \"same-bridge\""),
        (&["!eth0", "cni0"], "\"eth0\", is the pod's and no bridge; remove ingressPolicy"),
        (&[""], "got empty bridge name"),
        (&["sixteen-bytes-xx"], "\"sixteen-bytes-xx\" is no name of a bridge"),
    ] {
        let error = plan(Policy::SameBridge, interfaces, &["10.1.0.5/24"]).unwrap_err();
        assert_eq!(error.code, 7);
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
