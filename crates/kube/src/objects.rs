//! Objects of Kubernetes, with the fields that our programs need and no others: what is not here is
//! neither kept in memory nor a change. Kubernetes writes all of them in the same form as JSON and
//! YAML.

mod metadata;
mod namespace;
mod node;
mod pod;
pub mod policy;

pub use metadata::Metadata;
pub use namespace::Namespace;
pub use node::{Address, Condition, Node, NodeSpec, NodeStatus, Taint};
pub use pod::{Container, Pod, PodIp, PodSpec, PodStatus, Port};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// A kind of object, as the API server's paths and a Role name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version of the group, as `v1`.
    pub version: &'static str,
    /// The plural in lower case, as `nodes`.
    pub plural: &'static str,
    /// The kind, as `Node`.
    pub kind: &'static str,
}

impl Resource {
    /// As objects have it in `apiVersion`: `v1`, `networking.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }
}

/// An object of Kubernetes.
pub trait Object: DeserializeOwned + PartialEq + Send + Sync + 'static {
    /// Its kind.
    const RESOURCE: Resource;

    /// Its metadata.
    fn metadata(&self) -> &Metadata;

    /// Its metadata.
    fn metadata_mut(&mut self) -> &mut Metadata;
}

/// A value that may be `null`, which means the default. Go writes an empty list as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
