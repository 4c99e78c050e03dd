# The machine of the Vagrantfile, for who has Vagrant. Sourced by run.sh.
#
# It has a network and installs what it needs from Debian's mirrors. On a host that is no Linux, BINARY= has to name minik8s built for Linux.

prepare() {
    command -v vagrant >/dev/null || die "vagrant is not here: https://developer.hashicorp.com/vagrant/install"
    "$ROOT/tests/vm/payload.sh" "$OUT/payload" "$BINARY" "$SCRIPT"
}

boot() { in_place up || die "vagrant up failed"; }
power_cut() { in_place halt --force; }
vm() { in_place ssh --no-tty -c "sudo sh -c $(printf %q "$*")"; }
alive() { :; }
off() { in_place halt || true; }
destroy() { in_place destroy --force >/dev/null 2>&1 || true; }

# Vagrant keeps its state below VAGRANT_DOTFILE_PATH, so that nothing is written beside the sources.
in_place() { MINIK8S_PAYLOAD=$OUT/payload VAGRANT_CWD=$ROOT/tests/vm VAGRANT_DOTFILE_PATH=$OUT/vagrant vagrant "$@"; }

how_to_enter() {
    note "cd $ROOT/tests/vm && MINIK8S_PAYLOAD=$OUT/payload VAGRANT_DOTFILE_PATH=$OUT/vagrant vagrant ssh; likewise: vagrant destroy"
}
