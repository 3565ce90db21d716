# shellcheck shell=bash
# Images of one layer, made by hand. Sourced after machines.sh.

# image NAME ROOT CONFIG TAG... : $CLUSTER/images/NAME.tar, of the files in ROOT
image() {
    local root=$2 config=$3 work=$CLUSTER/images/$1 sum arch tags
    case $(uname -m) in aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
    mkdir -p "$work"
    tar --owner=0 --group=0 --numeric-owner -C "$root" -cf "$work/layer.tar" .
    sum=$(sha256sum "$work/layer.tar")
    printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$arch" "$config" "${sum%% *}" >"$work/config.json"
    tags=$(printf '"%s",' "${@:4}")
    printf '[{"Config":"config.json","RepoTags":[%s],"Layers":["layer.tar"]}]' "${tags%,}" >"$work/manifest.json"
    tar -C "$work" -cf "$work.tar" manifest.json config.json layer.tar
    rm -rf "$work" "$root"
}

busybox() {
    local path
    for path in /bin/busybox /usr/bin/busybox; do
        [ ! -x "$path" ] || { echo "$path" && return; }
    done
    die 'busybox is missing: apt-get install busybox-static'
}

# Holds a pod's namespaces.
pause_image() {
    local root=$CLUSTER/images/pause.root
    mkdir -p "$root"
    gcc -Os -static -s -o "$root/pause" "$STAGE/lib/pause.c"
    image pause "$root" '{"Entrypoint":["/pause"]}' ferrule.test/pause:1
}

# What pods run: busybox, and agnhost, Kubernetes' own program for tests.
tools_image() {
    local root=$CLUSTER/images/tools.root applet
    mkdir -p "$root"/{bin,etc,tmp}
    cp "$(busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
    done
    cp "$STAGE/kubernetes/agnhost" "$root/bin/agnhost"
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    image tools "$root" '{"Cmd":["/bin/sleep","infinity"],"Env":["PATH=/bin"]}' ferrule.test/tools:1
}

coredns_image() {
    local root=$CLUSTER/images/coredns.root
    mkdir -p "$root"
    cp "$STAGE/coredns/coredns" "$root/coredns"
    image coredns "$root" '{"Entrypoint":["/coredns"]}' ferrule.test/coredns:1
}

make_images() { pause_image && tools_image && coredns_image; }

# import NODE FILE... : into its containerd
import() {
    local file
    for file in "${@:2}"; do
        on "$1" "$STAGE/containerd/ctr" --namespace k8s.io images import "$file"
    done
}
