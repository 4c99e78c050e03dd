# The machine of lima.yaml, for who has Lima (limactl 1.0 or newer). Sourced by run.sh.
#
# It has a network and installs what it needs from Debian's mirrors. On a host that is no Linux, BINARY= has to name minik8s built for Linux.

INSTANCE=minik8s-test

prepare() {
    command -v limactl >/dev/null || die "limactl is not here: https://lima-vm.io/docs/installation"
    "$ROOT/tests/vm/payload.sh" "$OUT/payload" "$BINARY" "$SCRIPT"
    limactl create --tty=false --name "$INSTANCE" --set ".param.payload = \"$OUT/payload\"" "$ROOT/tests/vm/lima.yaml" || die "limactl create failed"
}

boot() {
    limactl start --tty=false "$INSTANCE" || die "limactl start failed"
    vm "bash /payload/tests/vm/provision.sh" || die "what the tests need cannot be installed"
}

power_cut() { limactl stop --force "$INSTANCE"; }
vm() { limactl shell --workdir / "$INSTANCE" sudo sh -c "$*"; }
alive() { :; }
off() { limactl stop "$INSTANCE" || true; }
destroy() { limactl delete --force "$INSTANCE" >/dev/null 2>&1 || true; }

how_to_enter() {
    note "limactl shell $INSTANCE"
    note "limactl delete --force $INSTANCE    # ends it"
}
