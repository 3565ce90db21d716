# shellcheck shell=bash
# A Kubernetes cluster with Ferrule as its pod network. Sourced by scripts/demo.

# shellcheck source-path=SCRIPTDIR source=../kubernetes_lib/cluster.sh
. "$ROOT/scripts/kubernetes_lib/cluster.sh"

diagram() {
    cat <<'END'

       203.0.113.1, outside.example: outside of the cluster
                            router
                   ┌───────────┴────────────────┐
             192.0.2.0/24                 198.51.100.0/24
           2001:db8:a::/64                2001:db8:b::/64
      ┌────────────┼────────────┐               │
   control     node one     node two       node three     containerd, kubelet, kube-proxy (nftables),
                 pods         pods            pods        route-sync

   one ↔ two: plain routes, they share a link.   one, two ↔ three: VXLAN, through the router.
END
}

# Three pods on each node, which answer HTTP, behind a Service of both families.
web() {
    kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 9
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: ferrule.test/tools:1, command: [agnhost, netexec]}]
YAML
    kubectl rollout status deployment/web --timeout=180s
}
web_service() {
    kubectl apply -f - <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ipFamilyPolicy: RequireDualStack
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
YAML
}

pods() { kubectl get pods -l app=web -o "jsonpath={range .items[*]}$1{\"\n\"}{end}"; }

# pings_of FIELD : each pod to the addresses of all, in one kubectl exec for each
pings_of() {
    local pod addresses
    mapfile -t addresses < <(pods "$1")
    for pod in $(pods '{.metadata.name}'); do
        # shellcheck disable=SC2016 # for the shell in the pod
        kubectl exec "$pod" -- sh -c 'for to; do ping -c1 -W5 "$to" || exit 1; done' sh "${addresses[@]}" || return 1
    done
}

# answers URL : how many different pods answer sixty requests from a pod
answers() {
    # shellcheck disable=SC2016 # for the shell in the pod
    kubectl exec "$(pods '{.metadata.name}' | head -n1)" -- \
        sh -c 'for i in $(seq 60); do timeout 5 wget -q -O- "$1" || exit 1; echo; done' sh "$1" | sort -u | grep -c .
}
all_answer() {
    local got
    got=$(answers "$1") || return 1
    [ "$got" = 9 ] || { echo "$got pods of 9 answer" && return 1; }
}

from_a_pod() { kubectl exec "$(pods '{.metadata.name}' | tail -n1)" -- "$@"; }
from_outside() { timeout 5 busybox wget -q -O- "http://$1:30080/hostname"; }

no_pods() { [ -z "$(kubectl get pods -o name)" ]; }
leases() { on "$1" find /var/lib/cni/networks/ferrule -name '10.244.*'; }
no_leases() {
    local node
    for node in one two three; do
        # CoreDNS has the others.
        [ "$(leases "$node" | wc -l)" -le 2 ] || { leases "$node" && return 1; }
    done
}

scene_kubernetes() {
    local begin=$SECONDS
    head1 'A cluster: API server, three nodes, CoreDNS'
    diagram
    cluster_up nftables
    ok "all nodes are ready after $((SECONDS - begin)) s"
    kubectl get nodes -o 'custom-columns=NODE:.metadata.name,VERSION:.status.nodeInfo.kubeletVersion,ADDRESSES:.status.addresses[*].address,POD CIDRS:.spec.podCIDRs[*]' | indent
    step 'CoreDNS runs' kubectl -n kube-system rollout status deployment/coredns --timeout=180s
    say '  On node one, route-sync status:'
    on one "$STAGE/bin/route-sync" --config "$CLUSTER/one/route-sync.toml" status | indent
    head1 'A Deployment of nine pods'
    step 'kubectl apply' web
    kubectl get pods -l app=web -o 'custom-columns=POD:.metadata.name,NODE:.spec.nodeName,ADDRESSES:.status.podIPs[*].ip' | indent
    step 'IPv4: 81 pings, from each pod to each' pings_of '{.status.podIPs[0].ip}'
    step 'IPv6: 81 pings, from each pod to each' pings_of '{.status.podIPs[1].ip}'
    head1 'A Service of them, by kube-proxy'
    step 'kubectl apply' web_service
    step "http://web, by CoreDNS: all nine answer a pod" within 60 all_answer http://web/hostname
    step "http://192.0.2.1:30080, a node port, from outside" within 20 from_outside 192.0.2.1
    step "http://[2001:db8:b::3]:30080, from outside" within 20 from_outside '[2001:db8:b::3]'
    head1 'Out of the cluster'
    step 'a pod reaches the API server' from_a_pod agnhost connect kubernetes.default:443 --timeout=5s
    step 'a pod reaches outside.example' from_a_pod agnhost connect outside.example:80 --timeout=5s
    head1 'The end'
    step 'kubectl delete deployment,service web' kubectl delete --wait deployment,service web
    step '    its pods are gone' within 60 no_pods
    step "    and so are their addresses' leases on every node" within 20 no_leases
}
