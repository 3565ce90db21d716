# shellcheck shell=bash
# The pod network of the nodes: Ferrule, fed by a file. Sourced after nodes.sh.

# cluster_nodes : every node as nodes.toml has them, from the API server
cluster_nodes() {
    local name cidrs
    while read -r name cidrs; do
        printf '[[node]]\nname = "%s"\naddresses = ["%s", "%s"]\npod-cidrs = ["%s"]\n\n' \
            "$name" "$(address4 "$name")" "$(address6 "$name")" "${cidrs//,/\", \"}"
    done < <(kubectl get nodes -o 'jsonpath={range .items[?(@.spec.podCIDR)]}{.metadata.name} {.spec.podCIDRs[0]},{.spec.podCIDRs[1]}{"\n"}{end}')
}

# tell_nodes : gives every node, in one step, the nodes that the API server has
tell_nodes() {
    cluster_nodes >"$CLUSTER/nodes.toml.new"
    mv "$CLUSTER/nodes.toml.new" "$CLUSTER/nodes.toml"
}

route_sync_config() {
    cat <<TOML
node-name = "$1"
cluster-cidrs = ["${POD_CIDRS/,/\", \"}"]
service-cidrs = ["${SERVICE_CIDRS/,/\", \"}"]
[source]
type = "file"
path = "$CLUSTER/nodes.toml"
[masquerade]
enabled = true
TOML
}

conflist() {
    cat <<'JSON'
{
  "cniVersion": "1.1.0",
  "name": "ferrule",
  "plugins": [
    {"type": "vxlan", "hairpinMode": true, "ipam": {"type": "host-local"}},
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "bandwidth", "capabilities": {"bandwidth": true}}
  ]
}
JSON
}

# install_executables NODE : ours into its /opt/cni/bin, each at once
install_executables() {
    # shellcheck disable=SC2016 # for the shell inside
    on "$1" bash -ec '
        for file in /run/stage/bin/*; do
            name=/opt/cni/bin/${file##*/}
            cp "$file" "$name.new"
            mv "$name.new" "$name"
        done'
}

# network NODE : plugins, route-sync, and last the conflist, which makes the node ready
network() {
    install_executables "$1"
    route_sync_config "$1" >"$CLUSTER/$1/route-sync.toml"
    start "$1" route-sync "$STAGE/bin/route-sync" --config "$CLUSTER/$1/route-sync.toml"
    conflist >"$CLUSTER/$1/10-ferrule.conflist"
    on "$1" cp "$CLUSTER/$1/10-ferrule.conflist" /etc/cni/net.d/
}
