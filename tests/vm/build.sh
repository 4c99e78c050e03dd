#!/usr/bin/env bash
# Builds the virtual machine's disk: build.sh [DIRECTORY]
#
# Debian trixie with systemd as PID 1, cgroup v2, containerd, runc and the CNI plugins, made by mmdebstrap from Debian's own mirror. No part of
# minik8s is in it, so it is built once and kept in DIRECTORY (default: $VM_CACHE, else /var/tmp/minik8s-vm) until this file or `packages` changes:
#   disk.img      the root file system (ext4, sparse); run.sh starts from it and never writes to it
#   vmlinuz, initrd.img   for qemu's direct kernel boot
#   id            the key that opens root's ssh
# Takes one or two minutes the first time.
. "$(dirname "$0")/../lab/lab.sh"

CACHE=${1:-${VM_CACHE:-/var/tmp/minik8s-vm}}
PACKAGES=systemd,systemd-sysv,dbus,udev,kmod,linux-image-cloud-amd64,openssh-server,iproute2,procps,$(paste -sd, "$(dirname "$0")/packages")
MIRROR=${VM_MIRROR:-http://deb.debian.org/debian}

need_root
[ "$(uname -m)" = x86_64 ] || die "the virtual machine is made for x86_64 hosts only"
need_packages mmdebstrap=mmdebstrap mke2fs=e2fsprogs ssh-keygen=openssh-client flock=util-linux \
    /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9
STAMP=$(cat "$0" "$(dirname "$0")/packages" | sha256sum)
if [ "$(cat "$CACHE/stamp" 2>/dev/null)" = "$STAMP" ]; then exit 0; fi

say "building the virtual machine in $CACHE (Debian trixie, once)"
rm -rf "$CACHE/stamp" "$CACHE/id" "$CACHE/id.pub" "$CACHE/root"
trap 'rm -rf "$CACHE/root"' EXIT
mmdebstrap --quiet --variant=minbase --include="$PACKAGES" trixie "$CACHE/root" "$MIRROR" 2>"$CACHE/build.log" || {
    tail -n 20 "$CACHE/build.log" >&2
    die "mmdebstrap could not build the root file system; its log is $CACHE/build.log"
}
ssh-keygen -q -t ed25519 -N '' -C minik8s-vm -f "$CACHE/id"

in_image() { chroot "$IMAGE" systemctl "$@" 2>>"$CACHE/build.log"; }

# The machine: a name, an address on qemu's user network, root by key, nothing that runs by itself.
IMAGE=$CACHE/root
echo vm >"$IMAGE/etc/hostname"
printf '127.0.0.1 localhost vm\n' >"$IMAGE/etc/hosts"
printf '/dev/vda / ext4 defaults,noatime 0 1\nLABEL=payload /payload ext4 ro,nofail 0 0\n' >"$IMAGE/etc/fstab"
mkdir -p "$IMAGE/payload" "$IMAGE/root/.ssh" "$IMAGE/etc/systemd/network" "$IMAGE/etc/cni/net.d"
install -m 0600 "$CACHE/id.pub" "$IMAGE/root/.ssh/authorized_keys"
printf '[Match]\nType=ether\nName=en* eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >"$IMAGE/etc/systemd/network/50-user.network"
printf 'LoginGraceTime 300\nUseDNS no\n' >"$IMAGE/etc/ssh/sshd_config.d/vm.conf"
in_image --quiet enable systemd-networkd ssh
# containerd is started by the tests; nothing else may take the machine's time.
in_image --quiet disable containerd
in_image --quiet mask systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1 serial-getty@ttyS0

cp "$(ls "$IMAGE"/boot/vmlinuz-* | tail -n 1)" "$CACHE/vmlinuz"
cp "$(ls "$IMAGE"/boot/initrd.img-* | tail -n 1)" "$CACHE/initrd.img"
rm -f "$CACHE/disk.img"
mke2fs -q -t ext4 -L root -d "$IMAGE" "$CACHE/disk.img" 3G >/dev/null
echo "$STAMP" >"$CACHE/stamp"
note "$CACHE/disk.img: $(du -h "$CACHE/disk.img" | cut -f1) on disk"
