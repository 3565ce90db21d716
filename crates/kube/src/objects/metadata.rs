//! What every object has.

use super::nullable;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Annotations that begin so are kept. All others are other programs': some are changed every minute,
/// and some hold the whole object once more.
const ANNOTATIONS: [&str; 3] =
    ["ferrule.io/", "kubernetes.io/config.hash", "flannel.alpha.coreos.com/public-ip"];

/// The metadata of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// Its name, unique in its namespace at a time.
    pub name: String,
    /// Its namespace; empty for a kind that has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Distinguishes it from an earlier object of the same name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its labels.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations that begin with `ferrule.io/`, a static pod's hash, and flannel's `public-ip…`.
    #[serde(deserialize_with = "ours", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it was created, as RFC 3339 has it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub creation_timestamp: String,
    /// When it is to be gone, as RFC 3339 has it; empty unless somebody has deleted it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub deletion_timestamp: String,
    /// Another at each change of the object, also of what is not kept here: [`crate::watch()`] takes
    /// it out, so that objects are equal that differ in nothing else.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
}

fn ours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let mut all: BTreeMap<String, String> = nullable(deserializer)?;
    all.retain(|name, _| ANNOTATIONS.iter().any(|begin| name.starts_with(begin)));
    Ok(all)
}
