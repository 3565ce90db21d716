# shellcheck shell=bash
# A cluster: three nodes on two subnets, two pods on each, routes plainly where nodes
# share a link and through VXLAN across the router. Sourced by scripts/demo.

# Name, link, number. All addresses follow from these; documentation addresses outside of the pods.
readonly NODES=('one a 1' 'two a 2' 'three b 3') LATECOMER='four b 4'
declare -A HOLDER=() DAEMON=()

need_cluster() { need tcpdump tcpdump socat socat; }

link4() { case $1 in a) echo 192.0.2 ;; b) echo 198.51.100 ;; esac; }

diagram() {
    cat <<'END'

                            router
                   ┌───────────┴───────────┐
             192.0.2.0/24            198.51.100.0/24
           2001:db8:a::/64           2001:db8:b::/64
          ┌────────┴────────┐              │
      node one          node two       node three        the nodes' addresses end in .1, .2, .3
    10.244.1.0/24     10.244.2.0/24   10.244.3.0/24      the pods' CIDRs, a part for each node
   fd00:10:244:1::/64      2::/64          3::/64
     pod-1a pod-1b     pod-2a pod-2b   pod-3a pod-3b

   one ↔ two: plain routes, they share a link.   one, two ↔ three: VXLAN, through the router.
END
}

# --- the machines ----------------------------------------------------------------

# The router and the wires are here, in the namespace that all of the demo is in.
make_router() {
    local link
    ip link set lo up
    for link in a b; do
        ip link add "wire-$link" address "02:00:00:00:00:0$link" type bridge
        echo 0 | tee "/proc/sys/net/ipv6/conf/wire-$link/"{accept_dad,disable_ipv6} >/dev/null
        ip link set "wire-$link" up
        ip addr add "$(link4 $link).254/24" dev "wire-$link"
        ip addr add "2001:db8:$link::fe/64" dev "wire-$link"
    done
    echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding >/dev/null
    nft -f - <<'NFT'
table inet seen {
    counter full {}
    counter larger {}
    counter fragments {}
    chain forward {
        type filter hook forward priority 0
        udp dport 4789 meta length 1500 counter name full
        udp dport 4789 meta length > 1500 counter name larger
        ip frag-off & 0x3fff != 0 counter name fragments
        exthdr frag exists counter name fragments
    }
}
NFT
}

# A node is a network namespace, and a mount namespace with its own /run/ferrule and /var/lib.
make_machine() {
    local name=$1
    ip netns add "$name"
    mkdir -p /run/ferrule
    # Not through a function, which would be a shell of its own: here and below $! is the process.
    nsenter --net="/run/netns/$name" unshare --mount --propagation slave bash -ec '
        mount -t tmpfs -o mode=755 tmpfs /run/ferrule
        mount -t tmpfs -o mode=755 tmpfs /var/lib
        touch /run/ferrule/.made
        exec sleep infinity' &
    HOLDER[$name]=$!
    within 5 on "$name" test -e /run/ferrule/.made || die "node $name did not come up"
}

make_node() {
    local name=$1 link=$2 number=$3
    make_machine "$name"
    ip link add "$name" type veth peer name eth0 netns "$name"
    ip link set "$name" master "wire-$link" up
    # Some distributions turn IPv6 off by default; detection of duplicates takes a second or two.
    in_netns "$name" bash -ec "
        ip link set lo up
        echo 0 | tee /proc/sys/net/ipv6/conf/{all,default,eth0}/disable_ipv6 >/dev/null
        echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
        ip link set eth0 up
        ip addr add $(link4 "$link").$number/24 dev eth0
        ip addr add 2001:db8:$link::$number/64 dev eth0
        ip route add default via $(link4 "$link").254
        ip -6 route add default via 2001:db8:$link::fe"
    on "$name" tee /run/ferrule/route-sync.toml >/dev/null <<TOML
node-name = "$name"
cluster-cidrs = ["10.244.0.0/16", "fd00:10:244::/48"]
[source]
type = "file"
path = "/run/nodes.toml"
TOML
}

