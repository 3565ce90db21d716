use super::*;
use cni::{Command, Env, NetConf};
use serde_json::json;

fn load_with(ipam: Value, args: &str) -> Result<Config> {
    let object = json!({"name": "n", "cniVersion": "1.0.0", "ipam": ipam});
    let Value::Object(object) = object else { panic!("an object") };
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
    let request = Request { env, conf, stdin: Vec::new() };
    let loaded = Config::load(&request);
    if let Ok(config) = &loaded {
        assert_eq!(Config::places(&request), (config.socket.clone(), config.state.clone()));
    }
    loaded
}

fn load(ipam: Value) -> Result<Config> {
    load_with(ipam, "")
}

#[test]
fn defaults_are_the_reference_s() {
    let config = load(json!({"type": "dhcp"})).unwrap();
    assert_eq!(config.socket, PathBuf::from("/run/cni/dhcp.sock"));
    assert_eq!(config.options, Options { requested: vec![3, 1], provided: vec![] });
    assert_eq!(config.priority, None);
}

#[test]
fn options_go_by_name_or_number_and_keys_by_any_case() {
    let config = load(json!({
        "DaemonSocketPath": "/run/x.sock", "daemonStatePath": "/run/y", "Priority": 70,
        "Request": [{"Option": "121"}, {"option": "routers"}, {"option": 33}],
        "provide": [{"option": "host-name", "VALUE": "pod"}, {"option": "77", "value": "x"}],
    }))
    .unwrap();
    assert_eq!(config.options.requested, [121, 3, 33, 1]);
    assert_eq!(config.options.provided, [(12, "pod".to_owned()), (77, "x".to_owned())]);
    assert_eq!((config.socket, config.priority), (PathBuf::from("/run/x.sock"), Some(70)));
}

#[test]
fn defaults_may_be_skipped() {
    let of = |request: Value| load(json!({"request": request})).unwrap().options.requested;
    assert_eq!(of(json!([{"skipDefault": true}])), [0; 0]);
    assert_eq!(of(json!([{"skipDefault": true, "option": "121"}])), [121]);
    assert_eq!(of(json!([{"skipDefault": false, "option": ""}])), [3, 1]);
}

#[test]
fn values_come_from_cni_args_before_the_configuration() {
    let provide = json!({"provide": [
        {"option": "host-name", "value": "plain", "fromArg": "K8S_POD_NAME"},
        {"option": "77", "fromArg": "NOT_THERE"},
        {"option": "60", "value": "first"}, {"option": "60", "value": "second"}]});
    let of = |args: &str| load_with(provide.clone(), args).unwrap().options.provided;
    let second = (60, "second".to_owned());
    assert_eq!(of("K8S_POD_NAME=web-0"), [(12, "web-0".to_owned()), second.clone()]);
    assert_eq!(of("OTHER=1"), [(12, "plain".to_owned()), second]);
}

#[test]
fn errors_name_key_and_value() {
    let provide =
        |option: &str, value: &str| json!({"provide": [{"option": option, "value": value}]});
    for (ipam, wanted, place) in [
        (provide("hostname", "x"), "Can not parse option \"hostname\"", "ipam.provide[0].option"),
        (provide("", "x"), "Can not parse option \"\"", "ipam.provide[0].option"),
        (provide("0", "x"), "Can not parse option \"0\"", "1 to 254"),
        (
            json!({"request": [{"option": "256"}]}),
            "Can not parse option \"256\"",
            "ipam.request[0]",
        ),
        (provide("53", "x"), "option 53 cannot be provided", "ipam.provide[0].option"),
        (provide("12", &"x".repeat(256)), "value too long for option \"12\"", "256 bytes"),
        (json!({"priority": -1}), "invalid ipam.priority -1", "4294967295"),
        (json!({"request": 5}), "invalid network configuration", "ipam.request: "),
    ] {
        let error = load(ipam).unwrap_err();
        assert_eq!(error.code, 7);
        assert!(error.msg.starts_with(wanted) && error.details.contains(place), "{error}");
    }
}
