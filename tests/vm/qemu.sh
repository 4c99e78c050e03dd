# The machine that build.sh makes, emulated by qemu: no KVM and no network is needed. Sourced by run.sh.
#
# About a minute to boot, twenty times slower than native. It starts from the cached disk without writing to it (an overlay in the lab holds
# what it writes, over a power cut too); what is tested comes on a second disk. Its network is qemu's restricted user network: nothing but ssh
# from this host's loopback reaches it, and it reaches nothing.
#   VM_CACHE=DIR  where build.sh keeps the disk

CACHE=${VM_CACHE:-/var/tmp/minik8s-vm}

prepare() {
    need_root
    need_packages qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils ssh=openssh-client strip=binutils busybox=busybox-static
    "$ROOT/tests/vm/build.sh" "$CACHE"
    "$ROOT/tests/vm/payload.sh" "$LAB/payload" "$BINARY" "$SCRIPT"
    mke2fs -q -t ext4 -L payload -d "$LAB/payload" "$LAB/payload.img" "$(($(du -sm "$LAB/payload" | cut -f1) * 5 / 4 + 16))M" >/dev/null
    rm -rf "$LAB/payload"
    qemu-img create -q -f qcow2 -F raw -b "$CACHE/disk.img" "$LAB/disk.qcow2"
}

boot() {
    PORT=$((20000 + RANDOM % 20000))
    qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic \
        -kernel "$CACHE/vmlinuz" -initrd "$CACHE/initrd.img" -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0" \
        -drive "file=$LAB/disk.qcow2,format=qcow2,if=virtio" -drive "file=$LAB/payload.img,format=raw,if=virtio,readonly=on" \
        -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$PORT-:22" -device virtio-net-pci,netdev=net -device virtio-rng-pci \
        </dev/null >>"$LAB/console.log" 2>&1 &
    record_process qemu $!
}

# The power is gone: no signal that the machine could see, nothing that it has not written reaches its disk.
power_cut() {
    local pid
    pid=$(running qemu)
    kill -KILL "$pid"
    # Until the last of its threads has let go of the disk.
    wait "$pid" 2>/dev/null || true
    note "qemu ($pid) was killed by SIGKILL"
}

vm() {
    ssh -q -i "$CACHE/id" -p "$PORT" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=30 \
        -o ServerAliveInterval=60 -o ServerAliveCountMax=10 root@127.0.0.1 "$@"
}

alive() { [ -n "$(running qemu)" ] || die "qemu ended: $(tail -n 3 "$LAB/console.log")"; }

off() {
    vm "systemctl poweroff" 2>/dev/null || true
    wait_for 60 "the machine to go off" eval '[ -z "$(running qemu)" ]' || true
}

# What is left of it, whatever has happened.
destroy() { stop_process qemu 20; }

how_to_enter() {
    note "ssh -i $CACHE/id -p $PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1"
    note "kill $(running qemu); rm -rf $LAB    # ends it"
}
