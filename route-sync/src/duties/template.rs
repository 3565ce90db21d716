//! The template of the conflist: what it must be, and what its placeholders stand for.

use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

/// A conflist, parsed.
pub type List = Map<String, Value>;

/// More than any conflist has, in bytes.
pub const LIMIT: u64 = 1 << 20;
/// The key of the list of plugins.
pub const PLUGINS: &str = "plugins";
/// Versions of the specification with lists of plugins.
const VERSIONS: [&str; 6] = ["0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// A range set of host-local for each pod CIDR of the node.
const RANGES: &str = "${ranges}";
/// The node's pod CIDRs.
const POD_CIDRS: &str = "${pod-cidrs}";
/// The node's name.
const NODE_NAME: &str = "${node-name}";

/// What placeholders stand for on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The node's name.
    pub node: String,
    /// Its pod CIDRs, at least one.
    pub pod_cidrs: Vec<IpNetwork>,
}

/// A template that is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(List);

impl Template {
    /// Reads and validates.
    ///
    /// # Errors
    /// Every fault in words: the key, what is wrong with its value, and what to write.
    pub fn parse(text: &str) -> Result<Template, Vec<String>> {
        let list = list(text).map_err(|fault| vec![fault])?;
        let mut faults = faults(&list);
        list.iter().for_each(|(key, value)| placeholders(key, value, &mut faults));
        if faults.is_empty() { Ok(Template(list)) } else { Err(faults) }
    }

    /// The conflist of this node.
    pub fn render(&self, values: &Values) -> List {
        self.0.iter().map(|(key, value)| (key.clone(), filled(value, values))).collect()
    }

    /// The executables that its plugins and their IPAM plugins are.
    pub fn types(&self) -> Vec<&str> {
        let plugins = plugins(&self.0).iter();
        let both = plugins.flat_map(|plugin| [plugin.get("type"), plugin.pointer("/ipam/type")]);
        both.flatten().filter_map(Value::as_str).collect()
    }
}

/// Why runtimes do not take a conflist, each key in words.
pub fn faults(list: &List) -> Vec<String> {
    let mut faults = vec![];
    version(list, &mut faults);
    name(list, &mut faults);
    each_plugin(list, &mut faults);
    faults
}

/// A conflist of a text: an object.
///
/// # Errors
/// Why it is none, in words.
pub fn list(text: &str) -> Result<List, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(list)) => Ok(list),
        Ok(other) => Err(format!(
            "it is {} and no object: write a conflist, {{\"cniVersion\": …, \"name\": …, \
             \"plugins\": […]}}",
            shown(&other)
        )),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

/// The plugins of a conflist.
pub fn plugins(list: &List) -> &[Value] {
    list.get(PLUGINS).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The type of a plugin.
pub fn kind(plugin: &Value) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or("?")
}

/// A value in a message: at most 80 bytes of it.
pub fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 80 {
        let end = (0..=77).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

fn version(list: &List, faults: &mut Vec<String>) {
    let known = VERSIONS.join("\", \"");
    match list.get("cniVersion") {
        Some(Value::String(version)) if VERSIONS.contains(&version.as_str()) => {}
        Some(other) => {
            faults.push(format!("cniVersion is {}: write one of \"{known}\"", shown(other)));
        }
        None => faults.push(format!("cniVersion is missing: write one of \"{known}\"")),
    }
}

/// As the specification has it, and every plugin of ours checks it.
fn name(list: &List, faults: &mut Vec<String>) {
    const REMEDY: &str = "write the network's name, of letters, digits, \".\", \"_\" and \"-\"";
    let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let fits = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
    };
    match list.get("name") {
        Some(Value::String(name)) if fits(name) => {}
        Some(other) => faults.push(format!("name is {}: {REMEDY}", shown(other))),
        None => faults.push(format!("name is missing: {REMEDY}")),
    }
}

fn each_plugin(list: &List, faults: &mut Vec<String>) {
    const REMEDY: &str = "write a list with an object for each plugin";
    let plugins = match list.get("plugins") {
        Some(Value::Array(plugins)) if !plugins.is_empty() => plugins,
        Some(other) => return faults.push(format!("plugins is {}: {REMEDY}", shown(other))),
        None => return faults.push(format!("plugins is missing: {REMEDY}")),
    };
    for (at, plugin) in plugins.iter().enumerate() {
        let kind = match plugin {
            Value::Object(plugin) => plugin.get("type"),
            other => {
                faults.push(format!("plugins[{at}] is {}: write an object", shown(other)));
                continue;
            }
        };
        match kind {
            Some(Value::String(kind)) if !kind.is_empty() && !kind.contains('/') => {}
            Some(other) => faults.push(format!(
                "plugins[{at}].type is {}: write the name of the plugin's executable",
                shown(other)
            )),
            None => faults.push(format!(
                "plugins[{at}].type is missing: write the name of the plugin's executable"
            )),
        }
    }
}

