use super::*;
use cni::{Args, Command, Env};
use proptest::prelude::*;
use serde_json::json;

fn request(object: Value, args: &str) -> Request {
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
    Request { env, conf: NetConf::read(object, Command::Del).unwrap(), stdin: Vec::new() }
}

fn load(object: Value) -> Result<Config> {
    Config::load(&request(object, ""))
}

fn ipam(ipam: Value) -> Value {
    json!({ "ipam": ipam })
}

fn ranges(ranges: Value) -> Value {
    ipam(json!({ "ranges": ranges }))
}

fn texts(config: &Config) -> Vec<String> {
    config.sets.iter().map(ToString::to_string).collect()
}

#[test]
fn the_old_style_the_new_one_and_the_runtime_s_in_their_order() {
    let config = load(json!({
        "runtimeConfig": {"ipRanges": [[{"subnet": "10.3.0.0/24"}]]},
        "ipam": {
            "SUBNET": "10.1.0.0/24", "RangeStart": "10.1.0.9", "rangeend": "10.1.0.20",
            "Gateway": "10.1.0.2", "Ranges": [[{"Subnet": "10.2.0.0/24"}, {"subnet": "10.4.0.0/24"}]],
            "DATADIR": "/d", "routes": [{"dst": "0.0.0.0/0", "mtu": 1400, "table": 7}],
        }
    }))
    .unwrap();
    assert_eq!(
        texts(&config),
        ["10.3.0.1-10.3.0.254", "10.1.0.9-10.1.0.20", "10.2.0.1-10.2.0.254,10.4.0.1-10.4.0.254"]
    );
    assert_eq!(config.sets[1].ranges()[0].gateway.to_string(), "10.1.0.2");
    assert_eq!(config.data_dir, PathBuf::from("/d"));
    assert_eq!((config.routes[0].mtu, config.routes[0].table), (Some(1400), Some(7)));
    assert_eq!((config.resolv_conf, config.ready_when_full), (None, true));
}

#[test]
fn empty_and_null_are_absent() {
    let config = load(ipam(json!({
        "subnet": "10.1.0.0/24", "rangeStart": "", "gateway": null, "dataDir": "", "resolvConf": "",
        "routes": null, "ranges": null, "statusWhenFull": "not-ready",
    })));
    let config = config.unwrap();
    assert_eq!(texts(&config), ["10.1.0.1-10.1.0.254"]);
    assert_eq!(config.data_dir, PathBuf::from(DATA_DIR));
    assert!(!config.ready_when_full);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn errors() {
    let subnet = "10.1.0.0/24";
    for (object, msg, details) in [
        (json!({}), "IPAM config missing 'ipam' key", "set ipam"),
        (ipam(json!({})), "no IP ranges specified", "ipam.ranges"),
        (ipam(json!({"gateway": "10.0.0.1"})), "no IP ranges specified", "ipam.subnet"),
        (ranges(json!([])), "no IP ranges specified", ""),
        (ranges(json!([[]])), "invalid range set 0: empty range set", ""),
        (ranges(json!([[{}]])), "invalid range set 0: IP <nil> not v4 nor v6", "subnet"),
        (
            ranges(json!([[{"subnet": subnet}], [{"subnet": "10.1.0.0/31"}]])),
            "invalid range set 1: Network 10.1.0.0/31 too small to allocate from",
            "/30",
        ),
        (
            ranges(json!([[{"subnet": subnet}, {"subnet": "fd00::/64"}]])),
            "invalid range set 0: mixed address families",
            "sets of their own",
        ),
        (
            ranges(json!([[{"subnet": subnet}, {"subnet": subnet}]])),
            "invalid range set 0: subnets 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.254 overlap",
            "",
        ),
        (
            ipam(
                json!({"subnet": subnet, "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": subnet}]]}),
            ),
            "range set 0 overlaps with 2",
            "10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.254",
        ),
        (
            json!({"cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": subnet}], [{"subnet": "10.2.0.0/24"}]]}}),
            "CNI version 0.2.0 does not support more than 1 address per family",
            "",
        ),
        (ipam(json!({"subnet": "10.1.0.0"})), "", "ipam.subnet: invalid CIDR address: 10.1.0.0"),
        (ipam(json!({"subnet": ""})), "", "ipam.subnet: invalid CIDR address: "),
        (
            ranges(json!([[{"subnet": subnet, "gateway": "x"}]])),
            "",
            "ipam.ranges[0][0].gateway: invalid IP address: x",
        ),
        (
            json!({"ipam": {"subnet": subnet}, "runtimeConfig": {"ipRanges": [[{"subnet": "x"}]]}}),
            "",
            "runtimeConfig.ipRanges[0][0].subnet: invalid CIDR address: x",
        ),
        (ranges(json!([{"subnet": subnet}])), "", "ipam.ranges[0]: invalid type: object"),
        (ipam(json!({"subnet": subnet, "dataDir": 5})), "", "ipam.dataDir: invalid type"),
        (ipam(json!({"subnet": subnet, "routes": [{"dst": "x"}]})), "", "ipam.routes[0].dst: "),
        (
            ipam(json!({"subnet": subnet, "statusWhenFull": "maybe"})),
            "invalid ipam.statusWhenFull",
            "\"maybe\"",
        ),
        (
            json!({"ipam": {"subnet": subnet}, "args": {"cni": {"ips": ["10.1.0.5", "x"]}}}),
            "",
            "args.cni.ips[1]: invalid IP address x",
        ),
        (
            json!({"ipam": {"subnet": subnet}, "runtimeConfig": {"ips": [""]}}),
            "",
            "runtimeConfig.ips[0]: invalid IP address ",
        ),
    ] {
        let error = load(object.clone()).expect_err(&object.to_string());
        let msg = if msg.is_empty() { "invalid network configuration" } else { msg };
        assert_eq!((error.code, &*error.msg), (cni::code::INVALID_CONFIG, msg), "{object}");
        assert!(error.details.contains(details), "{error} lacks {details}");
    }
}

