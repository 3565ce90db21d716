# shellcheck shell=bash
# The machines of a cluster: a control plane and three nodes on two subnets, a router between
# these, and a host outside of the cluster. Sourced after lib.sh, in the namespaces of in_a_node.

# Name, link, number. All addresses follow from these; documentation addresses outside of the pods.
readonly CONTROL='control a 10'
readonly NODES=('one a 1' 'two a 2' 'three b 3')
# On the router, that of no link: what is outside of the cluster. It answers DNS and HTTP.
readonly OUTSIDE4=203.0.113.1 OUTSIDE6=2001:db8:ffff::1
# shellcheck disable=SC2034 # control.sh and others use them
readonly POD_CIDRS=10.244.0.0/16,fd00:10:244::/48 \
    SERVICE_CIDRS=10.96.0.0/16,fd00:10:96::/112

# What the machines and the namespace around them share.
readonly CLUSTER=/run/cluster

link4() { case $1 in a) echo 192.0.2 ;; b) echo 198.51.100 ;; esac; }
node_names() { local node && for node in "${NODES[@]}"; do echo "${node%% *}"; done; }
# address4 MACHINE, address6 MACHINE : on its subnet
address4() { address_of "$1" 4; }
address6() { address_of "$1" 6; }
address_of() {
    local name link number
    while read -r name link number; do
        [ "$name" = "$1" ] || continue
        if [ "$2" = 4 ]; then echo "$(link4 "$link").$number"; else echo "2001:db8:$link::$number"; fi
    done < <(printf '%s\n' "$CONTROL" "${NODES[@]}")
}

# within SECONDS COMMAND... : until it succeeds
within() {
    local end=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        [ $SECONDS -le $end ] || { echo "not within $1 seconds: ${*:2}" && return 1; }
        sleep 0.05
    done
}

# on MACHINE COMMAND... : runs it there
on() {
    local holder
    holder=$(cat "$CLUSTER/$1/holder")
    nsenter --mount="/proc/$holder/ns/mnt" --net="/proc/$holder/ns/net" --uts="/proc/$holder/ns/uts" \
        --pid="/proc/$holder/ns/pid_for_children" --wd=/ -- "${@:2}"
}

# The router and the wires are in the namespace that all of the cluster is in.
make_wires() {
    local link
    ip link set lo up
    echo 0 | tee /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6 >/dev/null
    ip addr add "$OUTSIDE4/32" dev lo
    ip addr add "$OUTSIDE6/128" dev lo
    for link in a b; do
        ip link add "wire-$link" address "02:00:00:00:00:0$link" type bridge
        echo 0 | tee "/proc/sys/net/ipv6/conf/wire-$link/accept_dad" >/dev/null
        ip link set "wire-$link" up
        ip addr add "$(link4 $link).254/24" dev "wire-$link"
        ip addr add "2001:db8:$link::fe/64" dev "wire-$link"
    done
    echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding >/dev/null
}

# make_machine NAME LINK NUMBER : namespaces of its own, and a wire
make_machine() {
    local name=$1 link=$2 number=$3 holder
    mkdir -p "$CLUSTER/$name/run"
    mkfifo "$CLUSTER/$name/made"
    unshare --mount --net --uts --pid --fork --kill-child --mount-proc --propagation private \
        bash "$STAGE/lib/machine" "$name" </dev/null >"$CLUSTER/$name/log" 2>&1 &
    holder=$!
    echo $holder >"$CLUSTER/$name/holder"
    read -r -t 60 _ <>"$CLUSTER/$name/made" ||
        die "machine $name did not come up: $(cat "$CLUSTER/$name/log")"
    ip link add "$name" type veth peer name eth0 netns $holder
    ip link set "$name" master "wire-$link" up
    # Some distributions turn IPv6 off by default; detection of duplicates takes a second or two.
    on "$name" bash -ec "
        ip link set lo up
        echo 0 | tee /proc/sys/net/ipv6/conf/{all,default,eth0}/disable_ipv6 >/dev/null
        echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
        ip link set eth0 up
        ip addr add $(link4 "$link").$number/24 dev eth0
        ip addr add 2001:db8:$link::$number/64 dev eth0
        ip route add default via $(link4 "$link").254
        ip -6 route add default via 2001:db8:$link::fe"
}

make_machines() {
    local machine
    make_wires
    for machine in "$CONTROL" "${NODES[@]}"; do
        # shellcheck disable=SC2086 # the words of a machine
        make_machine $machine
    done
    # The API server dials pods for `kubectl proxy`: a node routes for it.
    on control ip route add "${POD_CIDRS%,*}" via "$(address4 one)"
    on control ip -6 route add "${POD_CIDRS#*,}" via "$(address6 one)"
}

# start MACHINE DAEMON COMMAND... : in the background, with a log; one of each name
start() {
    local machine=$1 daemon=$2
    shift 2
    printf '%q ' "$@" >"$CLUSTER/$machine/$daemon.command"
    again "$machine" "$daemon"
}

# again MACHINE DAEMON : starts what was stopped, as it was started first
again() {
    local command=$CLUSTER/$1/$2.command
    # The session keeps it from signals of a terminal.
    # shellcheck disable=SC2016 # for the shell inside
    on "$1" setsid bash -c '
        echo $$ >"/run/daemons/$1.pid"
        eval "exec $(cat "$2")"' \
        start "$2" "$command" \
        </dev/null >>"$CLUSTER/$1/$2.log" 2>&1 9>&- &
}

# stop MACHINE DAEMON [SIGNAL] : and waits until it is gone
stop() {
    # shellcheck disable=SC2016 # for the shell inside
    on "$1" bash -c '
        pid=$(cat "/run/daemons/$1.pid") || exit 0
        kill "-$2" "$pid" 2>/dev/null || exit 0
        while [ -e "/proc/$pid" ]; do sleep 0.02; done' stop "$2" "${3:-TERM}"
}

log_of() { cat "$CLUSTER/$1/$2.log"; }
