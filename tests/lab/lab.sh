# What the lab's scripts share: talking, packages, a private containerd, and cleaning up by what was recorded. Sourced, not run.
#
# A lab is one directory under /var/tmp with everything in it: containerd's root, state and socket, the agent's state, the manifests.
# $LAB/processes has one line a process: name, pid, start time in clock ticks. A pid counts as ours only while its start time is
# the recorded one, so a recycled pid is never signalled. $RECORD (in target/) remembers the lab of a run that was kept or that died.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
RECORD=$TARGET/lab
RUST_NEEDED=1.90
# The demo's own on this host, below no lab.
DEMO_BRIDGE=mkdemo0 DEMO_CGROUP=minik8s-demo

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
# REASON is for whoever cleans up on exit, to say it again below the logs.
die() {
    REASON="$*"
    printf '\033[31mFAILED:\033[0m %s\n' "$*" >&2
    exit 1
}

need_root() { [ "$(id -u)" = 0 ] || die "run this as root: containers, namespaces and cgroups need it"; }

# Cargo has to be there and new enough; Debian 12's own (1.63) is not.
need_cargo() {
    local how="install Rust $RUST_NEEDED or newer: https://rustup.rs (curl https://sh.rustup.rs -sSf | sh -s -- -y, then . ~/.cargo/env)"
    command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && PATH=$HOME/.cargo/bin:$PATH; }
    command -v cargo >/dev/null || die "cargo is not here; $how"
    local version
    version=$(cargo --version | awk '{print $2}')
    [ "$(printf '%s\n%s\n' "$RUST_NEEDED" "$version" | sort -V | head -n1)" = "$RUST_NEEDED" ] || die "cargo $version is too old; $how"
}

