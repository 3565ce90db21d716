use super::*;
use cni::{Command, NetConf};
use serde_json::{Value, json};

fn read(keys: &Value) -> Result<Config> {
    let mut conf = json!({"name": "n", "type": "portmap", "cniVersion": "1.1.0"});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let stdin = conf.to_string().into_bytes();
    let conf = NetConf::read(NetConf::parse(&stdin)?, Command::Add)?;
    let wire: Wire = conf.decode()?;
    Config::of(wire)
}

fn one(entry: Value) -> Result<Wanted> {
    let config = read(&json!({"runtimeConfig": {"portMappings": [entry]}}))?;
    Ok(config.wanted[0].clone())
}

#[test]
fn defaults_are_the_references() {
    let config = read(&json!({})).unwrap();
    assert_eq!((config.wanted, config.sources), (Vec::new(), Sources::Near));
}

#[test]
fn snat_rules_over_masq_all() {
    for (snat, all, sources) in [
        (true, false, Sources::Near),
        (true, true, Sources::All),
        (false, false, Sources::Kept),
        (false, true, Sources::Kept),
    ] {
        let config = read(&json!({"snat": snat, "masqAll": all})).unwrap();
        assert_eq!(config.sources, sources);
    }
}

#[test]
fn a_port_is_of_the_family_of_its_host_ip() {
    let of = |host: &str| {
        let wanted = one(json!({"hostPort": 1, "containerPort": 2, "protocol": "sCtP",
            "hostIP": host}))
        .unwrap();
        ["10.1.0.5", "fd00::5"]
            .map(|pod| wanted.in_family_of(pod.parse().unwrap()).map(|port| port.to_string()))
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(of(""), [text("sctp 0.0.0.0:1"), text("sctp [::]:1")]);
    assert_eq!(of("0.0.0.0"), [text("sctp 0.0.0.0:1"), None]);
    assert_eq!(of("::"), [None, text("sctp [::]:1")]);
    assert_eq!(of("::ffff:0.0.0.0"), [text("sctp 0.0.0.0:1"), None]);
    assert_eq!(of("::ffff:192.0.2.1"), [text("sctp 192.0.2.1:1"), None]);
    assert_eq!(of("2001:db8::1"), [None, text("sctp [2001:db8::1]:1")]);
}

#[test]
fn an_error_says_which_mapping() {
    let good = json!({"hostPort": 1, "containerPort": 2, "protocol": "tcp"});
    let bad = json!({"hostPort": 1, "containerPort": 70000, "protocol": "tcp"});
    let error = read(&json!({"runtimeConfig": {"portMappings": [good, bad]}})).unwrap_err();
    assert_eq!(error.code, 7);
    assert_eq!(error.msg, "Invalid container port number: 70000");
    let details = "containerPort is 1 to 65535; it is runtimeConfig.portMappings[1]";
    assert_eq!(error.details, details);
}
