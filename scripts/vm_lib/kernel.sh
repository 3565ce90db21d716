# shellcheck shell=bash
# Debian's kernels, fetched once. Sourced by scripts/vm, after lib.sh.

known_kernels() { echo '5.10, 6.1 or 6.12'; }

# The release of Debian that has a kernel.
release_of() {
    case $1 in
    5.10) echo bullseye ;;
    6.1) echo bookworm ;;
    6.12) echo trixie ;;
    esac
}

# find_kernel KERNEL : sets $kernel_dir (vmlinuz, lib/modules, initramfs' modules) and $kernel_version.
find_kernel() {
    local cache found
    cache=$(cache_dir)
    mkdir -p "$cache"
    exec 9>"$cache/.linux-$1.lock"
    flock 9
    found=$(find "$cache" -maxdepth 1 -name "linux-$1-*" | sort -V | tail -n1)
    [ -n "$found" ] || fetch_kernel "$1" "$cache"
    exec 9>&-
    kernel_dir=$(find "$cache" -maxdepth 1 -name "linux-$1-*" | sort -V | tail -n1)
    # shellcheck disable=SC2034 # machine.sh uses it
    kernel_version=$(basename "$kernel_dir"/lib/modules/*)
}

# Debian's mirror: the one that is asked for, or this machine's, or the public one.
mirror() {
    local own
    # shellcheck disable=SC2016 # a format of apt's
    own=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 -E '/debian/?$' || true)
    say "${FERRULE_DEBIAN:-${own:-http://deb.debian.org/debian}}"
}

# fetch_kernel KERNEL CACHE : the newest of that release, unpacked; the lock is ours.
fetch_kernel() {
    local name parts work log options package
    need apt-get apt dpkg-deb dpkg depmod kmod \
        /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
    say "Fetching Debian's kernel $1, once" >&2
    rm -rf "$2/.linux-$1".?????? # of a run that was killed
    parts=$(mktemp -d "$2/.linux-$1.XXXXXX")
    work=$parts/apt log=$parts/log
    mkdir -p "$work"/{lists,archives}/partial "$parts/files"
    printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg \
        "$(mirror)" "$(release_of "$1")" >"$work/sources.list"
    # Lists, packages and installed state of its own: the machine's stay as they are.
    options=(-o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null
        -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Cache="$work" -o APT::Architecture=amd64 -o APT::Sandbox::User=root
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
    if ! {
        apt-get "${options[@]}" update -q &&
            name=$(apt-cache "${options[@]}" depends linux-image-amd64 |
                sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1) && [ -n "$name" ] &&
            (cd "$work" && apt-get "${options[@]}" download -q "$name") &&
            package=$(echo "$work"/linux-image-*.deb) &&
            dpkg-deb -x "$package" "$parts/files"
    } >"$log" 2>&1 9>&-; then
        cat "$log" >&2
        rm -rf "$parts"
        die "Debian's kernel $1 cannot be fetched; FERRULE_DEBIAN=URL names another mirror"
    fi
    name=$(dpkg-deb -f "$package" Version)
    finish_kernel "$parts/files"
    mv -T "$parts/files" "$2/linux-$1-$name"
    rm -rf "$parts"
}

# finish_kernel DIR : what the package's own scripts would do, and one name for each file.
finish_kernel() {
    local version
    [ -d "$1/lib/modules" ] || mv "$1/usr/lib" "$1/lib"
    version=$(basename "$1"/lib/modules/*)
    depmod -b "$1" "$version"
    mv "$1/boot/vmlinuz-$version" "$1/vmlinuz"
    rm -rf "${1:?}"/{boot,usr}
}
