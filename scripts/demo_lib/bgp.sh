# shellcheck shell=bash
# A rack: three nodes, each on two top-of-rack switches, which are BIRD. route-sync tells them its
# node's pod CIDRs by BGP and installs what it hears, over both; the plugin bgp makes the pods. Sourced
# by scripts/demo.

# Machines, pods and pings are the cluster's.
# shellcheck source-path=SCRIPTDIR source=cluster.sh
. "$ROOT/scripts/demo_lib/cluster.sh"

declare -A BIRD=()

need_bgp() {
    local unit=/run/systemd/system/bird.service
    # The package would start it on this machine.
    if ! have bird && [ -d "${unit%/*}" ] && [ ! -e $unit ]; then
        ln -s /dev/null $unit
    else
        unit=''
    fi
    need bird bird2 socat socat
    [ -z "$unit" ] || rm "$unit"
}

rack_diagram() {
    cat <<'END'

              tor1, AS 65101           tor2, AS 65102            BIRD
                  ╱  │  ╲                 ╱  │  ╲
               one  two  three         one  two  three           each wire is a network of its own

            node one           node two          node three      route-sync
            AS 65001           AS 65002            AS 65003
         10.244.1.0/24      10.244.2.0/24       10.244.3.0/24
       fd00:10:244:1::/64  fd00:10:244:2::/64  fd00:10:244:3::/64
             pod-1a             pod-2a              pod-3a

   No overlay, and no list of nodes: each tells its switches its own CIDRs, and hears the others'.
END
}

# --- the machines ----------------------------------------------------------------

make_tor() {
    ip netns add "$1"
    in_netns "$1" bash -ec '
        ip link set lo up
        echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding >/dev/null
        echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/{accept_dad,disable_ipv6} >/dev/null'
}

# wire TOR NODE : their numbers
wire() {
    local tor=tor$1 node=$2 n=$3
    ip link add "up$1" netns "$node" type veth peer name "$node" netns "$tor"
    in_netns "$tor" bash -ec "
        ip link set $node up
        ip addr add 172.16.$1.$((2 * n))/31 dev $node
        ip addr add 2001:db8:$1:$n::1/64 dev $node"
    in_netns "$node" bash -ec "
        ip link set up$1 up
        ip addr add 172.16.$1.$((2 * n + 1))/31 dev up$1
        ip addr add 2001:db8:$1:$n::2/64 dev up$1"
}

make_rack_node() {
    local name=$1 n=$3 t
    make_machine "$name"
    in_netns "$name" bash -ec "
        ip link set lo up
        echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding >/dev/null
        echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/{accept_dad,disable_ipv6} >/dev/null
        ip addr add 192.0.2.$n/32 dev lo
        ip addr add 2001:db8::$n/128 dev lo"
    for t in 1 2; do wire $t "$name" "$n"; done
    on "$name" tee /run/ferrule/route-sync.toml >/dev/null <<TOML
node-name = "$name"
cluster-cidrs = ["10.244.0.0/16", "fd00:10:244::/48"]

[node]
addresses = ["192.0.2.$n", "2001:db8::$n"]
pod-cidrs = ["10.244.$n.0/24", "fd00:10:244:$n::/64"]

[bgp]
asn = $((65000 + n))
connect-retry = 1

[[bgp.peer]]
address = "172.16.1.$((2 * n))"
asn = 65101

[[bgp.peer]]
address = "172.16.2.$((2 * n))"
asn = 65102
TOML
}

# The same on every node: addresses and MTU are what route-sync says of the node.
write_network() {
    mkdir "$STAGE/net.d"
    cat >"$STAGE/net.d/10-ferrule.conflist" <<'JSON'
{ "cniVersion": "1.0.0", "name": "ferrule", "plugins": [
  { "type": "bgp", "ipMasq": true, "ipam": { "type": "host-local" } }
] }
JSON
    indent <"$STAGE/net.d/10-ferrule.conflist"
}

start_bird() {
    local t=$1 node name n
    {
        cat <<BIRD
router id 192.0.2.25$t;
protocol device { scan time 1; }
protocol kernel { ipv4 { export all; }; merge paths on; }
protocol kernel { ipv6 { export all; }; merge paths on; }
BIRD
        for node in "${NODES[@]}"; do
            read -r name _ n <<<"$node"
            cat <<BIRD
protocol bgp $name {
    local 172.16.$t.$((2 * n)) as 6510$t; neighbor 172.16.$t.$((2 * n + 1)) as $((65000 + n));
    connect delay time 1;
    ipv4 { import all; export where source = RTS_BGP; };
    ipv6 { import all; export where source = RTS_BGP; next hop address 2001:db8:$t:$n::1; };
}
BIRD
        done
    } >"/run/tor$t.conf"
    nsenter --net="/run/netns/tor$t" bird -f -c "/run/tor$t.conf" -s "/run/tor$t.ctl" 2>"/run/tor$t.log" &
    BIRD[$t]=$!
}

