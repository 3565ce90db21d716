# shellcheck shell=bash
# The control plane: etcd, API server, controller manager, scheduler. Sourced after machines.sh.

readonly API=https://192.0.2.10:6443
readonly PKI=$CLUSTER/pki

# kubeconfig FILE TOKEN : of whom the token names
kubeconfig() {
    cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: ferrule, cluster: {server: "$API", certificate-authority: $PKI/apiserver.crt}}]
users: [{name: $2, user: {token: $2}}]
contexts: [{name: ferrule, context: {cluster: ferrule, user: $2}}]
current-context: ferrule
YAML
}

# A token for each who asks the API server, as (token, user, UID, groups).
make_credentials() {
    local node
    mkdir -p "$PKI"
    openssl ecparam -genkey -name prime256v1 -noout -out "$PKI/accounts.key"
    {
        echo 'admin,admin,admin,system:masters'
        echo 'proxy,system:kube-proxy,proxy,'
        for node in $(node_names); do echo "node-$node,system:node:$node,node-$node,system:nodes"; done
    } >"$PKI/tokens.csv"
    kubeconfig "$CLUSTER/admin.conf" admin
    kubeconfig "$CLUSTER/proxy.conf" proxy
    for node in $(node_names); do kubeconfig "$CLUSTER/$node/kubelet.conf" "node-$node"; done
}

start_etcd() {
    start control etcd etcd --data-dir /var/lib/etcd --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
}

# Its certificate is made by itself, for its address and the names of its Service. Kubelets are
# dialled by their addresses, since no DNS knows their names.
start_api_server() {
    start control kube-apiserver "$STAGE/kubernetes/kube-apiserver" \
        --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=192.0.2.10 --advertise-address=192.0.2.10 --cert-dir="$PKI" \
        --token-auth-file="$PKI/tokens.csv" --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --service-cluster-ip-range="$SERVICE_CIDRS" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$PKI/accounts.key" \
        --service-account-signing-key-file="$PKI/accounts.key" \
        --kubelet-preferred-address-types=InternalIP --profiling=false
}

# ready : whether the API server serves, its first objects included
ready() { kubectl get --raw /readyz && kubectl get namespace default; }

start_controllers() {
    start control kube-controller-manager "$STAGE/kubernetes/kube-controller-manager" \
        --kubeconfig="$CLUSTER/admin.conf" --leader-elect=false --bind-address=127.0.0.1 \
        --use-service-account-credentials=true \
        --allocate-node-cidrs=true --cluster-cidr="$POD_CIDRS" --service-cluster-ip-range="$SERVICE_CIDRS" \
        --node-cidr-mask-size-ipv4=24 --node-cidr-mask-size-ipv6=64 \
        --service-account-private-key-file="$PKI/accounts.key" --root-ca-file="$PKI/apiserver.crt"
    start control kube-scheduler "$STAGE/kubernetes/kube-scheduler" \
        --kubeconfig="$CLUSTER/admin.conf" --leader-elect=false --bind-address=127.0.0.1
}
