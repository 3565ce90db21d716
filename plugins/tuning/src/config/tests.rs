//! Keys, where they come from, and what is refused.

use super::*;
use cni::{Env, NetConf};
use serde_json::{Value, json};
use std::ffi::OsString;

/// A call with these keys and `CNI_ARGS`.
fn request_of(stdin: &str, args: &'static str) -> Request {
    let var = move |name: &str| {
        let value = match name {
            "CNI_CONTAINERID" => "c1",
            "CNI_IFNAME" => "eth0",
            "CNI_NETNS" => "/proc/self/ns/net",
            "CNI_NETNS_OVERRIDE" => "1",
            "CNI_ARGS" => args,
            _ => return None,
        };
        Some(OsString::from(value))
    };
    let env = Env::read("ADD", &var).unwrap();
    let stdin = stdin.as_bytes().to_vec();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), Command::Add).unwrap();
    Request { env, conf, stdin }
}

fn read_with(keys: &Value, args: &'static str) -> Result<Config> {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "tuning"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    Config::read(&request_of(&conf.to_string(), args))
}

fn read(keys: &Value) -> Result<Config> {
    read_with(keys, "")
}

fn mac_of(keys: &Value, args: &'static str) -> String {
    read_with(keys, args).unwrap().mac.map(|mac| mac.to_string()).unwrap_or_default()
}

#[test]
fn keys_and_their_defaults() {
    let bare = Config {
        sysctls: vec![],
        mac: None,
        mtu: None,
        promiscuous: false,
        all_multicast: None,
        tx_queue_length: None,
        data_dir: PathBuf::from("/run/cni/tuning"),
        run_dir: PathBuf::from("/run/ferrule"),
    };
    assert_eq!(read(&json!({})).unwrap(), bare);
    let nulls = json!({"sysctl": null, "mac": null, "mtu": null, "promisc": null, "allmulti": null,
        "txQLen": null, "args": null, "runtimeConfig": null});
    assert_eq!(read(&nulls).unwrap(), bare);
    let keys = json!({"SYSCTL": {"net.ipv4.conf.IFNAME.arp_filter": "1"}, "Mac": "02:00:00:00:00:01",
        "MTU": 1400, "promisc": true, "allMulti": false, "txqlen": 0, "DataDir": "/d", "runDir": "/r",
        "ipam": {}, "nobodys": [1]});
    let full = Config {
        sysctls: vec![Sysctl {
            key: "net.ipv4.conf.IFNAME.arp_filter".to_owned(),
            path: "net/ipv4/conf/eth0/arp_filter".to_owned(),
            value: "1".to_owned(),
        }],
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: Some(1400),
        promiscuous: true,
        all_multicast: Some(false),
        tx_queue_length: Some(0),
        data_dir: PathBuf::from("/d"),
        run_dir: PathBuf::from("/r"),
    };
    assert_eq!(read(&keys).unwrap(), full);
}

#[test]
fn of_several_mac_addresses_one_holds() {
    let all = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"},
        "args": {"cni": {"mac": "02:00:00:00:00:04"}}});
    let env = "MAC=02:00:00:00:00:02";
    assert_eq!(mac_of(&all, env), "02:00:00:00:00:04");
    let two = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    assert_eq!(mac_of(&two, env), "02:00:00:00:00:03");
    let one = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": ""}});
    assert_eq!(mac_of(&one, env), "02:00:00:00:00:02");
    assert_eq!(mac_of(&one, ""), "02:00:00:00:00:01");
    let none = json!({"mac": "02:00:00:00:00:01", "args": {"cni": {"mac": ""}}});
    assert_eq!(mac_of(&none, env), "", "an empty one sets none");
}

