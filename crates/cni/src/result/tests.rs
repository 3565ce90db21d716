use super::*;
use proptest::prelude::*;
use serde_json::json;

fn dual() -> CniResult {
    let mut default = Route::new("::/0".parse().unwrap(), Some("fd00::1".parse().unwrap()));
    default.mtu = Some(1400);
    CniResult {
        interfaces: vec![
            Interface { name: "cni0".into(), mtu: Some(1500), ..Interface::default() },
            Interface { name: "eth0".into(), sandbox: "/ns".into(), ..Interface::default() },
        ],
        ips: vec![
            Ip {
                interface: Some(1),
                address: parse_cidr("10.0.0.5/16").unwrap(),
                gateway: Some("10.0.0.1".parse().unwrap()),
            },
            Ip { interface: Some(1), address: parse_cidr("fd00::5/64").unwrap(), gateway: None },
        ],
        routes: vec![Route::new("0.0.0.0/0".parse().unwrap(), None), default],
        dns: Dns { nameservers: vec!["1.1.1.1".into()], ..Dns::default() },
    }
}

fn written(version: Version) -> Value {
    serde_json::from_slice(&dual().to_json(version).unwrap()).unwrap()
}

#[test]
fn version_0_2_0_holds_one_address_of_each_family() {
    assert_eq!(
        written(Version::V0_2_0),
        json!({
            "cniVersion": "0.2.0",
            "ip4": {"ip": "10.0.0.5/16", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
            "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
            "dns": {"nameservers": ["1.1.1.1"]}
        })
    );
    let error = CniResult::default().to_json(Version::V0_1_0).unwrap_err();
    assert_eq!(error.msg, "cannot convert: no valid IP addresses");
}

#[test]
fn version_0_4_0_tells_the_family_and_1_0_0_does_not() {
    let old = written(Version::V0_4_0);
    assert_eq!(
        old["ips"][0],
        json!({"version": "4", "interface": 1, "address": "10.0.0.5/16", "gateway": "10.0.0.1"})
    );
    assert_eq!(old["interfaces"][0], json!({"name": "cni0"}));
    assert_eq!(old["routes"][1], json!({"dst": "::/0", "gw": "fd00::1", "mtu": 1400}));
    assert_eq!(written(Version::V1_0_0)["ips"][0].get("version"), None);
}

#[test]
fn version_1_1_0_keeps_all() {
    let new = written(Version::V1_1_0);
    assert_eq!(new["interfaces"][0], json!({"name": "cni0", "mtu": 1500}));
    assert_eq!(new["routes"][1], json!({"dst": "::/0", "gw": "fd00::1", "mtu": 1400}));
    assert_eq!(CniResult::read(&new).unwrap(), dual());
}

/// As the reference's newest writes it.
#[test]
fn an_empty_dns_is_written_up_to_0_4_0_alone() {
    let text = |version| String::from_utf8(CniResult::default().to_json(version).unwrap()).unwrap();
    assert_eq!(text(Version::V0_4_0), "{\n    \"cniVersion\": \"0.4.0\",\n    \"dns\": {}\n}\n");
    assert_eq!(text(Version::V1_0_0), "{\n    \"cniVersion\": \"1.0.0\"\n}\n");
    assert!(written(Version::V1_1_0)["dns"]["nameservers"].is_array());
}

#[test]
fn wrong_addresses_are_named() {
    let read = |value| CniResult::read(&value).unwrap_err().to_string();
    assert_eq!(
        read(json!({"ips": [{"address": "10.0.0.1"}]})),
        "ips[0].address: invalid CIDR address: 10.0.0.1"
    );
    assert_eq!(
        read(json!({"ip4": {"ip": "10.0.0.1/33"}})),
        "ip4.ip: invalid CIDR address: 10.0.0.1/33"
    );
    assert_eq!(
        read(json!({"routes": [{"dst": "0.0.0.0/0", "gw": "x"}]})),
        "routes[0].gw: invalid IP address: x"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read(addresses in prop::collection::vec((any::<std::net::IpAddr>(), 0u8..=32), 1..4),
                               version in 2usize..7) {
        let ips = addresses.into_iter().map(|(address, prefix)| Ip {
            interface: None, address: IpNetwork::new(address, prefix).unwrap(), gateway: None,
        }).collect();
        let result = CniResult { ips, ..CniResult::default() };
        let text = result.to_json(Version::ALL[version]).unwrap();
        let value = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!(CniResult::read(&value).unwrap(), result);
    }
}
