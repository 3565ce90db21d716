# shellcheck shell=bash
# What the demo's scenes share. Sourced by scripts/demo, after lib.sh.

failed=()
# step WHAT COMMAND... : runs it, says how it went, counts failures.
step() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1); then
        ok "$what"
    else
        bad "$what"
        indent <<<"${output:-(no output)}"
        failed+=("$what")
    fi
}

# use_conf FILE... : of conf/, and no other of the same network's name, for cnitool
use_conf() {
    mkdir "$STAGE/net.d"
    cp "${@/#/$STAGE/conf/}" "$STAGE/net.d"
}

in_netns() { nsenter --net="/run/netns/$1" "${@:2}"; }

# A namespace's own kernel notes where the pings that reach it come from.
watch_sources() {
    in_netns "$1" nft -f - <<'NFT'
table inet seen {
    set four { type ipv4_addr; flags dynamic; size 64; }
    set six { type ipv6_addr; flags dynamic; size 64; }
    chain input {
        type filter hook input priority 0
        icmp type echo-request add @four { ip saddr }
        icmpv6 type echo-request add @six { ip6 saddr }
    }
}
NFT
}
sources_seen() {
    in_netns "$1" nft list set inet seen "$2" | tr -d '\n\t ' | sed -n 's/.*elements={\([^}]*\)}.*/\1/p'
    in_netns "$1" nft flush set inet seen "$2"
}

# address NETNS DEVICE FAMILY : its first global address, without the prefix length
address() {
    local found
    found=$(in_netns "$1" ip "-$3" -o addr show dev "$2" scope global)
    sed -n '1s/.* inet6* \([^/]*\).*/\1/p' <<<"$found"
}

# One packet, one second: the very first must arrive.
one_ping() {
    [ -n "$2" ] || { echo "no address to ping" && return 1; }
    in_netns "$1" ping -n -c1 -W1 "$2"
}

# saw NETNS SET EXPECTED : the pings that reached it came from there, and only there
saw() {
    local seen
    seen=$(sources_seen "$1" "$2")
    [ "$seen" = "$3" ] || { echo "it saw: ${seen:-nothing}" && return 1; }
}

no_lines() { [ -z "$1" ] || { printf '%s\n' "$1" && return 1; }; }
