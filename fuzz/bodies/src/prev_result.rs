//! `prevResult`, and what an IPAM plugin answers.

use crate::is_told;
use crate::stdin::understood;
use cni::{Args, CniResult, Command, Env, NetConf, Request, Version};
use serde_json::{Value, json};

/// A result of any version as JSON.
pub fn prev_result(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let result = match CniResult::read(&value) {
        Ok(result) => result,
        Err(fault) => return assert!(!fault.to_string().is_empty()),
    };
    for version in Version::ALL {
        match result.to_json(version) {
            Ok(written) => is_stable(&result, version, &written),
            Err(error) => is_told(&error),
        }
    }
    for command in [Command::Add, Command::Del, Command::Check] {
        if let Some(request) = request(command, &value) {
            understood(&request);
        }
    }
}

/// What is written is read again: in the newest version all of it, in an older one what it holds.
fn is_stable(result: &CniResult, version: Version, written: &[u8]) {
    let value = serde_json::from_slice(written).expect("one JSON document");
    let again = CniResult::read(&value).expect("a result of our own is read");
    if version == Version::NEWEST {
        assert_eq!(again, *result);
    }
    assert_eq!(again.to_json(version).expect("and written").as_slice(), written);
}

/// With all that makes a plan of a result. None for a result so deep that the document
/// around it passes serde_json's limit of 128 levels.
fn request(command: Command, prev_result: &Value) -> Option<Request> {
    let document = json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "bridge", "prevResult": prev_result,
        "isDefaultGateway": true, "ipMasq": true, "vlan": 5, "macspoofchk": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]},
    });
    let stdin = document.to_string().into_bytes();
    let object = NetConf::parse(&stdin).ok()?;
    let conf = NetConf::read(object, command).expect("a valid configuration");
    let env = Env {
        command,
        container_id: "c1".to_owned(),
        netns: None,
        ifname: "eth0".to_owned(),
        args: Args::default(),
        path: Vec::new(),
    };
    Some(Request { env, conf, stdin })
}
