//! Every key: its default, its values, its refusals with the words that people search for.

use super::*;
use cni::{Args, Env, NetConf};
use cni::{Command, code};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A request with these keys beside those that the protocol wants.
fn request(keys: &Value, args: &str) -> Request {
    let mut object: Map<String, Value> = keys.as_object().unwrap().clone();
    object.insert("cniVersion".to_owned(), json!("1.1.0"));
    object.insert("name".to_owned(), json!("pods"));
    object.insert("type".to_owned(), json!("bridge"));
    let command = Command::Add;
    let env = Env {
        command,
        container_id: "c1".to_owned(),
        netns: None,
        ifname: "eth0".to_owned(),
        args: Args::parse(args).unwrap(),
        path: Vec::new(),
    };
    let conf = NetConf::read(object, command).unwrap();
    Request { env, conf, stdin: Vec::new() }
}

fn read(keys: &Value) -> Result<Config> {
    Config::read(&request(keys, ""))
}

/// The refusal of a configuration, whose code must be 7.
#[track_caller]
fn refusal(keys: &Value) -> Error {
    let error = read(keys).unwrap_err();
    assert_eq!(error.code, code::INVALID_CONFIG, "{keys}: {error}");
    error
}

#[test]
fn over_a_tunnel_the_bridge_is_the_gateway_and_the_mtu_is_the_tunnels() {
    let over = |keys: Value| Config::over_tunnel(&request(&keys, ""), 1450).unwrap();
    let tunnelled = Config { gateway: true, default_gateway: true, mtu: Some(1450), ..defaults() };
    assert_eq!(over(json!({})), tunnelled);
    assert!(!over(json!({"isDefaultGateway": false})).default_gateway);
    let own = over(json!({"isGateway": false, "mtu": 1400}));
    assert_eq!((own.gateway, own.default_gateway, own.mtu), (false, false, Some(1400)));
    let forced = over(json!({"isGateway": false, "isDefaultGateway": true}));
    assert_eq!((forced.gateway, forced.default_gateway), (true, true));
}

#[test]
fn no_mtu_is_more_than_the_tunnel_carries() {
    let ask = |mtu: u32| Config::over_tunnel(&request(&json!({"mtu": mtu}), ""), 1450);
    assert!(ask(1450).is_ok());
    let error = ask(1451).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (code::INVALID_CONFIG, "invalid MTU 1451"));
    assert!(error.details.contains("the tunnel carries 1450 bytes"), "{}", error.details);
}

/// What a configuration without keys means.
pub(crate) fn defaults() -> Config {
    Config {
        bridge: "cni0".to_owned(),
        gateway: false,
        default_gateway: false,
        force_address: false,
        address_protocol: 0,
        masquerade: false,
        exclude: vec![],
        mtu: None,
        metric: None,
        hairpin: false,
        promiscuous: false,
        vlan: None,
        trunk: Vec::new(),
        keep_default_vlan: false,
        macspoof: false,
        dad: false,
        pod_up: true,
        isolated: false,
        accept_ra: false,
        mac: None,
        run_dir: PathBuf::from("/run/ferrule"),
    }
}

#[test]
fn without_keys_all_is_as_in_the_reference() {
    assert_eq!(read(&json!({})).unwrap(), defaults());
}

#[test]
fn empty_values_and_null_are_the_defaults() {
    let empty = json!({
        "bridge": "", "ipMasqBackend": "", "mtu": 0, "vlan": 0, "vlanTrunk": [], "runDir": "",
        "args": {"cni": {"mac": ""}}, "runtimeConfig": {"mac": ""},
    });
    assert_eq!(read(&empty).unwrap(), defaults());
    let null = json!({
        "bridge": null, "isGateway": null, "ipMasqBackend": null, "mtu": null, "vlan": null,
        "vlanTrunk": null, "args": null, "runtimeConfig": null, "runDir": null,
    });
    assert_eq!(read(&null).unwrap(), defaults());
}