# on NODE COMMAND... : runs it on that node
on() { nsenter --target "${HOLDER[$1]}" --mount --net "${@:2}"; }

in_step() {
    within 10 route_sync "$1" status && return
    route_sync "$1" status || tail -n5 "/run/$1.log"
    return 1
}

# within SECONDS COMMAND... : until it succeeds
within() {
    local end=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        [ $SECONDS -le $end ] || { echo "not within $1 seconds: ${*:2}" && return 1; }
        sleep 0.01
    done
}

# Tells every node, in one step, which nodes there are.
tell_nodes() {
    local node name link number
    for node in "$@"; do
        read -r name link number <<<"$node"
        cat <<TOML
[[node]]
name = "$name"
addresses = ["$(link4 "$link").$number", "2001:db8:$link::$number"]
pod-cidrs = ["10.244.$number.0/24", "fd00:10:244:$number::/64"]

TOML
    done >/run/nodes.toml.new
    mv /run/nodes.toml.new /run/nodes.toml
}

route_sync() { on "$1" "$STAGE/bin/route-sync" --config /run/ferrule/route-sync.toml "${@:2}"; }

start_daemon() {
    nsenter --target "${HOLDER[$1]}" --mount --net \
        "$STAGE/bin/route-sync" --config /run/ferrule/route-sync.toml 2>"/run/$1.log" &
    DAEMON[$1]=$!
}

stop_daemon() {
    kill "${DAEMON[$1]}"
    wait "${DAEMON[$1]}" || true
}

# --- pods ------------------------------------------------------------------------

node_of() { local all=('' one two three four) && echo "${all[${1:4:1}]}"; }

# cnitool VERB POD : on the pod's node
cnitool() {
    on "$(node_of "$2")" env CNI_PATH="$STAGE/bin" NETCONFPATH="$STAGE/net.d" \
        "$STAGE/tools/cnitool" "$1" ferrule "/run/netns/$2"
}

attach() {
    local pod=$1 result
    ip netns add "$pod"
    result=$(cnitool add "$pod" 2>&1) || {
        indent <<<"$result"
        die "ADD $pod failed, nothing to show"
    }
    watch_sources "$pod"
    ok "ADD $pod on node $(node_of "$pod"): $(address "$pod" eth0 4)," \
        "$(address "$pod" eth0 6), $(in_netns "$pod" ip link show eth0 | grep -o 'mtu [0-9]*')"
}

# pings FAMILY POD... : each of them to each other
pings() {
    local family=$1 from to address
    shift
    for to in "$@"; do
        address=$(address "$to" eth0 "$family")
        for from in "$@"; do
            [ "$from" = "$to" ] || one_ping "$from" "$address" || return 1
        done
    done
}

sorted() { tr ',' '\n' | sort | paste -sd' '; }

# saw_the_pods POD SET WANTED : its kernel saw pings from these addresses and no other
saw_the_pods() {
    local seen
    seen=$(sources_seen "$1" "$2" | sorted)
    [ "$seen" = "$(sorted <<<"$3")" ] || { echo "it saw: ${seen:-nothing}" && return 1; }
}

all_pairs() {
    local family set pods=("$@") pod other own sources
    for family in 4 6; do
        set=four
        [ $family = 4 ] || set=six
        step "IPv$family: $((${#pods[@]} * (${#pods[@]} - 1))) pings, from each pod to each other:" \
            pings $family "${pods[@]}"
        for pod in "${pods[@]}"; do
            sources=()
            for other in "${pods[@]}"; do
                [ "$other" = "$pod" ] || sources+=("$(address "$other" eth0 $family)")
            done
            own=$(address "$pod" eth0 $family)
            step "    $pod $own saw ${sources[*]}" \
                saw_the_pods "$pod" $set "$(tr ' ' ',' <<<"${sources[*]}")"
        done
    done
}

# --- what is on the wire ---------------------------------------------------------

