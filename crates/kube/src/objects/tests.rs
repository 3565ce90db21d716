use super::*;

/// As the API server sends it, shortened where it only repeats itself.
const NODE: &str = r#"{
  "kind": "Node", "apiVersion": "v1",
  "metadata": {
    "name": "node-1", "uid": "a1b2", "resourceVersion": "4711", "creationTimestamp": "2026-11-30T20:00:00Z",
    "labels": {"kubernetes.io/hostname": "node-1"},
    "annotations": {
      "ferrule.io/node-addresses": "192.0.2.1",
      "flannel.alpha.coreos.com/backend-data": "{\"VtepMAC\":\"36:20:84:8f:b7:5e\"}",
      "flannel.alpha.coreos.com/public-ip-overwrite": "192.0.2.1",
      "node.alpha.kubernetes.io/ttl": "0"
    },
    "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]
  },
  "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"],
           "taints": [{"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule", "timeAdded": "x"}]},
  "status": {
    "capacity": {"cpu": "2"}, "images": [{"names": ["pause"], "sizeBytes": 1}],
    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": "node-1"}],
    "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                    "lastHeartbeatTime": "2026-11-30T20:00:00Z", "message": "kubelet is posting ready status"}]
  }
}"#;

fn node() -> Node {
    serde_json::from_str(NODE).unwrap()
}

#[test]
fn a_node_is_reduced_to_what_is_needed() {
    let node = node();
    assert_eq!((node.metadata.name.as_str(), node.metadata.uid.as_str()), ("node-1", "a1b2"));
    assert_eq!(node.spec.pod_cidrs, ["10.244.1.0/24", "fd00:1::/64"]);
    assert_eq!(node.spec.taints[0].key, "node.kubernetes.io/network-unavailable");
    let address = Address { kind: "InternalIP".into(), address: "192.0.2.1".into() };
    assert_eq!(node.status.addresses[0], address);
    let (ready, kubelet) = ("Ready".to_owned(), "KubeletReady".to_owned());
    let condition = Condition { kind: ready, status: "True".into(), reason: kubelet };
    assert_eq!(node.status.conditions, [condition]);
    let kept: Vec<&str> = node.metadata.annotations.keys().map(String::as_str).collect();
    assert_eq!(kept, ["ferrule.io/node-addresses", "flannel.alpha.coreos.com/public-ip-overwrite"]);
}

#[test]
fn a_heartbeat_changes_nothing() {
    let later = NODE.replace("2026-11-30T20:00:00Z", "2026-11-30T20:05:00Z");
    let mut later: Node = serde_json::from_str(&later.replace("\"36:20", "\"36:21")).unwrap();
    later.metadata.creation_timestamp = node().metadata.creation_timestamp;
    assert_eq!(later, node());
}

#[test]
fn what_is_missing_or_null_is_empty() {
    let bare: Node = serde_json::from_str(r#"{"metadata": {"name": "x"}}"#).unwrap();
    let nulls = r#"{"metadata": {"name": "x", "labels": null, "annotations": null, "creationTimestamp": null},
        "spec": {"podCIDRs": null, "taints": null}, "status": {"addresses": null, "conditions": null}}"#;
    assert_eq!(serde_json::from_str::<Node>(nulls).unwrap(), bare);
    let again = serde_json::to_string(&node()).unwrap();
    assert_eq!(serde_json::from_str::<Node>(&again).unwrap(), node());
}

#[test]
fn a_pod_has_its_ports_and_addresses() {
    let text = r#"{"metadata": {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1", "hostNetwork": true,
            "initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [{"containerPort": 9, "protocol": "UDP"}]}],
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080, "hostPort": 80}]}, {"name": "d"}]},
        "status": {"phase": "Running", "podIP": "10.244.1.5", "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00:1::5"}]}}"#;
    let pod: Pod = serde_json::from_str(text).unwrap();
    let port =
        Port { name: "http".into(), container_port: 8080, host_port: 80, protocol: "TCP".into() };
    assert_eq!(
        pod.spec.containers,
        [Container { ports: vec![port], ..Container::default() }, Container::default()]
    );
    assert_eq!(pod.spec.init_containers[0].ports[0].protocol, "UDP");
    let addresses: Vec<&str> = pod.status.pod_ips.iter().map(|it| it.ip.as_str()).collect();
    assert_eq!(addresses, ["10.244.1.5", "fd00:1::5"]);
    assert!(pod.spec.host_network && pod.spec.node_name == "node-1");
}

#[test]
fn a_resource_is_named_as_objects_name_it() {
    assert_eq!(Node::RESOURCE.api_version(), "v1");
    let policies = Resource {
        group: "networking.k8s.io",
        version: "v1",
        plural: "networkpolicies",
        kind: "NetworkPolicy",
    };
    assert_eq!(policies.api_version(), "networking.k8s.io/v1");
}