#[test]
fn each_key_sets_its_own_field_and_no_other() {
    let mac = "0a:00:00:00:00:01";
    let cases: Vec<(Value, Config)> = vec![
        (json!({"bridge": "br1"}), Config { bridge: "br1".to_owned(), ..defaults() }),
        (json!({"isGateway": true}), Config { gateway: true, ..defaults() }),
        (
            json!({"isDefaultGateway": true}),
            Config { gateway: true, default_gateway: true, ..defaults() },
        ),
        (json!({"forceAddress": true}), Config { force_address: true, ..defaults() }),
        (json!({"ipMasq": true}), Config { masquerade: true, ..defaults() }),
        (
            json!({"ipMasqExclude": ["192.0.2.0/24"]}),
            Config { exclude: vec!["192.0.2.0/24".parse().unwrap()], ..defaults() },
        ),
        (json!({"mtu": 1400}), Config { mtu: Some(1400), ..defaults() }),
        (json!({"metric": 500}), Config { metric: Some(500), ..defaults() }),
        (json!({"hairpinMode": true}), Config { hairpin: true, ..defaults() }),
        (json!({"promiscMode": true}), Config { promiscuous: true, ..defaults() }),
        (json!({"vlan": 100}), Config { vlan: Some(100), ..defaults() }),
        (json!({"vlanTrunk": [{"id": 9}]}), Config { trunk: vec![9], ..defaults() }),
        (json!({"preserveDefaultVlan": true}), Config { keep_default_vlan: true, ..defaults() }),
        (json!({"macspoofchk": true}), Config { macspoof: true, ..defaults() }),
        (json!({"enabledad": true}), Config { dad: true, ..defaults() }),
        (json!({"disableContainerInterface": true}), Config { pod_up: false, ..defaults() }),
        (json!({"portIsolation": true}), Config { isolated: true, ..defaults() }),
        (json!({"acceptRa": true}), Config { accept_ra: true, ..defaults() }),
        (json!({"args": {"cni": {"mac": mac}}}), Config { mac: mac.parse().ok(), ..defaults() }),
        (json!({"runtimeConfig": {"mac": mac}}), Config { mac: mac.parse().ok(), ..defaults() }),
        (json!({"runDir": "/x"}), Config { run_dir: PathBuf::from("/x"), ..defaults() }),
    ];
    for (keys, wanted) in cases {
        assert_eq!(read(&keys).unwrap(), wanted, "{keys}");
        assert_ne!(wanted, defaults(), "{keys}");
    }
}

#[test]
fn keys_match_in_any_case() {
    for keys in [
        json!({"ISGATEWAY": true, "MTU": 1400, "VlanTrunk": [{"MINID": 3, "maxid": 4}]}),
        json!({"isgateway": true, "Mtu": 1400, "vlantrunk": [{"minid": 3, "MaxId": 4}]}),
    ] {
        let wanted = Config { gateway: true, mtu: Some(1400), trunk: vec![3, 4], ..defaults() };
        assert_eq!(read(&keys).unwrap(), wanted, "{keys}");
    }
    let keys = json!({"RuntimeConfig": {"MAC": "0a:00:00:00:00:01"}, "RUNDIR": "/x"});
    let config = read(&keys).unwrap();
    assert!(config.mac.is_some() && config.run_dir.as_os_str() == "/x", "{config:?}");
    assert_eq!(keys::run_dir_of(&request(&json!({"RUNDIR": "/x"}), "")), PathBuf::from("/x"));
}

#[test]
fn a_value_of_another_type_is_refused_with_its_place() {
    for (keys, place) in [
        (json!({"isGateway": "yes"}), "isGateway: "),
        (json!({"mtu": "1400"}), "mtu: "),
        (json!({"bridge": 5}), "bridge: "),
        (json!({"vlanTrunk": [{"id": "a"}]}), "vlanTrunk[0].id: "),
        (json!({"runtimeConfig": {"mac": 1}}), "runtimeConfig.mac: "),
    ] {
        let error = refusal(&keys);
        assert!(error.details.contains(place), "{keys}: {error}");
    }
}

#[test]
fn vlan_ids_are_0_to_4094() {
    for (id, wanted) in [(0, None), (1, Some(1)), (4094, Some(4094))] {
        assert_eq!(read(&json!({"vlan": id})).unwrap().vlan, wanted);
    }
    for id in [-1, 4095, 4096, 65_536, 65_537, i64::MIN, i64::MAX] {
        let wanted = format!("invalid VLAN ID {id} (must be between 0 and 4094)");
        assert_eq!(refusal(&json!({"vlan": id})).msg, wanted);
    }
}

#[test]
fn a_metric_has_32_bits() {
    for (metric, wanted) in [(0, None), (1, Some(1)), (i64::from(u32::MAX), Some(u32::MAX))] {
        assert_eq!(read(&json!({"metric": metric})).unwrap().metric, wanted);
    }
    for metric in [-1, 4_294_967_296, i64::MIN] {
        assert_eq!(refusal(&json!({"metric": metric})).msg, format!("invalid metric {metric}"));
    }
}