#[test]
fn args_come_before_all_else() {
    let keys = json!({"mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 5,
        "sysctl": {"net.core.somaxconn": "1", "net.ipv4.ip_forward": "1"},
        "args": {"cni": {"mtu": 1300, "promisc": false, "allmulti": false, "txQLen": 6,
            "sysctl": {"net/core/somaxconn": "2", "net.ipv4.tcp_sack": null}, "ips": ["10.1.0.9"]}}});
    let config = read(&keys).unwrap();
    assert_eq!((config.mtu, config.promiscuous), (Some(1300), false));
    assert_eq!((config.all_multicast, config.tx_queue_length), (Some(false), Some(6)));
    let sysctls: Vec<_> =
        config.sysctls.iter().map(|sysctl| (sysctl.path.as_str(), sysctl.value.as_str())).collect();
    let wanted =
        [("net/core/somaxconn", "2"), ("net/ipv4/ip_forward", "1"), ("net/ipv4/tcp_sack", "")];
    assert_eq!(sysctls, wanted);
    let alone = json!({"args": {"cni": {"sysctl": {"net.core.somaxconn": "2"}}}});
    assert_eq!(read(&alone).unwrap().sysctls.len(), 1, "without a sysctl of the network's own");
}

#[test]
fn what_is_wrong_is_named_with_its_value() {
    for (keys, text) in [
        (json!({"mac": "zz"}), "invalid args zz for MAC addr: address zz: invalid MAC address"),
        (json!({"mac": "01:00:5e:00:00:01"}), "invalid MAC address 01:00:5e:00:00:01"),
        (json!({"mtu": -1}), "invalid MTU -1"),
        (json!({"mtu": 70000}), "invalid MTU 70000"),
        (json!({"mtu": "1400"}), "mtu"),
        (json!({"txQLen": -1}), "invalid txQLen -1"),
        (json!({"txQLen": 4_294_967_296u64}), "invalid txQLen 4294967296"),
        (json!({"dataDir": "tuning"}), "dataDir \"tuning\" is not an absolute path"),
        (json!({"sysctl": {"net.core.somaxconn": 1}}), "sysctl.net.core.somaxconn"),
        (json!({"sysctl": ["net.core.somaxconn"]}), "sysctl"),
        (
            json!({"sysctl": {"kernel.hostname": "x"}}),
            "invalid net sysctl key: \"kernel.hostname\"",
        ),
        (json!({"args": {"cni": {"sysctl": {"net/../kernel": "x"}}}}), "\"net/../kernel\""),
        (json!({"sysctl": {"net.a": "\u{0}"}}), "the value of sysctl net.a holds a NUL"),
    ] {
        let error = read(&keys).unwrap_err();
        assert_eq!(error.code, 7, "{error}");
        assert!(error.to_string().contains(text), "{error} should hold {text}");
    }
    let error = read_with(&json!({}), "NOBODYS=1").unwrap_err();
    assert_eq!(error.code, 4, "{error}");
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let conf = |sysctl: &str| {
        format!(r#"{{"cniVersion": "1.1.0", "name": "n", "type": "tuning", "sysctl": {sysctl}}}"#)
    };
    let twice = conf(r#"{"net.core.a": "1", "net.core.b": "1", "net.core.a": "1"}"#);
    let error = Config::read(&request_of(&twice, "")).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (7, "duplicated sysctl keys are not allowed"));
    assert!(
        Config::read(&request_of(&conf(r#"{"net.core.a": "1", "net.core.b": "1"}"#), "")).is_ok()
    );
}

proptest::proptest! {
    /// No key leads out of /proc/sys/net.
    #[test]
    fn keys_stay_below_net(key in "(net|kernel|\\.\\.|IFNAME)?([./]{1,2}[a-zA-Z0-9_.%-]{0,5}){0,6}") {
        if let Ok(path) = sysctl::path(&key, "eth0") {
            proptest::prop_assert!(path.starts_with("net/"), "{key} is {path}");
            let plain = |part: &str| !matches!(part, "" | "." | "..");
            proptest::prop_assert!(path.split('/').all(plain), "{key} is {path}");
        }
    }
}
