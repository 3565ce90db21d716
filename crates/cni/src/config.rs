//! The part of a network configuration that the protocol itself defines.

use crate::env::{Command, is_name};
use crate::error::{Error, Result, code};
use crate::json::{self, Fault};
use crate::log;
use crate::result::{CniResult, Dns};
use crate::version::Version;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Map, Value};

/// A network configuration: the keys that every plugin shares, and the whole of it.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// `cniVersion`; 0.1.0 where absent.
    pub version: Version,
    /// `name` of the network.
    pub name: String,
    /// `type`: the plugin's executable.
    pub kind: String,
    /// `ipam.type`, when it is set and not empty.
    pub ipam: Option<String>,
    /// `dns`.
    pub dns: Dns,
    /// `prevResult`, of whatever version.
    pub prev_result: Option<CniResult>,
    /// `cni.dev/valid-attachments`; `None` when absent, and outside of GC.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// All keys.
    pub object: Map<String, Value>,
}

/// An attachment that GC must keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(default)]
pub struct ValidAttachment {
    /// Its container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// Its interface in the container.
    pub ifname: String,
}

impl NetConf {
    /// The document on stdin.
    ///
    /// # Errors
    /// Code 6 where it is not one JSON object.
    pub fn parse(stdin: &[u8]) -> Result<Map<String, Value>> {
        let wrong = |cause: String| {
            Error::new(code::DECODE, "error unmarshall network config")
                .details(format!("{cause}; stdin must hold one network configuration as JSON"))
        };
        match serde_json::from_slice(stdin) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(wrong("it is JSON, but not an object".to_owned())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Reads the configuration, as [`NetConf::parse`] gives it, for a command.
    ///
    /// DEL must work with a configuration that became invalid after ADD: there only the version
    /// and the name have to be readable, and a wrong value of another key counts as absent.
    ///
    /// # Errors
    /// Code 1 where the version is not
    /// supported or lacks the command, 7 where the name is missing or invalid.
    pub fn read(object: Map<String, Value>, command: Command) -> Result<NetConf> {
        let version = version_of(&object)?;
        version_allows(version, command)?;
        let name = network_name(&object, command)?;
        let lenient = command == Command::Del;
        let ipam: Ipam = key(&object, "ipam", lenient)?.unwrap_or_default();
        let prev_result = match json::get(&object, "prevResult") {
            None => None,
            Some(value) => accept(CniResult::read(value), "prevResult", lenient)?,
        };
        Ok(NetConf {
            version,
            name,
            kind: key(&object, "type", lenient)?.unwrap_or_default(),
            ipam: Some(ipam.kind).filter(|kind| !kind.is_empty()),
            dns: key(&object, "dns", lenient)?.unwrap_or_default(),
            prev_result,
            valid_attachments: valid_attachments(&object, command)?,
            object,
        })
    }

    /// The plugin's own keys, decoded from the same document.
    ///
    /// # Errors
    /// Code 7 naming key and value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        json::decode(&Value::Object(self.object.clone())).map_err(|fault| invalid(&fault))
    }

    /// Whether GC must keep the attachment. With an empty `ifname` the container alone counts, as
    /// leases of old plugins name only that.
    pub fn is_valid_attachment(&self, container_id: &str, ifname: &str) -> bool {
        self.valid_attachments.iter().flatten().any(|valid| {
            valid.container_id == container_id && (ifname.is_empty() || valid.ifname == ifname)
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ipam {
    #[serde(rename = "type")]
    kind: String,
}

fn invalid(fault: &Fault) -> Error {
    Error::config("invalid network configuration").details(fault.to_string())
}

fn accept<T>(read: std::result::Result<T, Fault>, name: &str, lenient: bool) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(fault) if lenient => {
            log::warn(&format!("ignored in DEL: {}", fault.under(name)));
            Ok(None)
        }
        Err(fault) => Err(invalid(&fault.under(name))),
    }
}

fn key<T: DeserializeOwned>(
    object: &Map<String, Value>,
    name: &str,
    lenient: bool,
) -> Result<Option<T>> {
    match json::get(object, name) {
        None => Ok(None),
        Some(value) => accept(json::decode(value), name, lenient),
    }
}

/// `cniVersion`, 0.1.0 where it is absent or empty.
pub(crate) fn version_of(object: &Map<String, Value>) -> Result<Version> {
    let text: String = match json::get(object, "cniVersion") {
        None => return Ok(Version::V0_1_0),
        Some(value) => json::decode(value).map_err(|fault| invalid(&fault.under("cniVersion")))?,
    };
    if text.is_empty() {
        return Ok(Version::V0_1_0);
    }
    Version::parse(&text).ok_or_else(|| {
        let supported = Version::ALL.map(|version| format!("{:?}", version.as_str())).join(" ");
        Error::new(code::INCOMPATIBLE_VERSION, "incompatible CNI versions")
            .details(format!("config is {text:?}, plugin supports [{supported}]"))
    })
}

fn version_allows(version: Version, command: Command) -> Result<()> {
    let least = match command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => return Ok(()),
    };
    if version >= least {
        return Ok(());
    }
    let command = command.as_str();
    // Without details, as the reference has it: Go clients compare `msg; details`.
    Err(Error::new(code::INCOMPATIBLE_VERSION, format!("config version does not allow {command}")))
}

/// The longest name of a network, in bytes: leases are in a directory of that name (NAME_MAX of
/// limits.h).
const NAME_MAX: usize = 255;

fn network_name(object: &Map<String, Value>, command: Command) -> Result<String> {
    let name: String = key(object, "name", false)?.unwrap_or_default();
    if name.is_empty() {
        return Err(Error::config("missing network name").details("set the key \"name\""));
    }
    if !is_name(&name) {
        return Err(Error::config("invalid characters found in network name").details(format!(
            "name is {name:?}; it must start with an alphanumeric character, followed by \
             alphanumerics, '_', '.' or '-'"
        )));
    }
    // DEL removes what an earlier release made for it without leases.
    if name.len() > NAME_MAX && command != Command::Del {
        return Err(Error::config("network name is too long").details(format!(
            "name has {} bytes and may have {NAME_MAX}; nothing was changed",
            name.len()
        )));
    }
    Ok(name)
}

fn valid_attachments(
    object: &Map<String, Value>,
    command: Command,
) -> Result<Option<Vec<ValidAttachment>>> {
    if command != Command::Gc {
        return Ok(None);
    }
    // The second name stood in the specification's text by mistake; runtimes send both.
    let names = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some((name, value)) =
        names.into_iter().find_map(|name| object.get(name).map(|value| (name, value)))
    else {
        return Ok(None);
    };
    // A Go runtime writes an empty list as null.
    let list: Vec<ValidAttachment> =
        json::decode(value).map_err(|fault| invalid(&fault.under(name)))?;
    // Such an entry would keep nothing alive.
    if let Some(at) = list.iter().position(|of| of.container_id.is_empty() || of.ifname.is_empty())
    {
        let fault = Fault::custom("containerID or ifname is missing; nothing was removed");
        return Err(invalid(&fault.under(&format!("{name}[{at}]"))));
    }
    Ok(Some(list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(command: Command, value: &Value) -> Result<NetConf> {
        NetConf::read(NetConf::parse(value.to_string().as_bytes())?, command)
    }

    #[test]
    fn an_absent_version_is_the_oldest() {
        let conf = read(Command::Add, &json!({"name": "n", "type": "bridge"})).unwrap();
        assert_eq!(conf.version, Version::V0_1_0);
        assert_eq!(conf.kind, "bridge");
    }

    #[test]
    fn an_unknown_version_is_code_1() {
        let error = read(Command::Add, &json!({"name": "n", "cniVersion": "9.9.9"})).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (1, "incompatible CNI versions"));
        assert!(error.details.starts_with("config is \"9.9.9\", plugin supports [\"0.1.0\" "));
    }

    #[test]
    fn a_version_may_lack_the_command() {
        for (command, version, allowed) in [
            (Command::Check, "0.3.1", false),
            (Command::Check, "0.4.0", true),
            (Command::Status, "1.0.0", false),
            (Command::Status, "1.1.0", true),
        ] {
            let conf = read(command, &json!({"name": "n", "cniVersion": version}));
            assert_eq!(conf.is_ok(), allowed, "{command:?} {version}");
        }
    }

    #[test]
    fn names_are_checked_and_nothing_escapes() {
        for name in ["", "../x", ".x", "a/b", "a b", "-x"] {
            let error = read(Command::Add, &json!({"name": name})).unwrap_err();
            assert_eq!(error.code, code::INVALID_CONFIG, "{name}");
        }
    }

    #[test]
    fn a_name_that_names_no_directory_is_refused_but_in_del() {
        let conf = |length: usize| json!({"name": "n".repeat(length), "cniVersion": "1.1.0"});
        for command in [Command::Add, Command::Check, Command::Gc, Command::Status] {
            assert!(read(command, &conf(255)).is_ok());
            let error = read(command, &conf(256)).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (7, "network name is too long"));
        }
        assert!(read(Command::Del, &conf(256)).is_ok());
    }

    #[test]
    fn del_forgives_all_but_the_name() {
        let broken = json!({"cniVersion": "1.0.0", "name": "n", "type": 5, "ipam": [], "dns": 1,
                            "prevResult": {"ips": [{"address": "x"}]}});
        let conf = read(Command::Del, &broken).unwrap();
        assert_eq!((conf.name.as_str(), conf.ipam, conf.prev_result), ("n", None, None));
        let error = read(Command::Check, &broken).unwrap_err();
        assert!(error.details.starts_with("ipam: "), "{error}");
    }

    #[test]
    fn an_absent_list_of_gc_is_no_empty_one() {
        let conf = |list: Value| {
            read(
                Command::Gc,
                &json!({"cniVersion": "1.1.0", "name": "n", "cni.dev/valid-attachments": list}),
            )
        };
        let gc = conf(json!([{"containerID": "a", "ifname": "eth0"}])).unwrap();
        assert!(gc.is_valid_attachment("a", "eth0") && gc.is_valid_attachment("a", ""));
        assert!(!gc.is_valid_attachment("a", "eth1") && !gc.is_valid_attachment("b", ""));
        assert_eq!(conf(Value::Null).unwrap().valid_attachments, Some(Vec::new()));
        let absent = read(Command::Gc, &json!({"cniVersion": "1.1.0", "name": "n"}));
        assert_eq!(absent.unwrap().valid_attachments, None);
        let whole = json!({"containerID": "a", "ifname": "eth0"});
        for torn in [json!({}), json!({"containerID": "b"}), json!({"ifname": "b"}), json!(null)] {
            let error = conf(json!([whole, torn])).unwrap_err();
            assert_eq!(error.code, code::INVALID_CONFIG, "{torn}");
            let why = "cni.dev/valid-attachments[1]: containerID or ifname is missing; nothing was removed";
            assert_eq!(error.details, why);
        }
    }

    #[test]
    fn not_json_is_code_6() {
        for text in ["", "{", "[]", "null", "{} x"] {
            assert_eq!(NetConf::parse(text.as_bytes()).unwrap_err().code, code::DECODE, "{text}");
        }
    }
}
