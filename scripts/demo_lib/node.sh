# shellcheck shell=bash
# One node: two pods attached by cnitool with conf/10-bridge.conflist, packets through
# every path, and the node compared with what it was before. Sourced by scripts/demo.

# Documentation addresses: the wire between the node and the host outside.
readonly NODE4=198.51.100.1 OUTSIDE4=198.51.100.2
readonly NODE6=2001:db8:ffff::1 OUTSIDE6=2001:db8:ffff::2
readonly PODS=(pod-a pod-b)

need_node() { :; }

make_node() {
    ip link set lo up
    ip netns add outside
    # Some distributions turn IPv6 off by default.
    echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6 >/dev/null
    echo 0 | in_netns outside tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6 >/dev/null
    ip link add uplink type veth peer name eth0 netns outside
    ip link set uplink addrgenmode none # a link-local address changes for a second or two
    ip link set uplink up
    ip -n outside link set lo up
    ip -n outside link set eth0 up
    ip addr add $NODE4/24 dev uplink
    ip addr add $NODE6/64 dev uplink nodad
    ip -n outside addr add $OUTSIDE4/24 dev eth0
    ip -n outside addr add $OUTSIDE6/64 dev eth0 nodad
    ip route add default via $OUTSIDE4
    ip -6 route add default via $OUTSIDE6
    watch_sources outside
    # Things of others, which must be there afterwards as they were.
    ip route add blackhole 192.0.2.0/24
    ip rule add from 192.0.2.0/24 lookup 100
    nft add table inet admin '{ chain forward { type filter hook forward priority 0; counter; }; }'
    ok "node: uplink $NODE4, $NODE6; host outside: $OUTSIDE4, $OUTSIDE6, without a route to any pod"
}

# cnitool VERB POD [NETWORK INTERFACE]
cnitool() {
    CNI_PATH=$STAGE/bin NETCONFPATH=$STAGE/net.d CNI_IFNAME=${4:-eth0} \
        "$STAGE/tools/cnitool" "$1" "${3:-ferrule}" "/run/netns/$2"
}

attach() {
    local pod=$1 result
    ip netns add "$pod"
    if ! result=$(cnitool add "$pod" 2>&1); then
        bad "ADD $pod"
        indent <<<"$result"
        die 'ADD failed, nothing to show'
    fi
    ok "ADD $pod"
    indent <<<"$result"
    step "ADD $pod, loopback, with conf/99-loopback.conflist" cnitool add "$pod" lo lo
    watch_sources "$pod"
}

packets() {
    local family set a b gateway outside node
    touch /run/netns/node
    mount --bind /proc/self/ns/net /run/netns/node
    for family in 4 6; do
        head1 "IPv$family"
        set=four outside=$OUTSIDE4 node=$NODE4
        [ $family = 4 ] || set=six outside=$OUTSIDE6 node=$NODE6
        a=$(address pod-a eth0 $family)
        b=$(address pod-b eth0 $family)
        gateway=$(address node cni0 $family)
        step "pod-a $a → pod-b $b" one_ping pod-a "$b"
        step "    pod-b saw $a: not NATed" saw pod-b $set "$a"
        step "pod-b $b → pod-a $a" one_ping pod-b "$a"
        step "    pod-a saw $b: not NATed" saw pod-a $set "$b"
        step "pod-a → its gateway $gateway" one_ping pod-a "$gateway"
        step "pod-b → its gateway $gateway" one_ping pod-b "$gateway"
        step "node → pod-a $a" one_ping node "$a"
        step "node → pod-b $b" one_ping node "$b"
        step "pod-a → outside $outside" one_ping pod-a "$outside"
        step "    the host outside saw $node: the node, masqueraded" saw outside $set "$node"
    done
    umount /run/netns/node
    rm /run/netns/node
}

# Everything about the node, one fact a line, so that two states can be compared.
state() {
    ip -d -o link | sed 's/^[0-9]*: /link /'
    ip -o addr | sed 's/^[0-9]*: /addr /; s/valid_lft.*//'
    ip -4 -o route show table all | sed 's/^/route /'
    ip -6 -o route show table all | sed 's/^/route6 /; s/ expires [0-9]*sec//'
    ip -4 rule | sed 's/^/rule /'
    ip -6 rule | sed 's/^/rule6 /'
    nft --stateless list ruleset | sed 's/^/nft /'
    { grep -rs . /proc/sys/net/{ipv4/ip_forward,ipv4/conf,ipv6/conf,bridge} || true; } | sed 's/^/sysctl /'
    find /run /var/lib -not -path "$STAGE*" -type f -printf 'file %p\n' -o -type d -printf 'folder %p\n'
}

# What stays by design, as it does with the reference: the bridge for the next pod
# and the kernel's own routes for its addresses, forwarding with what the kernel
# derives from it, host-local's memory of the last address, cnitool's empty cache.
by_design() {
    grep -E "^new (link cni0:|addr cni0 |route6? .*dev cni0 .*proto kernel|sysctl .*/conf/cni0/)
^(gone|new) sysctl .*/(ip_forward|forwarding|mc_forwarding|accept_redirects):
^new route6 anycast
^new (file|folder) /var/lib/cni/networks/ferrule(/(lock|last_reserved_ip\.[0-9]+))?$
^new (file|folder) /var/lib/cni/networks/\.ferrule(/|$)
^new folder /var/lib/cni(/networks|/results|/cache)?$
^new folder /run/ferrule(/attachments)?$
^new file /run/xtables.lock$
^$" "$@"
}

compare() {
    local differs
    state | sort >"$STAGE/after"
    differs=$(diff <(sort "$STAGE/before") "$STAGE/after" | sed -n 's/^< /gone /p; s/^> /new /p') || true
    step 'links, addresses, routes, rules, nftables, sysctls, leases: as before' \
        no_lines "$(by_design -v <<<"$differs" || true)"
    ok 'left by design, for the next pod:'
    indent < <(
        ip -br addr show dev cni0
        grep -oE '^new (nft table .*|sysctl .*/(ip_forward|conf/all/forwarding):1|file .*)' <<<"$differs" |
            sed 's/^new //; s/^file //; s|^sysctl /proc/sys/||' | sort || true
    )
}
scene_node() {
    local pod
    use_conf 10-bridge.conflist 99-loopback.conflist
    head1 'A node'
    make_node
    state >"$STAGE/before"
    head1 'Two pods, attached by cnitool with conf/10-bridge.conflist'
    for pod in "${PODS[@]}"; do attach "$pod"; done
    packets
    head1 'CHECK'
    for pod in "${PODS[@]}"; do
        step "CHECK $pod" cnitool check "$pod"
        step "CHECK $pod, loopback" cnitool check "$pod" lo lo
    done
    head1 'DEL'
    for pod in "${PODS[@]}"; do
        step "DEL $pod" cnitool del "$pod"
        step "    a second DEL $pod succeeds too" cnitool del "$pod"
        step "DEL $pod, loopback" cnitool del "$pod" lo lo
        ip netns del "$pod"
    done
    head1 'The node afterwards'
    compare
}
