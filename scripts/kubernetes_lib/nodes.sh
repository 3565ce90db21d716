# shellcheck shell=bash
# What runs on each node but its pod network: containerd, kubelet, kube-proxy. Sourced after
# control.sh.

containerd_config() {
    cat <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "ferrule.test/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
TOML
}

# Nothing is evicted: the machine's disk and memory are those of all nodes.
kubelet_config() {
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
  pid.available: "0%"
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
resolvConf: /etc/resolv.conf
staticPodPath: /run/static-pods
volumePluginDir: /var/lib/kubelet/volume-plugins
registerNode: true
YAML
}

# proxy_config NODE MODE ; conntrack's limits are the host's, and stay.
proxy_config() {
    cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $2
hostnameOverride: $1
clusterCIDR: $POD_CIDRS
clientConnection: {kubeconfig: $CLUSTER/proxy.conf}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

start_containerd() {
    local node=$1
    containerd_config >"$CLUSTER/$node/containerd.toml"
    start "$node" containerd env "PATH=$STAGE/containerd:$PATH" \
        "$STAGE/containerd/containerd" --config "$CLUSTER/$node/containerd.toml" --log-level info
}
containerd_answers() { on "$1" "$STAGE/containerd/ctr" version; }

start_kubelet() {
    local node=$1
    kubelet_config >"$CLUSTER/$node/kubelet.yaml"
    on "$node" mkdir -p /run/static-pods
    start "$node" kubelet "$STAGE/kubernetes/kubelet" --config="$CLUSTER/$node/kubelet.yaml" \
        --kubeconfig="$CLUSTER/$node/kubelet.conf" --hostname-override="$node" \
        --node-ip="$(address4 "$node"),$(address6 "$node")" --cert-dir=/var/lib/kubelet/pki
}

# start_proxy NODE MODE : nftables or iptables; it removes what the other mode has made
start_proxy() {
    proxy_config "$1" "$2" >"$CLUSTER/$1/kube-proxy.yaml"
    start "$1" kube-proxy "$STAGE/kubernetes/kube-proxy" --config="$CLUSTER/$1/kube-proxy.yaml"
}
proxy_mode() {
    local node
    for node in $(node_names); do
        stop "$node" kube-proxy
        start_proxy "$node" "$1"
    done
}

# containerd with its images, while the API server comes up
prepare_node() {
    start_containerd "$1"
    within 60 containerd_answers "$1" || { log_of "$1" containerd | tail -n5 && return 1; }
    import "$1" "$CLUSTER"/images/*.tar
}
