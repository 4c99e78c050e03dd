#!/usr/bin/env bash
# Runs a script of this directory in a virtual machine with systemd and cgroup v2: run.sh [SCRIPT [ARGUMENT...]] (default: smoke.sh)
#
# The machine is build.sh's, emulated by qemu (no KVM needed: about a minute to boot, twenty times slower than native). It starts from the
# cached disk without writing to it; minik8s as `make install` lays it out and the tests come on a second disk. Its network is qemu's
# restricted user network: nothing but ssh from this host's loopback reaches it, and it reaches nothing.
# A script that exits with 75 is run again after the machine's next boot. package.sh also gets two versions of the Debian package.
#   BINARY=FILE   this binary instead of a debug build
#   VM_KEEP=1     leave the machine running afterwards and say how to get in and how to end it
#   VM_CACHE=DIR  where build.sh keeps the disk
# Exits with the script's own code: 0 only if every check was ok. Its logs are then in target/vm/.
. "$(dirname "$0")/../lab/lab.sh"

SCRIPT=${1:-smoke.sh}
shift $(($# > 0))
CACHE=${VM_CACHE:-/var/tmp/minik8s-vm}
OUT=$TARGET/vm
BOOT_SECONDS=600

need_root
[ -f "$ROOT/tests/vm/$SCRIPT" ] || die "there is no tests/vm/$SCRIPT"
need_packages qemu-system-x86_64=qemu-system-x86 ssh=openssh-client strip=binutils busybox=busybox-static
"$ROOT/tests/vm/build.sh" "$CACHE"

if [ -z "${BINARY:-}" ]; then
    need_cargo
    say "building minik8s (debug)"
    (cd "$ROOT" && cargo build --quiet)
    BINARY=$TARGET/debug/minik8s
fi

LAB=$(mktemp -d /var/tmp/minik8s-vm-run.XXXXXX)
mkdir -p "$OUT"
: >"$LAB/processes"

on_exit() {
    local code=$?
    trap - EXIT INT TERM
    if [ "$code" != 0 ] && [ ! -s "$OUT/summary.txt" ]; then tail -n 15 "$LAB/console.log" >&2 2>/dev/null || true; fi
    cp "$LAB/console.log" "$OUT/console.log" 2>/dev/null || true
    stop_process qemu 20
    rm -rf "$LAB"
    exit "$code"
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The second disk: what `make install` installs, and the tests.
PAYLOAD=$LAB/payload
strip -o "$LAB/minik8s" "$BINARY"
make --no-print-directory -s -C "$ROOT" install BINARY="$LAB/minik8s" DESTDIR="$PAYLOAD/install" >/dev/null
mkdir -p "$PAYLOAD/tests/lab"
if [ "$SCRIPT" = package.sh ]; then
    say "making the packages"
    mkdir -p "$PAYLOAD/debs"
    for version in 0.1.0-1 0.1.1-1; do
        BINARY="$LAB/minik8s" DEB_VERSION=$version "$ROOT/packaging/build.sh" deb >/dev/null
        cp "$TARGET/packages/minik8s_${version}_amd64.deb" "$PAYLOAD/debs/"
    done
    # The newer one is for the machine alone.
    rm -f "$TARGET/packages/minik8s_0.1.1-1_amd64.deb"
fi
cp "$ROOT"/tests/lab/lab.sh "$ROOT"/tests/lab/images.sh "$PAYLOAD/tests/lab/"
cp -r "$ROOT/tests/vm" "$PAYLOAD/tests/"
mke2fs -q -t ext4 -L payload -d "$PAYLOAD" "$LAB/payload.img" "$(($(du -sm "$PAYLOAD" | cut -f1) * 5 / 4 + 16))M" >/dev/null
rm -rf "$PAYLOAD"

boot() {
    PORT=$((20000 + RANDOM % 20000))
    qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 -nographic \
        -kernel "$CACHE/vmlinuz" -initrd "$CACHE/initrd.img" -append "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0" \
        -drive "file=$CACHE/disk.img,format=raw,if=virtio,snapshot=on" -drive "file=$LAB/payload.img,format=raw,if=virtio,readonly=on" \
        -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$PORT-:22" -device virtio-net-pci,netdev=net -device virtio-rng-pci \
        </dev/null >"$LAB/console.log" 2>&1 &
    record_process qemu $!
}
vm() {
    ssh -q -i "$CACHE/id" -p "$PORT" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=30 \
        -o ServerAliveInterval=60 -o ServerAliveCountMax=10 root@127.0.0.1 "$@"
}
answers() {
    [ -n "$(running qemu)" ] || die "qemu ended: $(tail -n 3 "$LAB/console.log")"
    vm true 2>/dev/null
}

rm -f "$OUT"/{summary,journal,console,containerd}.{txt,log}
say "booting the virtual machine"
began=$SECONDS
boot
wait_for $BOOT_SECONDS "the virtual machine" answers || die "the virtual machine does not answer within $BOOT_SECONDS s"
note "up after $((SECONDS - began)) s"

say "running tests/vm/$SCRIPT in it"
# Exit code 75: the script has the machine boot, and wants to go on after that.
boot_id() { vm cat /proc/sys/kernel/random/boot_id 2>/dev/null; }
another_boot() {
    [ -n "$(running qemu)" ] || die "qemu ended: $(tail -n 3 "$LAB/console.log")"
    local now
    now=$(boot_id) && [ -n "$now" ] && [ "$now" != "$BOOT" ]
}
: >"$OUT/summary.txt"
while :; do
    code=0
    BOOT=$(boot_id)
    vm "bash /payload/tests/vm/$SCRIPT $*" 2>&1 | tee -a "$OUT/summary.txt" || code=${PIPESTATUS[0]}
    [ "$code" = 75 ] || break
    say "the machine boots again"
    wait_for $BOOT_SECONDS "the virtual machine" another_boot || die "the virtual machine does not come back within $BOOT_SECONDS s"
done
vm "journalctl -o short-precise --no-pager" >"$OUT/journal.log" 2>/dev/null || true

if [ -n "${VM_KEEP:-}" ]; then
    trap - EXIT
    say "left running:"
    note "ssh -i $CACHE/id -p $PORT -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1"
    note "kill $(running qemu); rm -rf $LAB    # ends it"
    exit "$code"
fi
vm "systemctl poweroff" 2>/dev/null || true
wait_for 60 "the machine to go off" eval '[ -z "$(running qemu)" ]' || true
if [ "$code" = 0 ]; then say "every check is ok; logs in $OUT"; else say "NOT every check is ok (exit $code); logs in $OUT"; fi
exit "$code"
