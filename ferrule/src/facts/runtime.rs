//! What the runtime's library (libcni) remembers of attachments, in /var/lib/cni/results: the pods'
//! names and namespaces.

use crate::places::{self, Places};
use serde_json::Value;
use std::path::PathBuf;

/// An attachment as the runtime knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// The network.
    pub network: String,
    /// The container.
    pub container: String,
    /// The interface.
    pub ifname: String,
    /// The pod, `namespace/name`, where Kubernetes named it.
    pub pod: Option<String>,
    /// Its network namespace.
    pub netns: Option<PathBuf>,
}

/// All of them.
#[must_use]
pub fn read(places: &Places) -> Vec<Sandbox> {
    let folder = places.at("/var/lib/cni/results");
    let names = places::names(&folder).ok().flatten().unwrap_or_default();
    let sandbox = |name: &String| {
        let text = places::text(&folder.join(name)).ok()??;
        parse(&serde_json::from_str(&text).ok()?)
    };
    names.iter().filter_map(sandbox).collect()
}

fn parse(cached: &Value) -> Option<Sandbox> {
    let text = |key: &str| cached[key].as_str().map(str::to_owned);
    let argument = |name: &str| {
        let arguments = cached["cniArgs"].as_array()?;
        arguments.iter().find(|pair| pair[0] == name)?[1].as_str()
    };
    let pod = argument("K8S_POD_NAME").map(|pod| match argument("K8S_POD_NAMESPACE") {
        Some(namespace) => format!("{namespace}/{pod}"),
        None => pod.to_owned(),
    });
    Some(Sandbox {
        network: text("networkName")?,
        container: text("containerId")?,
        ifname: text("ifName")?,
        pod,
        netns: text("netns").map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_name_is_that_of_kubernetes() {
        let cached = serde_json::json!({"kind": "cniCacheV1", "containerId": "c1", "ifName": "eth0",
            "networkName": "pods", "netns": "/run/netns/a",
            "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "db-0"]]});
        let sandbox = parse(&cached).unwrap();
        assert_eq!(sandbox.pod.as_deref(), Some("shop/db-0"));
        assert_eq!(sandbox.netns, Some(PathBuf::from("/run/netns/a")));
        assert_eq!(parse(&serde_json::json!({})), None);
    }
}