# need_packages PATH=PACKAGE...: installs the packages whose file is not there (a bare name is looked up in PATH).
need_packages() {
    local missing=() pair what
    for pair in "$@"; do
        what=${pair%%=*}
        case $what in
        /*) [ -e "$what" ] || missing+=("${pair#*=}") ;;
        *) command -v "$what" >/dev/null || missing+=("${pair#*=}") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "not here: ${missing[*]}; install them with this system's package manager"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || die "apt-get could not install ${missing[*]}"
    }
}

need_runtime_packages() {
    need_packages containerd=containerd runc=runc busybox=busybox-static iptables=iptables \
        /usr/lib/cni/bridge=containernetworking-plugins protoc=protobuf-compiler cc=gcc /usr/include/stdio.h=libc6-dev
}

# --- processes -----------------------------------------------------------------------------------------------------------------

# The start time of a process in clock ticks; nothing if it is gone.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    set -- ${stat##*) }
    # A zombie is as good as gone.
    [ "$1" = Z ] || echo "${20}"
}

record_process() { echo "$1 $2 $(start_time "$2")" >>"$LAB/processes"; }

# The pid of a recorded process that still runs.
running() {
    local name pid started
    while read -r name pid started; do
        if [ "$name" = "$1" ] && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]; then echo "$pid"; fi
    done <"$LAB/processes" 2>/dev/null
    return 0
}

# stop_process NAME SECONDS: SIGTERM, wait, SIGKILL.
stop_process() {
    local pid i
    for pid in $(running "$1"); do
        kill -TERM "$pid" 2>/dev/null || continue
        for ((i = 0; i < $2 * 10; i++)); do
            [ -n "$(running "$1")" ] || return 0
            sleep 0.1
        done
        note "$1 ($pid) did not stop within $2 s; killing it"
        kill -KILL "$pid" 2>/dev/null || true
    done
}

# Pids whose command line names this lab: containerd, its shims, the agent, its loggers. Never this script itself.
lab_pids() {
    local dir cmdline
    for dir in /proc/[0-9]*; do
        cmdline=$({ tr '\0' ' ' <"$dir/cmdline"; } 2>/dev/null) || continue
        case $cmdline in
        *"$LAB"/*) [ "${dir#/proc/}" = $$ ] || [ "${dir#/proc/}" = "$BASHPID" ] || echo "${dir#/proc/}" ;;
        esac
    done
}

# wait_for SECONDS WHAT COMMAND...: true once the command is; says how long it has waited every 10 s.
wait_for() {
    local limit=$1 what=$2 i
    shift 2
    for ((i = 0; i < limit * 2; i++)); do
        if "$@"; then return 0; fi
        if [ $((i % 20)) = 19 ]; then note "waiting for $what ($(((i + 1) / 2)) of $limit s)"; fi
        sleep 0.5
    done
    return 1
}

# --- the lab -------------------------------------------------------------------------------------------------------------------

new_lab() {
    LAB=$(mktemp -d /var/tmp/minik8s-lab.XXXXXX)
    mkdir -p "$RECORD"
    echo "$LAB" >"$RECORD/current"
    : >"$LAB/processes"
    NAMESPACE=minik8s-lab-${LAB##*.}
    echo "$NAMESPACE" >"$LAB/namespace"
}

# Finds the lab that an earlier run left; false where there is none.
find_lab() {
    LAB=$(cat "$RECORD/current" 2>/dev/null) || return 1
    case $LAB in /var/tmp/minik8s-lab.*) ;; *) return 1 ;; esac
    [ -d "$LAB" ] || return 1
    NAMESPACE=$(cat "$LAB/namespace" 2>/dev/null || echo "minik8s-lab-${LAB##*.}")
    ADDRESS=$(cat "$LAB/address" 2>/dev/null || echo "$LAB/containerd.sock")
}

# Starts a private containerd, or uses the one that CONTAINERD names.
start_containerd() {
    if [ -n "${CONTAINERD:-}" ]; then
        ADDRESS=$CONTAINERD
        [ -S "$ADDRESS" ] || die "CONTAINERD=$ADDRESS is no socket"
    else
        ADDRESS=$LAB/containerd.sock
        cat >"$LAB/containerd.toml" <<TOML
version = 2
root = "$LAB/containerd/root"
state = "$LAB/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "$ADDRESS"
[debug]
  level = "warn"
TOML
        containerd --config "$LAB/containerd.toml" >"$LAB/containerd.log" 2>&1 &
        record_process containerd $!
    fi
    echo "$ADDRESS" >"$LAB/address"
    wait_for 30 "containerd" containerd_answers || { tail -n 20 "$LAB/containerd.log" >&2 || true; die "containerd at $ADDRESS does not answer"; }
}

containerd_answers() { ctr -a "$ADDRESS" version >/dev/null 2>&1; }
lab_ctr() { ctr -a "$ADDRESS" -n "$NAMESPACE" "$@"; }

# Removes whatever containers the lab's namespace still has.
remove_containers() {
    local id
    containerd_answers || return 0
    for id in $(lab_ctr tasks ls -q 2>/dev/null); do lab_ctr tasks rm --force "$id" >/dev/null 2>&1 || true; done
    for id in $(lab_ctr containers ls -q 2>/dev/null); do lab_ctr containers rm "$id" >/dev/null 2>&1 || true; done
    for id in $(lab_ctr images ls -q 2>/dev/null); do lab_ctr images rm --sync "$id" >/dev/null 2>&1 || true; done
    for id in $(lab_ctr snapshots ls 2>/dev/null | awk 'NR > 1 {print $1}' | tac); do lab_ctr snapshots rm "$id" >/dev/null 2>&1 || true; done
    ctr -a "$ADDRESS" namespaces rm "$NAMESPACE" >/dev/null 2>&1 || true
}

lab_mounts() { awk -v lab="$LAB/" 'index($5, lab) == 1 {print $5}' /proc/self/mountinfo | tac; }

# cgroups of the lab's pods, by the uids that its log directories were named after.
lab_cgroups() {
    local uid
    sort -u "$LAB/uids" 2>/dev/null | while read -r uid; do
        [ -z "$uid" ] || find /sys/fs/cgroup -depth -type d -name "*$uid*" 2>/dev/null
        # systemd's names have _ for -.
        [ -z "$uid" ] || find /sys/fs/cgroup -depth -type d -name "*${uid//-/_}*" 2>/dev/null
    done | sort -ru
}

# Notes the uids of all pods that the agent made, for lab_cgroups. Log directories are <namespace>_<pod>_<uid>.
remember_uids() {
    local dir
    for dir in "$LAB"/logs/pods/*_*_*; do
        [ -d "$dir" ] && echo "${dir##*_}" >>"$LAB/uids"
    done
    return 0
}

# Says what of the lab is left, and fails if anything is.
nothing_left() {
    local left=0 what
    what=$(lab_pids | tr '\n' ' ')
    [ -z "${what// /}" ] || { note "processes left: $what"; left=1; }
    what=$(lab_mounts)
    [ -z "$what" ] || { note "mounts left: $what"; left=1; }
    what=$(lab_cgroups)
    [ -z "$what" ] || { note "cgroups left: $what"; left=1; }
    what=$(find "/run/containerd/runc/$NAMESPACE" -mindepth 1 -maxdepth 1 2>/dev/null || true)
    [ -z "$what" ] || { note "runc containers left: $what"; left=1; }
    return $left
}

# What an agent that was stopped with its pods leaves on the host for the next one.
destroy_network() {
    local chain=MINIK8S-$DEMO_BRIDGE rule
    ip link delete "$DEMO_BRIDGE" 2>/dev/null || true
    iptables -w 5 -t nat -S "$chain" >/dev/null 2>&1 || return 0
    iptables -w 5 -t nat -S POSTROUTING | sed -n "s/^-A \(.* -j $chain\)$/\1/p" | while read -r rule; do
        # shellcheck disable=SC2086
        iptables -w 5 -t nat -D $rule || true
    done
    iptables -w 5 -t nat -F "$chain" && iptables -w 5 -t nat -X "$chain" || true
}

# Takes a lab down, whatever state it is in: agent, containers, containerd, shims, mounts, cgroups, files.
destroy_lab() {
    local pid mount dir
    [ -n "${LAB:-}" ] && [ -d "$LAB" ] || return 0
    remember_uids
    stop_process agent 20
    remove_containers
    stop_process containerd 10
    for pid in $(lab_pids); do kill -KILL "$pid" 2>/dev/null || true; done
    for mount in $(lab_mounts); do umount -l "$mount" 2>/dev/null || true; done
    for dir in $(lab_cgroups); do rmdir "$dir" 2>/dev/null || true; done
    find /sys/fs/cgroup -depth -type d -path "*/$DEMO_CGROUP*" -exec rmdir {} + 2>/dev/null || true
    destroy_network
    rmdir "/run/containerd/runc/$NAMESPACE" 2>/dev/null || true
    [ -n "$(lab_mounts)" ] || rm -rf --one-file-system "$LAB"
    rm -f "$RECORD/current"
}
