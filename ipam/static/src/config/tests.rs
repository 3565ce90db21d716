use super::*;
use cni::{Args, Command, Env};
use serde_json::json;

fn load_with(object: Value, args: &str) -> Result<Config> {
    let Value::Object(mut object) = object else { panic!("an object") };
    object.entry("name").or_insert(json!("n"));
    object.entry("cniVersion").or_insert(json!("1.0.0"));
    let env = Env {
        command: Command::Add,
        container_id: "c".into(),
        netns: None,
        ifname: "eth0".into(),
        args: Args::parse(args).unwrap(),
        path: Vec::new(),
    };
    // Leniently: what the protocol itself defines is not under test.
    let conf = NetConf::read(object, Command::Del).unwrap();
    Config::load(&Request { env, conf, stdin: Vec::new() })
}

fn load(object: Value) -> Result<Config> {
    load_with(object, "")
}

fn two() -> Value {
    json!([{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd00:1::5/64"}])
}

/// Each address as `address/prefix gateway`.
fn texts(config: &Config) -> Vec<String> {
    let text = |entry: &Entry| match entry.gateway {
        Some(gateway) => format!("{} {gateway}", entry.address),
        None => entry.address.to_string(),
    };
    config.addresses.iter().map(text).collect()
}

#[test]
fn keys_in_any_case() {
    let config = load(json!({"IPAM": {
        "ADDRESSES": [{"Address": "10.1.0.5/24", "GATEWAY": "10.1.0.1"}],
        "Routes": [{"dst": "0.0.0.0/0", "mtu": 1400}],
        "DNS": {"Nameservers": ["192.0.2.3"], "search": ["example.com"]},
    }}))
    .unwrap();
    assert_eq!(texts(&config), ["10.1.0.5/24 10.1.0.1"]);
    assert_eq!(config.routes[0].mtu, Some(1400));
    assert_eq!(config.dns.nameservers, ["192.0.2.3"]);
}

#[test]
fn cni_args_are_added_and_both_requests_replace() {
    let object = |more: Value| {
        let mut object = json!({"ipam": {"addresses": two()}});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let args = "IP=10.2.0.5/24, 10.3.0.5/24;GATEWAY=10.3.0.1,10.2.0.254";
    let all = load_with(object(json!({})), args).unwrap();
    let own = ["10.1.0.5/24 10.1.0.1", "fd00:1::5/64"];
    let added = ["10.2.0.5/24 10.2.0.254", "10.3.0.5/24 10.3.0.1"];
    assert_eq!(texts(&all), [own, added].concat());
    let by_args = json!({"args": {"cni": {"ips": ["10.4.0.5/24"]}}});
    assert_eq!(texts(&load_with(object(by_args.clone()), args).unwrap()), ["10.4.0.5/24"]);
    let mut both = by_args;
    both["runtimeConfig"] = json!({"ips": ["10.5.0.5/24"]});
    assert_eq!(texts(&load_with(object(both), args).unwrap()), ["10.5.0.5/24"]);
    let empty = json!({"runtimeConfig": {"ips": []}, "args": {"cni": {"ips": null}}});
    assert_eq!(texts(&load(object(empty)).unwrap()), own);
}

/// As the reference: the configured addresses have gateways of their own.
#[test]
fn gateway_of_cni_args_is_for_addresses_of_cni_args() {
    let config = load_with(json!({"ipam": {"addresses": two()}}), "GATEWAY=10.1.0.9").unwrap();
    assert_eq!(texts(&config), ["10.1.0.5/24 10.1.0.1", "fd00:1::5/64"]);
}

#[test]
fn the_same_address_twice_is_one() {
    let object = json!({"ipam": {"addresses": two()}, "cniVersion": "0.2.0"});
    let config = load_with(object, "IP=10.1.0.5/24;GATEWAY=10.1.0.7").unwrap();
    assert_eq!(texts(&config), ["10.1.0.5/24 10.1.0.7", "fd00:1::5/64"]);
}

#[test]
fn ipv4_in_ipv6_notation_is_ipv4() {
    let list = json!([{"address": "::ffff:10.1.0.5/120", "gateway": "::ffff:10.1.0.1"}]);
    let config = load(json!({"ipam": {"addresses": list}})).unwrap();
    assert_eq!(texts(&config), ["10.1.0.5/24 10.1.0.1"]);
}

#[test]
fn one_address_per_family_before_0_3_0() {
    let list = json!([{"address": "10.1.0.5/24"}, {"address": "10.1.0.6/24"}]);
    for (version, allowed) in [("0.1.0", false), ("0.2.0", false), ("0.3.0", true)] {
        let loaded = load(json!({"cniVersion": version, "ipam": {"addresses": list}}));
        assert_eq!(loaded.is_ok(), allowed, "{version}");
    }
    assert!(load(json!({"cniVersion": "0.2.0", "ipam": {"addresses": two()}})).is_ok());
}

/// As in the reference, a configured address that is replaced is not looked at.
#[test]
fn what_is_replaced_is_not_validated() {
    let mut object = json!({"ipam": {"addresses": [{"address": "nonsense"}]}});
    assert!(load(object.clone()).is_err());
    object["runtimeConfig"] = json!({"ips": ["10.5.0.5/24"]});
    assert!(load(object).is_ok());
}

#[test]
fn errors_name_key_and_value() {
    let address = |text: &str| json!({"ipam": {"addresses": [{"address": text}]}});
    let config = |value: Value| load(value).unwrap_err();
    for text in ["", "10.1.0.5", "10.1.0.5/33", "10.1.0/24", "::ffff:10.1.0.5/40/1"] {
        let error = config(address(text));
        let wanted =
            format!("the 'address' field is expected to be in CIDR notation, got: '{text}'");
        assert_eq!((error.code, error.msg), (7, wanted));
        assert!(error.details.ends_with("ipam.addresses[0].address"), "{}", error.details);
    }
    let error =
        config(json!({"ipam": {"addresses": [{"address": "10.1.0.5/24", "gateway": "x"}]}}));
    assert_eq!(error.details, "ipam.addresses[0].gateway: invalid IP address: x");
    for keys in
        [json!({"runtimeConfig": {"ips": ["10.1"]}}), json!({"args": {"cni": {"ips": ["10.1"]}}})]
    {
        let mut object = json!({"ipam": {}});
        object.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let wanted = "an entry in the 'ips' field is NOT in CIDR notation, got: '10.1'";
        assert_eq!(config(object).msg, wanted);
    }
    assert_eq!(config(json!({})).msg, "IPAM config missing 'ipam' key");
    let by_args = |args: &str| load_with(json!({"ipam": {}}), args).unwrap_err();
    for (args, wanted) in [
        ("IP=10.1", "the 'ip' field is expected to be in CIDR notation, got: '10.1'"),
        ("GATEWAY=10.1.0.1/24", "invalid gateway address: 10.1.0.1/24"),
        ("MAC=1", "CNI_ARGS: unknown args [\"MAC=1\"]"),
    ] {
        let error = by_args(args);
        assert_eq!((error.code, error.msg.as_str()), (4, wanted));
    }
}
