//! Keys.

use super::*;
use cni::{Command, Env, NetConf};
use serde_json::{Value, json};

fn read(keys: &Value) -> Result<Config> {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "firewall"});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let stdin = conf.to_string().into_bytes();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), Command::Check).unwrap();
    let env = Env::read("STATUS", &|_| None).unwrap();
    Config::read(&Request { env, conf, stdin })
}

#[test]
fn keys_and_their_defaults() {
    let bare = Config {
        policy: Policy::Open,
        admin: "CNI-ADMIN".to_owned(),
        run_dir: PathBuf::from("/run/ferrule"),
    };
    assert_eq!(read(&json!({})).unwrap(), bare);
    for backend in ["", "iptables", "nftables", "auto"] {
        assert_eq!(read(&json!({"backend": backend, "firewalldZone": "x"})).unwrap(), bare);
    }
    let keys =
        json!({"INGRESSPOLICY": "same-bridge", "iptablesAdminChainName": "MINE", "runDir": "/x"});
    let full = Config {
        policy: Policy::SameBridge,
        admin: "MINE".to_owned(),
        run_dir: PathBuf::from("/x"),
    };
    assert_eq!(read(&keys).unwrap(), full);
    assert_eq!(read(&json!({"ingressPolicy": "isolated"})).unwrap().policy, Policy::Isolated);
    assert_eq!(read(&json!({"ingressPolicy": "open"})).unwrap().policy, Policy::Open);
}

#[test]
fn what_is_invalid_is_refused_with_key_and_value() {
    let long = "x".repeat(29);
    for (keys, code, wanted) in [
        (json!({"backend": "firewalld"}), 2, "backend \"firewalld\" is not served"),
        (json!({"ingressPolicy": "closed"}), 7, "unknown ingress policy: \"closed\""),
        (json!({"iptablesAdminChainName": "FORWARD"}), 7, "iptablesAdminChainName \"FORWARD\""),
        (json!({"iptablesAdminChainName": "CNI-FORWARD"}), 7, "\"CNI-FORWARD\""),
        (json!({"iptablesAdminChainName": "DROP"}), 7, "iptablesAdminChainName \"DROP\""),
        (json!({"iptablesAdminChainName": "-j"}), 7, "\"-j\""),
        (json!({"iptablesAdminChainName": "a b"}), 7, "\"a b\""),
        (json!({"iptablesAdminChainName": "é"}), 7, "\"é\""),
        (json!({"iptablesAdminChainName": long}), 7, "at most 28 bytes"),
        (json!({"runDir": "run"}), 7, "runDir \"run\""),
    ] {
        let error = read(&keys).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
