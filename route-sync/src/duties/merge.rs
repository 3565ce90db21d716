//! What is written over a conflist that is there: what others have appended to it stays, and so does
//! what an administrator has changed in it, unless the template now says something else there.

use super::template::{List, PLUGINS, kind, plugins, shown};
use serde_json::{Map, Value};

mod pairs;

use pairs::Pairs;

/// What to write, and what became of differences between the file and the template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The conflist to write.
    pub list: List,
    /// Types of the plugins that others have put into it, in their order.
    pub others: Vec<String>,
    /// What differs from the template, and stays, each in words.
    pub kept: Vec<String>,
    /// What was there and is not in `list`, each in words.
    pub lost: Vec<String>,
}

/// A pure function of the conflist as it was written last (`base`; `None` where that is not known),
/// as it is `there` now, and as the template has it `now`. Where the base is not known, only plugins
/// of types that the template does not have are taken for others' and stay.
pub fn merge(base: Option<&List>, there: &List, now: &List) -> Merged {
    let mut merged = once(base, there, now);
    // Where the template has several plugins of one type and an administrator took one out, the list
    // may be paired otherwise when it is read again: what is written is what stays.
    for _ in 0..plugins(now).len() {
        let again = once(Some(now), &merged.list, now);
        if again.list == merged.list {
            break;
        }
        merged.list = again.list;
    }
    merged
}

fn once(base: Option<&List>, there: &List, now: &List) -> Merged {
    let mut merged = Merged::default();
    let pairs = Pairs::of(base.map(plugins), plugins(there), plugins(now));
    if !pairs.is_ours() {
        merged.list = now.clone();
        merged.lost.push("the plugins there are of another network".to_owned());
        return merged;
    }
    let known = base.is_some();
    let empty = List::new();
    let list = merged.object(known, "", base.unwrap_or(&empty), there, now, Some(PLUGINS));
    merged.list = list;
    let plugins = merged.plugins(known, &pairs);
    merged.list.insert(PLUGINS.to_owned(), Value::Array(plugins));
    merged
}

impl Merged {
    /// The plugins in the template's order, and the others': after the one of ours that they stood
    /// behind, and at the end where none of ours followed.
    fn plugins(&mut self, known: bool, pairs: &Pairs) -> Vec<Value> {
        let mut plugins: Vec<Value> = pairs.in_front().cloned().collect();
        for (at, now) in pairs.now.iter().enumerate() {
            plugins.extend(self.plugin(known, pairs, at, now));
            plugins.extend(pairs.behind(at).cloned());
        }
        plugins.extend(pairs.at_the_end().cloned());
        for (base, there) in pairs.dropped() {
            if base != there {
                self.lost.push(format!(
                    "{} was {} there, and the template has it no more",
                    path(there),
                    shown(there)
                ));
            }
        }
        self.others = pairs.others().map(|plugin| kind(plugin).to_owned()).collect();
        plugins
    }

    /// One plugin of the template; `None` where an administrator has taken it out.
    fn plugin(&mut self, known: bool, pairs: &Pairs, at: usize, now: &Value) -> Option<Value> {
        let (base, there) = (pairs.base_of(at), pairs.there_of(at));
        let path = path(now);
        if let (Some(base), None) = (base, there) {
            // Without its first plugin the list is no network of ours.
            if base == now && at > 0 {
                self.kept.push(format!("{path} is not there, and the template has it"));
                return None;
            }
            self.lost.push(format!("{path} was not there, and the template has changed it"));
        }
        match there {
            None => Some(now.clone()),
            Some(there) => self.value(known, &path, base, Some(there), Some(now)),
        }
    }

    /// One value, by its three versions; `None` where it is not there.
    fn value(
        &mut self,
        known: bool,
        path: &str,
        base: Option<&Value>,
        there: Option<&Value>,
        now: Option<&Value>,
    ) -> Option<Value> {
        if there == now || (known && there == base) {
            return now.cloned();
        }
        if let (Some(Value::Object(there)), Some(Value::Object(now))) = (there, now) {
            let empty = Map::new();
            let base = base.and_then(Value::as_object).unwrap_or(&empty);
            return Some(self.object(known, path, base, there, now, None).into());
        }
        let is = |value: Option<&Value>, none: &str| value.map_or_else(|| none.to_owned(), shown);
        let was = is(there, "absent");
        if known && now == base {
            let wanted = is(now, "absent");
            self.kept.push(format!("{path} is {was} there and {wanted} in the template"));
            return there.cloned();
        }
        let wanted = is(now, "no such key");
        self.lost.push(format!("{path} was {was} there, and the template now has {wanted}"));
        now.cloned()
    }

    /// Key by key, without one that is merged otherwise.
    fn object(
        &mut self,
        known: bool,
        path: &str,
        base: &List,
        there: &List,
        now: &List,
        without: Option<&str>,
    ) -> List {
        let more = there.keys().filter(|key| !now.contains_key(*key));
        let keys = now.keys().chain(more).filter(|key| Some(key.as_str()) != without);
        let mut merged = Map::new();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let value = self.value(known, &path, base.get(key), there.get(key), now.get(key));
            merged.extend(value.map(|value| (key.clone(), value)));
        }
        merged
    }
}

/// A plugin's place in a message.
fn path(plugin: &Value) -> String {
    format!("{PLUGINS}[{}]", kind(plugin))
}

#[cfg(test)]
mod tests;
