# shellcheck shell=bash
# The cgroups of clusters, which outlive their processes. Sourced after lib.sh, outside of the
# namespaces.

# The name of this run's cgroup in each hierarchy; for `machine`.
export FERRULE_CGROUP=ferrule-kubernetes-$$

# remove_cgroups : those of this run, and of runs whose script is gone
remove_cgroups() {
    local hierarchy run
    # A second signal would end this halfway.
    trap '' INT TERM HUP
    for hierarchy in $(findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET); do
        for run in "$hierarchy"/ferrule-kubernetes-*; do
            [ -d "$run" ] || continue
            [ "${run##*-}" = $$ ] || [ ! -e "/proc/${run##*-}" ] || continue
            remove_cgroup "$run"
        done
    done
}

# The kernel may still end its processes.
remove_cgroup() {
    for _ in {1..100}; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -e "$1" ] || break
        sleep 0.1
    done
}
