//! A key that stands twice in one JSON object: parsers keep one of the two values.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// A key of the object `sysctl` that stands there twice.
pub(super) fn find_duplicate(document: &[u8]) -> Option<String> {
    let Document(found) = serde_json::from_slice(document).unwrap_or_default();
    found
}

#[derive(Default)]
struct Document(Option<String>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Document, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut found = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key.eq_ignore_ascii_case("sysctl") {
                        let Twice(twice) = map.next_value()?;
                        found = found.or(twice);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Document(found))
            }
        }
        from.deserialize_map(Keys)
    }
}

struct Twice(Option<String>);

impl<'de> Deserialize<'de> for Twice {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Twice, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Twice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Twice, E> {
                Ok(Twice(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Twice, A::Error> {
                let mut seen = BTreeSet::new();
                let mut twice = None;
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if !seen.insert(key.clone()) {
                        twice = twice.or(Some(key));
                    }
                }
                Ok(Twice(twice))
            }
        }
        from.deserialize_any(Keys)
    }
}
