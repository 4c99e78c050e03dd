#!/usr/bin/env bash
# Runs a script of this directory in a virtual machine with systemd and cgroup v2: run.sh [SCRIPT [ARGUMENT...]] (default: smoke.sh)
#
# The machine comes with minik8s as `make install` lays it out, and the tests, as /payload; package.sh also gets two versions of each
# package. A script that exits with 75 boots the machine and is run again afterwards; for one that exits with 76 the power is cut first. The last
# line that it has printed is told to the next run as LAST_WORDS: nothing in the machine has to reach its disk for that.
#   VM=qemu       the machine: qemu (build.sh's, emulated; qemu.sh), lima (lima.yaml) or vagrant (Vagrantfile)
#   BINARY=FILE   this binary instead of a debug build
#   VM_KEEP=1     leave the machine running afterwards and say how to get in and how to end it
# Exits with the script's own code: 0 only if every check was ok. Its logs are then in target/vm/.
. "$(dirname "$0")/../lab/lab.sh"

SCRIPT=${1:-smoke.sh}
shift $(($# > 0))
OUT=$TARGET/vm
BOOT_SECONDS=900

[ -f "$ROOT/tests/vm/$SCRIPT" ] || die "there is no tests/vm/$SCRIPT"
case ${VM:=qemu} in # also where it is set and empty
qemu | lima | vagrant) . "$ROOT/tests/vm/$VM.sh" ;;
*) die "VM=$VM is none of qemu, lima, vagrant" ;;
esac

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
    destroy
    rm -rf "$LAB"
    exit "$code"
}
rm -f "$OUT"/{summary,journal,console,containerd}.{txt,log}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
prepare

boot_id() { vm cat /proc/sys/kernel/random/boot_id 2>/dev/null; }
# Whether it has booted since BOOT was read (before the first boot: ""), and the tests are there.
booted() {
    alive
    local now
    now=$(boot_id) && [ -n "$now" ] && [ "$now" != "${BOOT:-}" ] && vm test -e /payload/tests 2>/dev/null
}
comes_up() {
    local began=$SECONDS
    wait_for $BOOT_SECONDS "the virtual machine" booted || die "the virtual machine does not answer within $BOOT_SECONDS s"
    note "up after $((SECONDS - began)) s"
}

say "booting the virtual machine"
boot
comes_up
say "running tests/vm/$SCRIPT in it"
: >"$OUT/summary.txt"
while :; do
    code=0
    BOOT=$(boot_id)
    vm "LAST_WORDS=$(printf %q "$(tail -n 1 "$OUT/summary.txt")") bash /payload/tests/vm/$SCRIPT $*" 2>&1 | tee -a "$OUT/summary.txt" || code=${PIPESTATUS[0]}
    case $code in
    75) say "the machine boots again" ;;
    76)
        say "the machine's power is cut"
        power_cut
        boot
        ;;
    *) break ;;
    esac
    comes_up
done
vm "journalctl -o short-precise --no-pager" >"$OUT/journal.log" 2>/dev/null || true

if [ -n "${VM_KEEP:-}" ]; then
    trap - EXIT
    say "left running:"
    how_to_enter
    exit "$code"
fi
off
if [ "$code" = 0 ]; then say "every check is ok; logs in $OUT"; else say "NOT every check is ok (exit $code); logs in $OUT"; fi
exit "$code"
