# shellcheck shell=bash
# shellcheck disable=SC2154 # the names that its head lists
# A virtual machine that has this machine's files. Sourced by scripts/vm, after kernel.sh; uses its
# $work, $kernel_dir, $kernel_version, $limit and $console.

# What the first files need that the kernel's image has as modules.
readonly BOOT_MODULES=(virtio_pci 9pnet_virtio 9p overlay)

# write_initramfs : busybox, the modules, in order, and the first program.
write_initramfs() {
    local dir=$work/initramfs file name number=100
    mkdir -p "$dir/bin" "$dir/modules"
    cp /bin/busybox "$dir/bin/"
    modprobe -d "$kernel_dir" -S "$kernel_version" --show-depends -a "${BOOT_MODULES[@]}" |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
    while read -r file; do
        name=$dir/modules/$((number++))-$(basename "${file%.xz}")
        case $file in
        *.xz) xz -dc "$file" >"$name" ;;
        *) cp "$file" "$name" ;;
        esac
    done <"$work/modules"
    sed "s|@JOB@|$work|; s|@GUEST@|$ROOT/scripts/vm_lib/guest|" "$ROOT/scripts/vm_lib/init" >"$dir/init"
    chmod 755 "$dir/init"
    (cd "$dir" && find . | /bin/busybox cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initramfs.gz"
    printf '%q\n' "$kernel_dir/lib/modules/$kernel_version" >"$work/modules_dir"
}

# boot : runs the machine until it ends. Its files: console, output and code. The kernel patches its
# own code with int3 for a moment (static keys); an emulator of several threads has run into one, so
# this one has a single thread.
boot() {
    : >"$work/output"
    : >"$work/code"
    setpriv --pdeathsig KILL timeout --kill-after=5 $((limit * 60)) qemu-system-x86_64 \
        -machine q35 -accel tcg,thread=single -cpu max -smp 2 -m 4096 -no-reboot \
        -display none -monitor none -nodefaults -no-user-config \
        -kernel "$kernel_dir/vmlinuz" -initrd "$work/initramfs.gz" \
        -append 'console=ttyS0 quiet panic=-1 oops=panic 8250.nr_uarts=4' \
        -serial "file:$work/console" -serial "file:$work/output" -serial "file:$work/code" \
        -virtfs "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap" \
        -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng \
        </dev/null 2>"$work/qemu" &
    local machine=$!
    # shellcheck disable=SC2064 # the pid of now
    trap "kill $machine 2>/dev/null || true; wait $machine 2>/dev/null || true; \
        die 'interrupted; the machine is gone'" INT TERM HUP
    # In the background, since a trap waits for what runs in the foreground.
    tail -c +1 -s 0.2 -f --pid="$machine" "$work/output" 2>/dev/null &
    local printer=$!
    status=0
    wait "$machine" || status=$?
    wait "$printer" || true
    trap - INT TERM HUP
}

# run_machine : boots it, again if the emulator killed it, and ends this script as the job ended.
run_machine() {
    local attempt code
    write_initramfs
    for attempt in 1 2 3; do
        boot
        [ -z "$console" ] || cat "$work/console" >&2
        code=$(tr -dc 0-9 <"$work/code")
        [ -z "$code" ] || exit "$code"
        if [ "$status" = 124 ]; then
            note "the machine ran for $limit minutes and was ended (--timeout)" >&2
            exit 124
        fi
        if [ "$attempt" = 3 ] || ! grep -qE 'int3: 0000|Oops: int3' "$work/console"; then break; fi
        note "the emulator ran into an int3 that the kernel had placed for a moment: once more" >&2
    done
    cat "$work/qemu" >&2
    tail -n 60 "$work/console" >&2
    bad "the machine died; above is the end of what its kernel said" >&2
    exit 125
}
