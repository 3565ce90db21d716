//! Namespaces.

use super::{Metadata, Object, Resource};
use serde::{Deserialize, Serialize};

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its name and labels.
    pub metadata: Metadata,
}

impl Object for Namespace {
    const RESOURCE: Resource =
        Resource { group: "", version: "v1", plural: "namespaces", kind: "Namespace" };

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }
}
