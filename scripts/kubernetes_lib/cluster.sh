# shellcheck shell=bash
# A Kubernetes cluster in namespaces. Sourced by scripts/kubernetes and by scripts/demo's scene,
# after lib.sh. need_cluster and peers_of_cluster run outside, the rest inside, after own_run.

lib=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR source=machines.sh
for part in machines control nodes network images; do . "$lib/$part.sh"; done

need_kubernetes() {
    need ip iproute2 nft nftables iptables iptables conntrack conntrack unshare util-linux \
        setpriv util-linux nsenter util-linux runc runc etcd etcd-server openssl openssl \
        gcc gcc /usr/include/stdio.h libc6-dev /usr/share/doc/busybox-static busybox-static go golang-go
    # Before the namespaces, which have no network to build them by.
    "$ROOT/scripts/peers" kubernetes containerd coredns >/dev/null
}

# own_cluster_run BIN_DIR : own_run with the programs of a cluster
own_cluster_run() {
    local kubernetes containerd coredns
    kubernetes=$("$ROOT/scripts/peers" kubernetes)
    containerd=$("$ROOT/scripts/peers" containerd)
    coredns=$("$ROOT/scripts/peers" coredns)
    own_run bin="$1" lib="$lib" kubernetes="$kubernetes" containerd="$containerd" coredns="$coredns" "${@:2}"
    PATH=$STAGE/commands:$STAGE/kubernetes:$PATH
    export KUBECONFIG=$CLUSTER/admin.conf
    mkdir -p "$CLUSTER/images" "$STAGE/commands"
    ln -s ../lib/inside "$STAGE/commands/cluster"
}

# outside : what answers outside of the cluster, DNS for outside.example, and HTTP on port 80
outside() {
    cat >"$CLUSTER/Corefile" <<CONF
outside.example:53 {
    bind $OUTSIDE4 $OUTSIDE6
    hosts {
        $OUTSIDE4 outside.example
        $OUTSIDE6 outside.example
    }
}
.:53 {
    bind $OUTSIDE4 $OUTSIDE6
    template ANY ANY {
        rcode NXDOMAIN
    }
}
CONF
    setsid "$STAGE/coredns/coredns" -conf "$CLUSTER/Corefile" </dev/null >"$CLUSTER/outside-dns.log" 2>&1 &
    setsid "$STAGE/kubernetes/agnhost" netexec --http-port 80 </dev/null >"$CLUSTER/outside-http.log" 2>&1 &
}

# control_plane : until it serves
control_plane() {
    make_credentials
    start_etcd
    start_api_server
    within 120 ready || { log_of control kube-apiserver | tail -n20 && return 1; }
    start_controllers
}

# nodes_register PROXY_MODE : until each has its pod CIDRs
nodes_register() {
    local node
    for node in $(node_names); do
        start_kubelet "$node"
        start_proxy "$node" "$1"
    done
    for node in $(node_names); do
        kubectl wait --for=create "node/$node" --timeout=120s
        kubectl wait --for='jsonpath={.spec.podCIDRs[1]}' "node/$node" --timeout=60s
    done
}

# cluster_up PROXY_MODE : a cluster whose nodes are ready
cluster_up() {
    local node pids=() pid
    make_machines
    outside
    control_plane >"$CLUSTER/up.log" 2>&1 &
    pids+=($!)
    make_images
    for node in $(node_names); do
        prepare_node "$node" >"$CLUSTER/$node/prepare.log" 2>&1 &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || die "the cluster does not come up: $(tail -qn5 "$CLUSTER/up.log" "$CLUSTER"/*/prepare.log)"
    done
    nodes_register "$1" >>"$CLUSTER/up.log" 2>&1 || die "no nodes: $(tail -n5 "$CLUSTER/up.log")"
    tell_nodes
    for node in $(node_names); do network "$node"; done
    kubectl wait --for=condition=Ready node --all --timeout=120s >>"$CLUSTER/up.log" ||
        die "nodes are not ready: $(kubectl get nodes -o wide)"
    kubectl apply -f "$STAGE/lib/coredns.yaml" >>"$CLUSTER/up.log"
}