#[test]
fn one_address_of_each_family_is_enough_for_0_2_0() {
    let object = json!({"cniVersion": "0.2.0", "ipam": {"ranges":
        [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}});
    assert_eq!(load(object).unwrap().sets.len(), 2);
}

#[test]
fn what_is_odd_is_allowed() {
    let config = load(ipam(json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.255",
        "gateway": "10.9.9.9",
    })));
    assert_eq!(texts(&config.unwrap()), ["10.1.0.0-10.1.0.255"]);
}

fn dual() -> Value {
    json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]},
           "args": {"cni": {"ips": ["10.1.0.9/24", "10.1.0.8"]}},
           "runtimeConfig": {"ips": ["fd00::9/64", "::ffff:10.1.0.9"]}})
}

#[test]
fn requested_addresses_go_to_their_sets() {
    let config = Config::load(&request(dual(), "IP=10.1.0.8;IgnoreUnknown=1;K8S=x")).unwrap();
    let requested: Vec<_> = config.requested.iter().map(ToString::to_string).collect();
    assert_eq!(requested, ["10.1.0.8", "10.1.0.9", "fd00::9"]);
    let error = config.plan().unwrap_err();
    assert_eq!(error.code, cni::code::NO_ADDRESS);
    assert_eq!(error.msg, "failed to allocate all requested IPs: 10.1.0.9");

    let mut one = dual();
    one["args"] = json!(null);
    let config = Config::load(&request(one, "")).unwrap();
    let plan = config.plan().unwrap();
    let plan: Vec<_> = plan.iter().map(|(_, requested)| requested.unwrap().to_string()).collect();
    assert_eq!(plan, ["10.1.0.9", "fd00::9"]);
}

#[test]
fn cni_args() {
    let load = |args| Config::load(&request(ipam(json!({"subnet": "10.1.0.0/24"})), args));
    assert!(load("IP=").unwrap().requested.is_empty());
    assert_eq!(load("IP=10.1.0.7/8").unwrap().requested[0].to_string(), "10.1.0.7");
    let error = load("IP=x").unwrap_err();
    assert_eq!(error.msg, "CNI_ARGS: error parsing value of pair \"IP=x\"");
    assert_eq!((error.code, &*error.details), (4, "invalid IP address x"));
    assert!(load("MAC=1").unwrap_err().msg.ends_with("unknown args [\"MAC=1\"]"));
    assert!(load("MAC=1;IgnoreUnknown=true").is_ok());
}

#[test]
fn the_data_dir_of_a_broken_configuration_is_found() {
    let dir = |object: Value| {
        let Value::Object(mut object) = object else { panic!("an object") };
        object.insert("name".into(), json!("n"));
        data_dir(&NetConf::read(object, Command::Del).unwrap())
    };
    assert_eq!(dir(json!({})).unwrap(), PathBuf::from(DATA_DIR));
    assert_eq!(dir(json!({"ipam": 5})).unwrap(), PathBuf::from(DATA_DIR));
    let broken = json!({"ipam": {"datadir": "/d", "subnet": 7, "ranges": "x"}});
    assert_eq!(dir(broken).unwrap(), PathBuf::from("/d"));
    let error = dir(json!({"ipam": {"dataDir": 5}})).unwrap_err();
    assert!(error.details.starts_with("ipam.dataDir: "), "{error}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("10.1.0.0/24".to_owned()),
        Just("fd00::/64".to_owned()),
        Just("10.1.0.5".to_owned()),
        any::<String>()
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let key = prop::sample::select(vec![
        "ipam",
        "ranges",
        "subnet",
        "rangeStart",
        "rangeEnd",
        "gateway",
        "routes",
        "dataDir",
        "runtimeConfig",
        "ipRanges",
        "ips",
        "args",
        "cni",
        "dst",
    ]);
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..5).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_is_answered(ipam in any_json(), runtime in any_json(), args in any_json()) {
        let ipam = if ipam.is_object() { ipam } else { json!({ "ranges": ipam }) };
        let object = json!({"ipam": ipam, "runtimeConfig": runtime, "args": args});
        if let Ok(config) = load(object) {
            prop_assert!(!config.sets.is_empty());
            let _ = config.plan();
        }
    }
}