stop_bird() {
    kill "${BIRD[$1]}"
    wait "${BIRD[$1]}" || true
}

# --- what is shown ---------------------------------------------------------------

# hops NODE N : the routes to node two's pods have so many next hops
hops() {
    local family found cidr=10.244.2.0/24
    for family in 4 6; do
        [ $family = 4 ] || cidr=fd00:10:244:2::/64
        found=$(on "$1" ip -$family -o route show proto 119 to root $cidr | grep -o 'via ' | wc -l)
        [ "$found" = "$2" ] || { echo "$cidr has $found next hops" && return 1; }
    done
}
route_to_two() { on one ip -o route show proto 119 to root 10.244.2.0/24 | tr -d '\134' | tr -s '\t ' ' ' | indent; }

sessions() { within 15 route_sync "$1" status bgp || { route_sync "$1" status bgp && return 1; }; }

# Echo requests for three seconds, one in 10 ms; more than a second's worth must not be lost.
stream_begin() {
    in_netns pod-1a ping -n -q -i 0.01 -c 300 -W 1 "$(address pod-2a eth0 4)" >/run/stream &
    STREAM=$!
}
stream_end() {
    local sent got
    wait "$STREAM" || true
    read -r sent got < <(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' /run/stream)
    LOST=$((sent - got))
    [ "$LOST" -le 100 ]
}

cut_and_mended() {
    stream_begin
    in_netns tor1 ip link set one down
    step 'node one sends by tor2 alone' within 5 hops one 1
    route_to_two
    if stream_end; then
        ok "pod-1a → pod-2a, one packet in 10 ms: $LOST lost of 300, while the wire was cut"
    else
        bad "pod-1a → pod-2a: $LOST packets of 300 were lost"
        failed+=('flows go on within a second')
    fi
    say '  On node one, route-sync status bgp:'
    { route_sync one status bgp || true; } | sed -n '/^PEER/,/^$/p' | indent
    in_netns tor1 bash -ec 'ip link set one up; ip addr replace 2001:db8:1:1::1/64 dev one'
    step 'the wire is mended: node one sends by both again' within 20 hops one 2
    route_to_two
}

tor_dies() {
    stop_bird 1
    step 'BIRD on tor1 ends: all nodes send by tor2' within 5 hops one 1
    step '    pod-1a → pod-3a, IPv4 and IPv6' reaches pod-1a pod-3a
    start_bird 1
    step 'BIRD on tor1 is back: both again' within 20 hops one 2
}

daemon_dies() {
    local before
    before=$(on one ip route show proto 119)
    # bash tells of it on stderr.
    { kill -KILL "${DAEMON[one]}" && wait "${DAEMON[one]}"; } 2>/dev/null || true
    step 'route-sync on node one is killed: its routes stay' \
        test "$before" = "$(on one ip route show proto 119)"
    start_daemon one
    step 'it runs again, and its peers tell the same' sessions one
    step '    pod-1a → pod-2a, IPv4 and IPv6' reaches pod-1a pod-2a
}

take_rack_down() {
    local node name pod
    for pod in "$@"; do
        step "DEL $pod" cnitool del "$pod"
        ip netns del "$pod"
    done
    for node in "${NODES[@]}"; do
        name=${node%% *}
        stop_daemon "$name"
        step "route-sync cleanup on node $name" route_sync "$name" cleanup
        step '    no route, device or nftables rule of Ferrule is left' \
            no_lines "$(left "$name" && on "$name" ip route show proto 119 && on "$name" ip -6 route show proto 119)"
    done
    stop_bird 1
    stop_bird 2
}

scene_bgp() {
    local node name pods=(pod-1a pod-2a pod-3a)
    head1 'The rack'
    rack_diagram
    make_tor tor1
    make_tor tor2
    for node in "${NODES[@]}"; do
        # shellcheck disable=SC2086 # the words of a node
        make_rack_node $node
        start_daemon "${node%% *}"
    done
    head1 'BGP: route-sync on each node, BIRD on each switch'
    start_bird 1
    start_bird 2
    for node in "${NODES[@]}"; do
        step "node ${node%% *}: both sessions are established" sessions "${node%% *}"
    done
    step 'each node has both switches as next hops' within 10 hops one 2
    say '  On node one, route-sync status bgp:'
    route_sync one status bgp | indent
    head1 'A pod on each, attached by cnitool and the bgp plugin'
    write_network
    for name in "${pods[@]}"; do attach "$name"; done
    say '  On node one, the route to its pod, and what it heard:'
    { on one ip route show proto 117 && on one ip route show proto 119; } | indent
    head1 'Who reaches whom, and the source that the receiver saw: each pod by its own address'
    all_pairs "${pods[@]}"
    head1 'The wire between node one and tor1 is cut, while packets flow'
    cut_and_mended
    head1 'A switch dies'
    tor_dies
    head1 'The daemon dies'
    daemon_dies
    head1 'The end'
    take_rack_down "${pods[@]}"
}