# captured FILE COMMAND... : runs it while the router's port to node one is watched
captured() {
    local file=$1 dumper
    shift
    tcpdump -Z root --immediate-mode -U -nni one -w "$file" 'icmp or icmp6 or udp port 4789' \
        2>"$file.log" &
    dumper=$!
    within 5 grep -q 'listening on' "$file.log" || return 1
    "$@" || return 1
    within 2 replied "$file" || return 1
    kill -INT $dumper
    wait $dumper
}
shown() { tcpdump -nntr "$1" "${@:2}" 2>/dev/null; }
# The reply to the last ping is the last that is of interest.
replied() { shown "$1" | grep 'ICMP6, echo reply'; }

both_families() {
    one_ping "$1" "$(address "$2" eth0 4)" && one_ping "$1" "$(address "$2" eth0 6)"
}

plain() {
    shown "$1" | grep -q 'echo request' || { echo 'no pings at all' && return 1; }
    no_lines "$(shown "$1" udp port 4789)"
}
tunnelled() {
    shown "$1" udp port 4789 | grep -q 'echo request' || { echo 'no pings at all' && return 1; }
    no_lines "$(shown "$1" not udp port 4789 | grep echo)"
}

on_the_wire() {
    local far=/run/far.pcap near=/run/near.pcap
    step 'pod-1a → pod-2a, IPv4 and IPv6' captured $near both_families pod-1a pod-2a
    step "    on the wire between one and two: the pods' own packets, no UDP 4789" plain $near
    shown $near | grep 'echo request' | sed 's/, id.*//' | indent || true
    step 'pod-1a → pod-3a, IPv4 and IPv6' captured $far both_families pod-1a pod-3a
    step '    on the wire to the router: the same inside UDP 4789, from node to node' tunnelled $far
    shown $far | grep -B1 'echo request' | sed '/^--/d; s/, id.*//; s/, flags.*vni/, VNI/' | indent || true
}

counted() { nft list counter inet seen "$1" | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }

# bulk FAMILY FROM TO BYTES : over one TCP connection
bulk() {
    local receiver address got
    address=$(address "$3" eth0 "$1")
    [ "$1" = 4 ] || address=[$address]
    in_netns "$3" timeout 20 socat -u "TCP$1-LISTEN:5001,reuseaddr" - 2>&1 | wc -c >/run/got &
    receiver=$!
    within 5 listens "$3" || return 1
    head -c "$4" /dev/zero | in_netns "$2" timeout 20 socat -u -b 100000 - "TCP$1:$address:5001" || return 1
    wait $receiver
    got=$(cat /run/got)
    [ "$got" = "$4" ] || { echo "$got bytes of $4 arrived" && return 1; }
}
listens() { in_netns "$1" ss -Hltn 'sport = 5001' | grep -q .; }
more_than() { [ "$1" -gt "$2" ] || { echo "$1 are not more than $2" && return 1; }; }

full_segments() {
    local family before full bytes=4000000
    # As a network card would cut them: else whole bursts travel as one packet between namespaces.
    in_netns pod-1a ip link set eth0 gso_max_segs 1
    for family in 4 6; do
        before=$(counted full)
        step "TCP over IPv$family, pod-1a → pod-3a: $((bytes / 1000000)) MB arrive" \
            bulk $family pod-1a pod-3a $bytes
        full=$(($(counted full) - before))
        step "    most of it in packets of 1500 bytes at the router, all that fits: $full" \
            more_than $full $((bytes / 2 / 1500))
    done
    step '    larger packets, and fragments: none' \
        no_lines "$(nft list counters table inet seen | grep -A1 -E 'larger|fragments' | grep packets | grep -v 'packets 0 ' || true)"
}

# --- what changes ----------------------------------------------------------------

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# harmed NODE WHAT COMMAND... : runs it on the node; then what it harmed must come back, and packets
harmed() {
    local node=$1 begin
    shift
    on "$node" "$@" || return 1
    begin=$(milliseconds)
    within 5 on "$node" ip route get fibmatch 10.244.3.2 || return 1
    within 5 same_route "$node" || return 1
    took=$(($(milliseconds) - begin))
}
same_route() { [ "$(on "$1" ip route show 10.244.3.0/24)" = "$route_before" ]; }

