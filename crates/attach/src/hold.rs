//! The pod's first packet: where policies are configured on the node, ADD holds a pod back that they may
//! select, and returns when policy-sync has decided on it, or after a while with the pod held.

use cni::Request;
use nft::policy::Policed;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// What ADD does about policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whether a policy may select the pod, so that it is held.
    pub selectable: bool,
    /// How long ADD waits for the decision at most.
    pub wait: Duration,
    /// The bridge that the pod is a port of: policies are about what passes between its ports, too.
    pub bridge: Option<String>,
}

/// What a pod is called in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// K8S_POD_NAMESPACE.
    pub namespace: String,
    /// K8S_POD_NAME.
    pub name: String,
    /// K8S_POD_UID; empty where the runtime did not say it.
    pub uid: String,
}

impl PodName {
    /// As the runtime says it in `CNI_ARGS`; `None` outside of Kubernetes.
    pub fn of(request: &Request) -> Option<PodName> {
        let arg = |name| request.env.args.get(name).unwrap_or_default().to_owned();
        let (namespace, name) = (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME"));
        let uid = arg("K8S_POD_UID");
        (!namespace.is_empty() && !name.is_empty()).then_some(PodName { namespace, name, uid })
    }
}

/// A pod's address on which policies decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPod {
    pub(crate) held: Policed,
    pub(crate) pod: Option<PodName>,
    /// Whether it is held, or only recorded for policy-sync.
    pub(crate) selectable: bool,
}

impl HeldPod {
    pub(crate) fn new(
        address: IpAddr,
        comment: &str,
        pod: Option<PodName>,
        selectable: bool,
    ) -> HeldPod {
        HeldPod { held: Policed { address, comment: comment.to_owned() }, pod, selectable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owned;

    #[test]
    fn a_record_tells_the_pod() {
        let pod = PodName { namespace: "a".into(), name: "b".into(), uid: "c".into() };
        let owned = Owned::Policed { address: "10.1.0.5".parse().unwrap(), pod: Some(pod) };
        let text = serde_json::to_string(&owned).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"held","address":"10.1.0.5","pod":{"namespace":"a","name":"b","uid":"c"}}"#
        );
        assert_eq!(serde_json::from_str::<Owned>(&text).unwrap(), owned);
        let alone = r#"{"kind":"held","address":"fd00::5"}"#;
        assert!(matches!(serde_json::from_str(alone).unwrap(), Owned::Policed { pod: None, .. }));
    }
}