/// Texts that are `${…}` and nothing else are placeholders.
fn placeholders(path: &str, value: &Value, faults: &mut Vec<String>) {
    match value {
        Value::String(text)
            if text.starts_with("${")
                && text.ends_with('}')
                && ![RANGES, POD_CIDRS, NODE_NAME].contains(&text.as_str()) =>
        {
            faults.push(format!(
                "{path} is {}: write one of \"{RANGES}\", \"{POD_CIDRS}\", \"{NODE_NAME}\"",
                shown(value)
            ));
        }
        Value::Array(members) => {
            for (at, member) in members.iter().enumerate() {
                placeholders(&format!("{path}[{at}]"), member, faults);
            }
        }
        Value::Object(object) => {
            for (key, member) in object {
                placeholders(&format!("{path}.{key}"), member, faults);
            }
        }
        _ => {}
    }
}

fn filled(value: &Value, values: &Values) -> Value {
    match value {
        Value::String(text) => match text.as_str() {
            RANGES => {
                let range = |cidr: &IpNetwork| json!([{ "subnet": cidr.to_string() }]);
                values.pod_cidrs.iter().map(range).collect()
            }
            POD_CIDRS => values.pod_cidrs.iter().map(ToString::to_string).collect(),
            NODE_NAME => values.node.clone().into(),
            _ => value.clone(),
        },
        Value::Array(members) => members.iter().map(|member| filled(member, values)).collect(),
        Value::Object(object) => {
            let filled = object.iter().map(|(key, member)| (key.clone(), filled(member, values)));
            Value::Object(filled.collect())
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            node: "one".to_owned(),
            pod_cidrs: ["10.244.1.0/24", "fd00:1::/64"].map(|cidr| cidr.parse().unwrap()).into(),
        }
    }

    #[test]
    fn placeholders_stand_for_what_this_node_has() {
        let text = r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge",
            "ipam": {"type": "host-local", "ranges": "${ranges}"}},
            {"type": "x", "of": ["${node-name}", "a ${b}"], "cidrs": "${pod-cidrs}"}]}"#;
        let template = Template::parse(text).unwrap();
        assert_eq!(template.types(), ["bridge", "host-local", "x"]);
        let list = Value::Object(template.render(&values()));
        assert_eq!(
            list,
            json!({"cniVersion": "1.0.0", "name": "n", "plugins": [
                {"type": "bridge", "ipam": {"type": "host-local",
                 "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]}},
                {"type": "x", "of": ["one", "a ${b}"],
                 "cidrs": ["10.244.1.0/24", "fd00:1::/64"]}]})
        );
    }

    #[test]
    fn every_fault_names_key_value_and_remedy() {
        let faults = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(
            faults(
                r#"{"name": "a/b", "cniVersion": 1, "plugins": [3, {"type": "x/y"}, {}],
                "more": {"a": ["${typo}"]}}"#
            ),
            [
                "cniVersion is 1: write one of \"0.2.0\", \"0.3.0\", \"0.3.1\", \"0.4.0\", \
                 \"1.0.0\", \"1.1.0\"",
                "name is \"a/b\": write the network's name, of letters, digits, \".\", \"_\" and \
                 \"-\"",
                "plugins[0] is 3: write an object",
                "plugins[1].type is \"x/y\": write the name of the plugin's executable",
                "plugins[2].type is missing: write the name of the plugin's executable",
                "more.a[0] is \"${typo}\": write one of \"${ranges}\", \"${pod-cidrs}\", \
                 \"${node-name}\"",
            ]
        );
        assert_eq!(faults("{}").len(), 3);
        assert!(faults(r#"{"plugins": []}"#)[2].starts_with("plugins is []: write a list"));
        assert!(faults("{,")[0].starts_with("it is no JSON: "));
        assert!(faults("[1]")[0].starts_with("it is [1] and no object: "));
    }
}
