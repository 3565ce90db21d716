# shellcheck shell=bash
# What the scripts share. Sourced, never run: each script begins with
#   . "$(dirname "$(readlink -f "$0")")/lib.sh"
# and has ROOT, the checkout, afterwards. Changes no directory.

set -euo pipefail
export LC_ALL=C.UTF-8
# A plain user's PATH, and the one that `su` leaves, lack nft, ip and iptables.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

ROOT=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
# Every tool that the scripts build for themselves lands here and is used again.
# shellcheck disable=SC2034 # the scripts use it
TOOLS=$ROOT/target/tools

RED='' GREEN='' YELLOW='' BOLD='' PLAIN=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    RED=$'\e[31m' GREEN=$'\e[32m' YELLOW=$'\e[33m' BOLD=$'\e[1m' PLAIN=$'\e[0m'
fi

say() { printf '%s\n' "$*"; }
head1() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
ok() { printf '  %s✓%s %s\n' "$GREEN" "$PLAIN" "$*"; }
bad() { printf '  %s✗%s %s\n' "$RED" "$PLAIN" "$*"; }
note() { printf '  %s!%s %s\n' "$YELLOW" "$PLAIN" "$*"; }
die() {
    printf '%s%s: %s%s\n' "$RED" "${0##*/}" "$*" "$PLAIN" >&2
    exit 1
}
indent() { sed 's/^/      /'; }

# What ends a script under `set -e` says where; a failed check has said so itself.
set -E
trap 'echo "${0##*/}: line $LINENO failed: $BASH_COMMAND" >&2' ERR

# The comment at the head of a script is its --help.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

have() { command -v "$1" >/dev/null; }

need_root() {
    [ "$(id -u)" = 0 ] || die "needs root ($1). Run it again as root, or with sudo."
}

# need COMMAND PACKAGE [COMMAND PACKAGE]... : installs with apt what is missing,
# all in one go. A COMMAND that is a path stands for a package without commands.
need() {
    local missing=()
    while [ $# -ge 2 ]; do
        case $1 in
        /*) [ -e "$1" ] || missing+=("$2") ;;
        *) have "$1" || missing+=("$2") ;;
        esac
        shift 2
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# apt_install PACKAGE... : the package lists are fetched only when apt cannot
# install from the ones that it has.
apt_install() {
    local sudo=() log
    have apt-get || die "these are missing, and there is no apt-get to install them: $*"
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "these are missing: $*. Install them as root: apt-get install $*"
        sudo=(sudo)
    fi
    say "Installing with apt: $*"
    local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive
        apt-get install -y -q --no-install-recommends "$@")
    log=$(mktemp)
    if ! "${install[@]}" </dev/null >"$log" 2>&1; then
        if ! { "${sudo[@]}" apt-get update -q && "${install[@]}"; } </dev/null >"$log" 2>&1; then
            cat "$log" >&2
            rm -f "$log"
            die "apt could not install: $*"
        fi
    fi
    rm -f "$log"
}

# cargo, and what it needs to link a static executable.
need_cargo() {
    need gcc gcc readelf binutils /usr/include/stdio.h libc6-dev
    # rustup's own installer puts it here, and only a login shell knows.
    have cargo || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    if ! have cargo; then
        # Debian 13 and Ubuntu 24.04 have it; the lists of a fresh machine may be empty.
        if ! apt-cache show rustup >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
            apt-get update -q >/dev/null 2>&1 || true
        fi
        apt-cache show rustup >/dev/null 2>&1 || die "there is no cargo. This line installs it:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y
then run $0 again."
        apt_install rustup ca-certificates
    fi
    if have rustup && ! cargo --version >/dev/null 2>&1; then
        say "Installing the stable Rust toolchain: rustup default stable"
        rustup default stable
    fi
    local wanted got
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
    got=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$wanted" "$got" | sort -V | head -n1)" = "$wanted" ] ||
        die "Ferrule needs Rust $wanted or newer, this is $got. With rustup: rustup update stable"
}

# The executables of the suite: each folder of these rooms is a package of that name.
executables() {
    local manifest
    for manifest in "$ROOT"/plugins/*/Cargo.toml "$ROOT"/ipam/*/Cargo.toml "$ROOT"/{route,policy}-sync/Cargo.toml "$ROOT"/ferrule/Cargo.toml; do
        [ ! -e "$manifest" ] || basename "$(dirname "$manifest")"
    done
}

# in_a_node COMMAND... : runs it in mount, network and process namespaces of its
# own, and leaves nothing of them. It runs in the background, so that this script
# hears a signal at once and ends it; should this script be killed, the kernel
# kills it. If there is a function node_started, it gets the process whose namespaces,
# and pid_for_children, are the node's.
in_a_node() {
    unshare --mount --net --pid --fork true ||
        die 'cannot make namespaces here. In a container, run it with --privileged.'
    setpriv --pdeathsig KILL \
        unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
        "$@" </dev/null &
    local node=$!
    ! declare -F node_started >/dev/null || node_started "$node"
    # shellcheck disable=SC2064 # the pid of now
    trap "kill -KILL $node 2>/dev/null || true; wait $node 2>/dev/null || true; \
        die 'interrupted; nothing is left'" INT TERM HUP
    wait "$node" || exit 1
}

# Where the scripts keep their things in a node, on its own /run.
readonly STAGE=/run/stage

# own_run NAME=DIR... : inside a node, covers the machine's /run and /var/lib with
# empty ones, and copies the files of each DIR to $STAGE/NAME, wherever DIR is.
own_run() {
    local pair fd fds=()
    for pair in "$@"; do
        exec {fd}<"${pair#*=}"
        fds+=("$fd")
    done
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /var/lib
    mkdir -p /run/netns
    for pair in "$@"; do
        mkdir -p "$STAGE/${pair%%=*}"
        find "/proc/self/fd/${fds[0]}/" -maxdepth 1 -xtype f -exec cp -Lt "$STAGE/${pair%%=*}" {} +
        fds=("${fds[@]:1}")
    done
    cd /
}

# The folder that all checkouts share, of what is built or fetched once.
cache_dir() {
    if [ -n "${FERRULE_PEERS:-}" ]; then
        realpath -m "$FERRULE_PEERS"
    elif [ "$(id -u)" = 0 ]; then
        say /var/cache/ferrule-peers
    else
        say "${XDG_CACHE_HOME:-$HOME/.cache}/ferrule-peers"
    fi
}
