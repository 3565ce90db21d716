//! JSON as Go's decoder reads it, since every conflist in use was written against that.
//!
//! Keys of structures match without regard to ASCII case (an exact match wins), keys of maps
//! exactly; `null` leaves a field at its default. Errors name the place: `ipam.ranges[0][0].subnet`.

use serde::Serialize;
use serde::de::value::{BorrowedStrDeserializer, MapDeserializer, UnitDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::{Map, Value};
use std::{fmt, slice};

/// Why a value does not have the shape asked for, and where in the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", self.path, if self.path.is_empty() { "" } else { ": " })]
pub struct Fault {
    path: String,
    message: String,
}

impl Fault {
    /// The same fault, seen from one level further out.
    #[must_use]
    pub fn under(mut self, place: &str) -> Fault {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{place}{dot}{}", self.path);
        self
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault { path: String::new(), message: message.to_string() }
    }

    fn invalid_type(found: Unexpected, wanted: &dyn Expected) -> Fault {
        Fault::custom(format!(
            "invalid type: {}, expected {}",
            found_word(found),
            wanted_word(wanted)
        ))
    }

    fn invalid_value(found: Unexpected, wanted: &dyn Expected) -> Fault {
        Fault::custom(format!(
            "invalid value: {}, expected {}",
            found_word(found),
            wanted_word(wanted)
        ))
    }
}

/// A value in JSON's words: serde's are those of Rust.
fn found_word(found: Unexpected) -> String {
    match found {
        Unexpected::Float(number) => format!("number `{number}`"),
        Unexpected::Seq => "list".to_owned(),
        Unexpected::Map => "object".to_owned(),
        Unexpected::Unit => "null".to_owned(),
        other => other.to_string(),
    }
}

fn wanted_word(wanted: &dyn Expected) -> String {
    let most = |most: u64| format!("a whole number from 0 to {most}");
    match wanted.to_string().as_str() {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "u8" => most(u8::MAX.into()),
        "u16" => most(u16::MAX.into()),
        "u32" => most(u32::MAX.into()),
        "u64" | "usize" => most(u64::MAX),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        other => other.to_owned(),
    }
}

/// Decodes a whole value.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Fault> {
    T::deserialize(Node(value))
}

/// The value of a key of an object, found as Go finds it: exactly, else without regard to case.
pub fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(spelled(object, key)?)
}

/// How an object spells a key that [`get`] finds.
pub fn spelled<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let alike = || object.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key));
    let found = object.get_key_value(key).or_else(alike);
    found.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
}

/// The value as text for stdout: indented by four spaces as the reference plugins write it.
pub fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    // Writing our own types into memory cannot fail; an empty document would be a fault to see.
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|error| {
        format!("{{\"code\": 999, \"msg\": \"cannot write JSON: {error}\"}}")
    });
    // It indents by two, and another formatter takes serde_json's feature std.
    let mut wide = String::with_capacity(2 * text.len());
    for line in text.lines() {
        let rest = line.trim_start_matches(' ');
        wide.extend(std::iter::repeat_n("  ", line.len() - rest.len()));
        wide.push_str(rest);
        wide.push('\n');
    }
    wide.into_bytes()
}

#[derive(Clone, Copy)]
struct Node<'de>(&'de Value);