by_hand() {
    local what took route_before
    route_before=$(on one ip route show 10.244.3.0/24)
    for what in 'ip route del 10.244.3.0/24' 'ip link del fvxlan.100'; do
        # shellcheck disable=SC2086 # the words of a command
        if harmed one $what >/run/harmed 2>&1; then
            ok "$what → back after $took ms: ${route_before% }"
        else
            bad "$what: does not come back"
            indent </run/harmed
            failed+=("$what")
        fi
        step '    pod-1a → pod-3a' both_families pod-1a pod-3a
    done
}

# Pings get there, from now on or a moment later.
reaches() { within 5 both_families "$1" "$2"; }
routes_to() { on "$1" ip -o route show proto 118 to root "$2"; }
no_route() { ! routes_to "$1" "$2" | grep -q .; }

joins() {
    # shellcheck disable=SC2086 # the words of a node
    make_node $LATECOMER
    start_daemon four
    tell_nodes "${NODES[@]}" "$LATECOMER"
    step 'node four is in step' in_step four
    attach pod-4a
    step 'pod-1a → pod-4a, IPv4 and IPv6' reaches pod-1a pod-4a
    step 'pod-4a → pod-2b, IPv4 and IPv6' reaches pod-4a pod-2b
    routes_to one 10.244.4.0/24 | sed 's/^/node one: /' | indent
}

leaves() {
    local node
    tell_nodes "${NODES[@]}"
    for node in one two three; do
        step "node $node has no route to 10.244.4.0/24 any more" within 5 no_route $node 10.244.4.0/24
    done
    step 'pod-1a → pod-3a as before' both_families pod-1a pod-3a
}

# --- and its end -----------------------------------------------------------------

# What of Ferrule is on a node; the bridge stays for the next pod, as the bridge plugin says.
left() {
    on "$1" ip -o link show type vxlan
    on "$1" ip -4 route show proto 118
    on "$1" ip -6 route show proto 118
    on "$1" nft list tables
}

take_down() {
    local node name pod
    for pod in "$@"; do
        step "DEL $pod" cnitool del "$pod"
        ip netns del "$pod"
    done
    for node in "${NODES[@]}" "$LATECOMER"; do
        name=${node%% *}
        stop_daemon "$name"
        step "route-sync cleanup on node $name" route_sync "$name" cleanup
        step '    no route, device or nftables rule of Ferrule is left' no_lines "$(left "$name")"
    done
}

scene_cluster() {
    local node name pods=(pod-1a pod-1b pod-2a pod-2b pod-3a pod-3b)
    use_conf 10-vxlan.conflist
    head1 'The cluster'
    diagram
    make_router
    tell_nodes "${NODES[@]}"
    head1 'A daemon on each node: route-sync, which read the list of nodes from a file'
    for node in "${NODES[@]}"; do
        # shellcheck disable=SC2086 # the words of a node
        make_node $node
        start_daemon "${node%% *}"
    done
    for node in "${NODES[@]}"; do
        step "node ${node%% *} is in step" in_step "${node%% *}"
    done
    say '  On node one, route-sync status:'
    route_sync one status | indent
    head1 'Two pods on each, attached by cnitool with conf/10-vxlan.conflist'
    for name in "${pods[@]}"; do attach "$name"; done
    head1 'Who reaches whom, and the source that the receiver saw: each pod by its own address'
    all_pairs "${pods[@]}"
    head1 'What is on the wire'
    on_the_wire
    full_segments
    head1 'Somebody deletes what route-sync made'
    by_hand
    head1 'Node four joins, on the link of node three'
    joins
    head1 'Node four leaves'
    leaves
    head1 'The end'
    take_down "${pods[@]}" pod-4a
}
