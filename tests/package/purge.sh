# A purge where nobody is left to be asked (no ctr, no containerd), on a stage of its own: purge.sh POSTRM CGROUP VARIANT, in new mount and network
# namespaces. CGROUP is a fresh cgroup; it becomes all there is below /sys/fs/cgroup. VARIANT: plain, mount (the state is one) or link (it is reached by one).
# Prints what is left.
set -eu
postrm=$1 cgroup=$2 variant=$3
mount --make-rprivate /
for dir in /run /var/lib; do mount -t tmpfs none $dir; done
mkdir -p /run/minik8s/pods/u-1 /run/stage
mount --bind "$cgroup" /sys/fs/cgroup

case $variant in
plain) mkdir /var/lib/minik8s ;;
mount) mkdir /var/lib/minik8s && mount -t tmpfs none /var/lib/minik8s ;;
link) mkdir /run/stage/state && ln -s /run/stage/state /var/lib/minik8s ;;
esac
mkdir -p /var/lib/minik8s/pods/u-2/volumes /var/lib/minik8s/claims/default
echo secret >/var/lib/minik8s/state.redb
mount -t tmpfs none /var/lib/minik8s/pods/u-2/volumes
for namespace in minik8s moby; do
    mkdir -p /run/containerd/io.containerd.runtime.v2.task/$namespace/x/rootfs
    mount -t tmpfs none /run/containerd/io.containerd.runtime.v2.task/$namespace/x/rootfs
done

# in CGROUP: a process that lives there until it is ended.
in_cgroup() {
    mkdir -p "/sys/fs/cgroup/$1"
    sh -c "echo 0 >/sys/fs/cgroup/$1/cgroup.procs; exec sleep 300" </dev/null >/dev/null 2>&1 &
    for try in $(seq 100); do [ -z "$(cat "/sys/fs/cgroup/$1/cgroup.procs")" ] || return 0; sleep 0.1; done
    echo "nothing runs in $1"
    exit 1
}
in_cgroup kubepods/besteffort/podu-1/container
first=$!
in_cgroup kubepods.slice/kubepods-podu_2.slice/cri-containerd-x.scope
second=$!
in_cgroup system.slice/minik8s.service
keeper=$!
in_cgroup kubepods/podu-3/of-a-kubelet
other=$!
mkdir /run/stage/bin
# A PATH without ctr, ip, iptables and systemctl.
for tool in awk cat find grep head kill printf readlink rm rmdir sh sleep sort sed timeout tr umount; do
    path=$(command -v "$tool") && [ -x "$path" ] && ln -s "$path" /run/stage/bin/ || true
done
code=0
PATH=/run/stage/bin /bin/sh "$postrm" purge || code=$?
echo "exit $code"
for process in "$first pod" "$second pod" "$keeper keeper" "$other other"; do
    state=$(sed -n 's/^State:\s*\(.\).*/\1/p' "/proc/${process% *}/status" 2>/dev/null) || true
    case $state in Z | '') ;; *) echo "runs: ${process#* }" ;; esac
done
sed -n 's|.* /run/containerd/io.containerd.runtime.v2.task/\([^ ]*\) .*|mounted: \1|p' /proc/self/mountinfo
find /var/lib /run/minik8s /run/stage/state -mindepth 1 2>/dev/null | sed 's/^/left: /'
for process in "$first" "$second" "$keeper" "$other"; do kill -9 "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done
find /sys/fs/cgroup -mindepth 1 -depth -type d -exec rmdir {} + || true