#[test]
fn trunks_are_sets_of_ids() {
    for (trunk, wanted) in [
        (json!([]), vec![]),
        (json!([{}]), vec![]),
        (json!([{"id": 101}]), vec![101]),
        (json!([{"id": 1}, {"id": 4094}]), vec![1, 4094]),
        (json!([{"minID": 200, "maxID": 203}]), vec![200, 201, 202, 203]),
        (json!([{"minID": 7, "maxID": 7}]), vec![7]),
        (json!([{"id": 101, "minID": 200, "maxID": 201}]), vec![101, 200, 201]),
        (json!([{"id": 5}, {"minID": 4, "maxID": 6}, {"id": 5}]), vec![4, 5, 6]),
        (json!([{"id": 9, "minID": null, "maxID": null}]), vec![9]),
    ] {
        assert_eq!(read(&json!({"vlanTrunk": trunk})).unwrap().trunk, wanted, "{trunk}");
    }
    let all = read(&json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]})).unwrap().trunk;
    assert_eq!(all, (1..=4094).collect::<Vec<u16>>());
}

#[test]
fn wrong_trunks_are_refused_in_the_references_words() {
    let missing = |name: &str| {
        format!("minID and maxID should be configured simultaneously, {name} is missing")
    };
    let incorrect = |name: &str| format!("incorrect trunk {name} parameter");
    for (entry, wanted) in [
        (json!({"minID": 5}), missing("maxID")),
        (json!({"maxID": 5}), missing("minID")),
        (json!({"id": 5, "minID": 5}), missing("maxID")),
        (json!({"minID": 0, "maxID": 5}), incorrect("minID")),
        (json!({"minID": -1, "maxID": 5}), incorrect("minID")),
        (json!({"minID": 4095, "maxID": 4096}), incorrect("minID")),
        (json!({"minID": 5, "maxID": 4095}), incorrect("maxID")),
        (json!({"minID": 5, "maxID": -5}), incorrect("maxID")),
        (json!({"minID": 5, "maxID": 65_541}), incorrect("maxID")),
        (json!({"id": 0}), incorrect("id")),
        (json!({"id": -1}), incorrect("id")),
        (json!({"id": 4095}), incorrect("id")),
        (
            json!({"id": 5, "minID": 9, "maxID": 8}),
            "minID is greater than maxID in trunk parameter".to_owned(),
        ),
    ] {
        assert_eq!(refusal(&json!({"vlanTrunk": [entry]})).msg, wanted, "{entry}");
        // A right one before it does not hide it.
        assert_eq!(refusal(&json!({"vlanTrunk": [{"id": 7}, entry]})).msg, wanted, "{entry}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let both = refusal(&json!({"hairpinMode": true, "promiscMode": true}));
    assert_eq!(both.msg, "cannot set hairpin mode and promiscuous mode at the same time");
    let keys = json!({"disableContainerInterface": true, "ipam": {"type": "host-local"}});
    let wanted = "cannot use IPAM when DisableContainerInterface flag is set";
    assert_eq!(refusal(&keys).msg, wanted);
    let without = json!({"disableContainerInterface": true, "ipam": {}});
    assert!(!read(&without).unwrap().pod_up);
}

#[test]
fn an_mtu_is_what_a_veth_can_have() {
    for (mtu, wanted) in [(0, None), (68, Some(68)), (1500, Some(1500)), (65_535, Some(65_535))] {
        assert_eq!(read(&json!({"mtu": mtu})).unwrap().mtu, wanted);
    }
    for mtu in [-1, 1, 67, 65_536, 4_294_967_296 + 1500, i64::MIN] {
        let error = refusal(&json!({"mtu": mtu}));
        assert_eq!(error.msg, format!("invalid MTU {mtu}"));
        assert!(error.details.contains("68 to 65535"), "{error}");
    }
}

#[test]
fn bridge_names_are_the_kernels() {
    for name in ["b", "cni0", "br-0.1_x", "fifteen-bytes-x", "br@0"] {
        assert_eq!(read(&json!({"bridge": name})).unwrap().bridge, name);
    }
    for name in
        ["sixteen-bytes-xx", ".", "..", "a/b", "../x", "a b", "a\tb", "a\nb", "a:b", "br%d", "a\0b"]
    {
        let error = refusal(&json!({"bridge": name}));
        assert_eq!(error.msg, format!("invalid bridge name {name:?}"));
    }
}

#[test]
fn masquerade_backends_are_known() {
    for backend in ["", "auto", "nftables", "iptables"] {
        for used in [true, false] {
            let keys = json!({"ipMasq": used, "ipMasqBackend": backend});
            assert_eq!(read(&keys).unwrap().masquerade, used, "{keys}");
        }
    }
    for backend in ["ipvs", "NFTABLES", "iptables "] {
        let error = refusal(&json!({"ipMasqBackend": backend}));
        assert_eq!(error.msg, format!("unknown ipMasqBackend {backend:?}"));
    }
}

#[test]
fn the_run_directory_is_absolute() {
    for text in ["run", "./run", "~/run"] {
        let error = refusal(&json!({"runDir": text}));
        assert_eq!(error.msg, format!("runDir {text:?} is not an absolute path"));
    }
    // DEL needs one all the same, also where the other keys are wrong.
    for keys in [json!({"runDir": "run"}), json!({"runDir": 5}), json!({})] {
        assert_eq!(keys::run_dir_of(&request(&keys, "")), PathBuf::from("/run/ferrule"), "{keys}");
    }
    let broken = json!({"runDir": "/x", "mtu": "many", "vlan": 9999});
    assert_eq!(keys::run_dir_of(&request(&broken, "")), PathBuf::from("/x"));
}

const MACS: [&str; 3] = ["0a:00:00:00:00:01", "0a:00:00:00:00:02", "0a:00:00:00:00:03"];

#[test]
fn of_three_macs_the_runtimes_wins_and_then_that_of_args() {
    let [env, args, runtime] = MACS;
    for choice in 0..8_u8 {
        let has = |bit: u8| choice & bit != 0;
        let mut keys = json!({});
        if has(2) {
            keys["args"] = json!({"cni": {"mac": args}});
        }
        if has(4) {
            keys["runtimeConfig"] = json!({"mac": runtime});
        }
        let pairs = if has(1) { format!("MAC={env}") } else { String::new() };
        let wanted = match choice {
            4.. => Some(runtime),
            2.. => Some(args),
            1 => Some(env),
            _ => None,
        };
        let found = Config::read(&request(&keys, &pairs)).unwrap().mac;
        assert_eq!(found.map(|mac| mac.to_string()).as_deref(), wanted, "{keys} {pairs}");
    }
}

#[test]
fn a_mac_that_no_interface_can_have_is_refused() {
    for (mac, wanted) in [
        ("x", "couldn't parse MAC address \"x\""),
        ("0a:00:00:00:00", "couldn't parse MAC address \"0a:00:00:00:00\""),
        ("00:00:00:00:00:00", "invalid MAC address 00:00:00:00:00:00"),
        ("01:00:5e:00:00:01", "invalid MAC address 01:00:5e:00:00:01"),
        ("ff:ff:ff:ff:ff:ff", "invalid MAC address ff:ff:ff:ff:ff:ff"),
    ] {
        assert_eq!(refusal(&json!({"runtimeConfig": {"mac": mac}})).msg, wanted);
        assert_eq!(refusal(&json!({"args": {"cni": {"mac": mac}}})).msg, wanted);
        let error = Config::read(&request(&json!({}), &format!("MAC={mac}"))).unwrap_err();
        assert_eq!(error.msg, wanted);
    }
}

#[test]
fn unknown_pairs_of_cni_args_need_ignore_unknown() {
    let read = |pairs: &str| Config::read(&request(&json!({}), pairs));
    let error = read("K8S_POD_NAME=a").unwrap_err();
    assert_eq!(error.code, code::INVALID_ENVIRONMENT);
    assert_eq!(error.msg, "CNI_ARGS: unknown args [\"K8S_POD_NAME=a\"]");
    assert!(read("mac=0a:00:00:00:00:01").is_err(), "keys are case-sensitive");
    let with = format!("IgnoreUnknown=1;K8S_POD_NAME=a;MAC={}", MACS[0]);
    assert_eq!(read(&with).unwrap().mac, MACS[0].parse().ok());
    read("IP=10.1.0.9;GATEWAY=10.1.0.1").unwrap();
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic_or_lie(
        vlan in any::<i64>(), mtu in any::<i64>(), id in any::<i64>(),
        range in prop::option::of((-9_i64..5000, -9_i64..5000)),
    ) {
        let mut entry = json!({"id": id});
        if let Some((min, max)) = range {
            entry["minID"] = json!(min);
            entry["maxID"] = json!(max);
        }
        if let Ok(config) = read(&json!({"vlan": vlan, "mtu": mtu, "vlanTrunk": [entry]})) {
            prop_assert_eq!(i64::from(config.vlan.unwrap_or(0)), vlan);
            prop_assert_eq!(i64::from(config.mtu.unwrap_or(0)), mtu);
            prop_assert!(config.trunk.iter().all(|id| (1..=4094).contains(id)));
            prop_assert!(config.trunk.is_sorted_by(|a, b| a < b));
        }
    }
}