impl<'de> Node<'de> {
    fn unexpected(self) -> Unexpected<'de> {
        match self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(_) => Unexpected::Other("number"),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::INFINITY)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter(), 0)),
            Value::Object(map) => visitor.visit_map(Entries {
                entries: map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
                next: 0,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let entries = match self.0 {
            Value::Null => Vec::new(),
            Value::Object(map) => fields
                .iter()
                .filter_map(|field| get(map, field).map(|value| (*field, value)))
                .collect(),
            _ => return Err(Fault::invalid_type(self.unexpected(), &"an object")),
        };
        visitor.visit_map(Entries { entries, next: 0 })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() {
            return visitor.visit_seq(Items([].iter(), 0));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_null() {
            let none = std::iter::empty::<(&str, UnitDeserializer<Fault>)>();
            return visitor.visit_map(MapDeserializer::new(none));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(Fault::invalid_type(self.unexpected(), &"a string")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'de>(slice::Iter<'de, Value>, usize);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.0.next() else { return Ok(None) };
        let index = self.1;
        self.1 += 1;
        seed.deserialize(Node(item)).map(Some).map_err(|fault| fault.under(&format!("[{index}]")))
    }
}

struct Entries<'de> {
    entries: Vec<(&'de str, &'de Value)>,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        match self.entries.get(self.next) {
            Some((key, _)) => seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, value)) = self.entries.get(self.next) else {
            return Err(Fault::custom("a value without a key"));
        };
        self.next += 1;
        seed.deserialize(Node(value)).map_err(|fault| fault.under(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Outer {
        data_dir: String,
        mtu: u32,
        ranges: Vec<Vec<Inner>>,
        sysctl: BTreeMap<String, String>,
        gateway: Option<std::net::IpAddr>,
    }
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        subnet: String,
    }

    #[test]
    fn keys_of_structures_fold_and_keys_of_maps_do_not() {
        let value = json!({"DATADIR": "/x", "Mtu": 9, "ranges": [[{"SUBNET": "10.0.0.0/8"}]],
                           "sysctl": {"A.b": "1"}, "unknown": {}});
        let outer: Outer = decode(&value).unwrap();
        assert_eq!(outer.data_dir, "/x");
        assert_eq!(outer.mtu, 9);
        assert_eq!(outer.ranges[0][0].subnet, "10.0.0.0/8");
        assert_eq!(outer.sysctl["A.b"], "1");
    }

    #[test]
    fn an_exact_key_wins_and_null_is_the_default() {
        let value = json!({"DataDir": "wrong", "dataDir": "right", "mtu": null, "ranges": null,
                           "sysctl": null, "gateway": null});
        let outer: Outer = decode(&value).unwrap();
        assert_eq!(outer, Outer { data_dir: "right".into(), ..Outer::default() });
    }

    #[test]
    fn a_fault_names_its_place() {
        let value = json!({"ranges": [[{"subnet": "a"}, {"subnet": 5}]]});
        let fault = decode::<Outer>(&value).unwrap_err().to_string();
        assert_eq!(fault, "ranges[0][1].subnet: invalid type: integer `5`, expected a string");
        let fault = decode::<Outer>(&json!({"gateway": "10.0.0"})).unwrap_err().to_string();
        assert_eq!(fault, "gateway: invalid IP address syntax");
        let fault = decode::<Outer>(&json!([])).unwrap_err().to_string();
        assert_eq!(fault, "invalid type: list, expected an object");
    }

    #[test]
    fn a_fault_speaks_of_json_and_not_of_rust() {
        for (value, wanted) in [
            (
                json!({"mtu": "1400"}),
                "mtu: invalid type: string \"1400\", expected a whole number from 0 to 4294967295",
            ),
            (
                json!({"mtu": 1.5}),
                "mtu: invalid type: number `1.5`, expected a whole number from 0 to 4294967295",
            ),
            (
                json!({"mtu": -1}),
                "mtu: invalid value: integer `-1`, expected a whole number from 0 to 4294967295",
            ),
            (
                json!({"mtu": {}}),
                "mtu: invalid type: object, expected a whole number from 0 to 4294967295",
            ),
            (json!({"ranges": {}}), "ranges: invalid type: object, expected a list"),
            (json!({"sysctl": []}), "sysctl: invalid type: list, expected an object"),
            (json!({"dataDir": 5}), "dataDir: invalid type: integer `5`, expected a string"),
        ] {
            assert_eq!(decode::<Outer>(&value).unwrap_err().to_string(), wanted);
        }
    }
}
