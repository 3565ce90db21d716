//! Network configurations, as the runtime reads them.

use crate::places;
use ipnetwork::IpNetwork;
use serde_json::{Map, Value};
use std::path::Path;

/// One file in the runtime's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfFile {
    /// Its name.
    pub name: String,
    /// Why the runtime cannot use it.
    pub problem: Option<String>,
    /// The network's name.
    pub network: String,
    /// Its plugins, in their order.
    pub plugins: Vec<Plugin>,
}

/// One plugin of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// Its type: the executable's name.
    pub kind: String,
    /// The IPAM plugin's.
    pub ipam: Option<String>,
    /// The bridge that it names.
    pub bridge: Option<String>,
    /// `ipMasq`.
    pub masquerades: bool,
    /// `isGateway` or `isDefaultGateway`.
    pub is_gateway: bool,
    /// `mtu`; 0 for none.
    pub mtu: u64,
    /// Subnets with the first and last address that host-local leases, where they are named.
    pub ranges: Vec<IpNetwork>,
}

impl Plugin {
    /// Whether it makes pods' links, rather than changing them.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.ipam.is_some() || ["bridge", "vxlan", "bgp", "ptp"].contains(&self.kind.as_str())
    }

    /// The bridge that its pods are ports of.
    #[must_use]
    pub fn bridge(&self) -> Option<&str> {
        let has = ["bridge", "vxlan"].contains(&self.kind.as_str());
        has.then(|| self.bridge.as_deref().unwrap_or("cni0"))
    }
}

impl ConfFile {
    /// The plugin that makes pods' links.
    #[must_use]
    pub fn main(&self) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| plugin.is_main()).or(self.plugins.first())
    }

    /// The types of all executables that it needs.
    #[must_use]
    pub fn kinds(&self) -> Vec<String> {
        let of = |plugin: &Plugin| [Some(plugin.kind.clone()), plugin.ipam.clone()];
        let mut kinds: Vec<String> = self.plugins.iter().flat_map(of).flatten().collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

/// The files of the folder that runtimes read, in their order: by name. No folder is no file.
///
/// # Errors
/// The folder cannot be read.
pub fn read(folder: &Path) -> Result<Vec<ConfFile>, String> {
    let names = places::names(folder)?.unwrap_or_default();
    let known =
        |name: &String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
    let file = |name: String| match places::text(&folder.join(&name)) {
        Ok(text) => parse(&name, &text.unwrap_or_default()),
        Err(error) => ConfFile { name, problem: Some(error), ..ConfFile::default() },
    };
    Ok(names.into_iter().filter(known).map(file).collect())
}

/// A value by its key; the reference ignores the case of keys.
fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| {
        let same = object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        same.map(|(_, value)| value)
    })
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    get(object, key)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn parse(name: &str, content: &str) -> ConfFile {
    let mut file = ConfFile { name: name.to_owned(), ..ConfFile::default() };
    file.problem = match serde_json::from_str::<Value>(content) {
        Ok(Value::Object(object)) => take(&mut file, &object).err(),
        Ok(_) => Some("it is no JSON object".to_owned()),
        Err(error) => Some(format!("it is no JSON: {error}")),
    };
    file
}

fn take(file: &mut ConfFile, object: &Map<String, Value>) -> Result<(), String> {
    file.network = text(object, "name").ok_or("it has no \"name\"")?;
    let one = Value::Array(vec![Value::Object(object.clone())]);
    let list = file.name.ends_with(".conflist");
    let plugins = if list { get(object, "plugins") } else { Some(&one) };
    let plugins = plugins.and_then(Value::as_array).ok_or("it has no list \"plugins\"")?;
    if plugins.is_empty() {
        return Err("its list \"plugins\" is empty".to_owned());
    }
    for plugin in plugins {
        file.plugins.push(read_plugin(plugin)?);
    }
    Ok(())
}

fn read_plugin(value: &Value) -> Result<Plugin, String> {
    let object = value.as_object().ok_or("a plugin is no JSON object")?;
    let kind = text(object, "type").ok_or("a plugin has no \"type\"")?;
    let is = |key: &str| get(object, key).and_then(Value::as_bool).unwrap_or(false);
    let ipam = get(object, "ipam").and_then(Value::as_object);
    Ok(Plugin {
        ipam: ipam.and_then(|ipam| text(ipam, "type")),
        bridge: text(object, "bridge"),
        masquerades: is("ipMasq"),
        is_gateway: is("isGateway") || is("isDefaultGateway"),
        mtu: get(object, "mtu").and_then(Value::as_u64).unwrap_or(0),
        ranges: ipam.map(ranges).unwrap_or_default(),
        kind,
    })
}

fn ranges(ipam: &Map<String, Value>) -> Vec<IpNetwork> {
    let subnet = |range: &Map<String, Value>| text(range, "subnet")?.parse().ok();
    let sets = get(ipam, "ranges").and_then(Value::as_array);
    let ranges = sets.into_iter().flatten().filter_map(Value::as_array).flatten();
    let ranges = ranges.filter_map(Value::as_object).filter_map(subnet);
    subnet(ipam).into_iter().chain(ranges).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_and_a_single_network_are_read() {
        let text = r#"{"name":"a","plugins":[{"type":"bridge","ISGATEWAY":true,"ipam":
            {"type":"host-local","ranges":[[{"subnet":"10.1.0.0/24"}]]}},{"type":"portmap"}]}"#;
        let list = parse("10-a.conflist", text);
        assert_eq!(list.problem, None);
        assert_eq!(list.kinds(), ["bridge", "host-local", "portmap"]);
        let main = list.main().unwrap();
        assert!(main.is_gateway && main.bridge() == Some("cni0"));
        assert_eq!(main.ranges, ["10.1.0.0/24".parse().unwrap()]);
        let single = parse("10-a.conf", r#"{"name":"a","type":"loopback"}"#);
        assert_eq!((single.problem, single.plugins.len()), (None, 1));
    }

    #[test]
    fn what_the_runtime_refuses_is_named() {
        let problem = |text: &str| parse("10-a.conflist", text).problem.unwrap();
        assert!(problem("{").starts_with("it is no JSON: "));
        assert_eq!(problem("[]"), "it is no JSON object");
        assert_eq!(problem("{}"), "it has no \"name\"");
        assert_eq!(problem(r#"{"name":"a"}"#), "it has no list \"plugins\"");
        assert_eq!(problem(r#"{"name":"a","plugins":[{}]}"#), "a plugin has no \"type\"");
    }
}
