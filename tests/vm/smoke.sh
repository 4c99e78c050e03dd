#!/usr/bin/env bash
# Inside the virtual machine: minik8s as a systemd service with both cgroup drivers on cgroup v2 (or the one named). run.sh runs it.
set -u
. /payload/tests/vm/checks.sh

section "the machine"
is "PID 1" systemd "$(cat /proc/1/comm)"
is "cgroups are v2" cgroup2fs "$(stat -fc %T /sys/fs/cgroup)"
printf '     %s, %s, %s\n' "$(systemctl --version | head -n 1)" "$(containerd --version | cut -d' ' -f3)" "$(runc --version | head -n 1)"

section "the service"
cp -a --no-preserve=ownership /payload/install/. /
holds "the unit has no mistake" bash -c 'out=$(systemd-analyze verify --man=no /etc/systemd/system/minik8s.service 2>&1); echo "$out"; ! grep -q minik8s.service: <<<"$out"'
systemctl daemon-reload
# The agent first: it has to bring containerd with it (Wants=) and to wait for it.
holds "systemctl start minik8s" systemctl start minik8s
is "it is ready by notification" "notify active running" "$(systemctl show -P Type minik8s) $(systemctl show -P ActiveState minik8s) $(systemctl show -P SubState minik8s)"
is "containerd came with it" active "$(systemctl is-active containerd)"
holds "images" bash /payload/tests/lab/images.sh /run/containerd/containerd.sock minik8s
becomes "the agent answers" 60 minik8s get pods -A
service_pid() { systemctl show -P MainPID minik8s; }

# pods DRIVER: drops manifests in, checks what they became, takes them out.
pods() {
    local driver=$1
    cp /payload/tests/vm/manifests/{burstable,pods}.yaml /etc/minik8s/
    for name in burstable guaranteed besteffort pair; do becomes "pod $name runs" 300 pod_runs $name; done
    limits_of_"$driver"
    network
    ends
}

limits_of_systemd() {
    section "systemd driver: slices and limits"
    look burstable
    local slice=kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_//-/_}.slice
    is "burstable: its place" "/$slice/cri-containerd-$ID.scope" "$CGROUP"
    limits_of_burstable "$slice"
    look guaranteed
    slice=kubepods.slice/kubepods-pod${UID_//-/_}.slice
    is "guaranteed: its place" "/$slice/cri-containerd-$ID.scope" "$CGROUP"
    limits_of_guaranteed "$slice"
    look besteffort
    slice=kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${UID_//-/_}.slice
    is "besteffort: its place" "/$slice/cri-containerd-$ID.scope" "$CGROUP"
    limits_of_besteffort "$slice"
    limits_of_classes kubepods.slice kubepods.slice/kubepods-burstable.slice kubepods.slice/kubepods-besteffort.slice
    # systemd writes its own idea of a unit back whenever it likes: it must know the limits itself.
    look burstable
    is "systemd knows the slice's limits" "67108864 500ms" "$(systemctl show -P MemoryMax "kubepods-burstable-pod${UID_//-/_}.slice") $(systemctl show -P CPUQuotaPerSecUSec "kubepods-burstable-pod${UID_//-/_}.slice")"
    systemctl daemon-reload
    is "a daemon-reload leaves the container's limits" "67108864 50000 100000" "$(value "$CGROUP/memory.max") $(value "$CGROUP/cpu.max")"
    is "a daemon-reload leaves the pod's limits" "67108864 50000 100000" "$(value "${CGROUP%/*}/memory.max") $(value "${CGROUP%/*}/cpu.max")"
    is "a daemon-reload leaves memory.oom.group" 1 "$(value "$CGROUP/memory.oom.group")"
}

limits_of_cgroupfs() {
    section "cgroupfs driver: cgroups and limits"
    look burstable
    is "burstable: its place" "/kubepods/burstable/pod$UID_/$ID" "$CGROUP"
    limits_of_burstable "kubepods/burstable/pod$UID_"
    look guaranteed
    is "guaranteed: its place" "/kubepods/pod$UID_/$ID" "$CGROUP"
    limits_of_guaranteed "kubepods/pod$UID_"
    look besteffort
    is "besteffort: its place" "/kubepods/besteffort/pod$UID_/$ID" "$CGROUP"
    limits_of_besteffort "kubepods/besteffort/pod$UID_"
    limits_of_classes kubepods kubepods/burstable kubepods/besteffort
}

# Limits 250m and 32Mi.
limits_of_guaranteed() {
    local where whose
    for where in "$CGROUP" "$1"; do
        if [ "$where" = "$1" ]; then whose=pod; else whose=container; fi
        is "guaranteed: memory.max of the $whose" 33554432 "$(value "$where/memory.max")"
        is "guaranteed: cpu.max of the $whose" "25000 100000" "$(value "$where/cpu.max")"
        is "guaranteed: cpu.weight of the $whose" 10 "$(value "$where/cpu.weight")"
    done
    is "guaranteed: oom_score_adj" -997 "$(cat "/proc/$PID/oom_score_adj")"
}
limits_of_besteffort() {
    local where whose
    for where in "$CGROUP" "$1"; do
        if [ "$where" = "$1" ]; then whose=pod; else whose=container; fi
        is "besteffort: memory.max of the $whose" max "$(value "$where/memory.max")"
        is "besteffort: cpu.max of the $whose" "max 100000" "$(value "$where/cpu.max")"
        is "besteffort: cpu.weight of the $whose" 1 "$(value "$where/cpu.weight")"
    done
    is "besteffort: oom_score_adj" 1000 "$(cat "/proc/$PID/oom_score_adj")"
}
# 2 CPUs = 2048 shares; 100m + 10m + 10m requested by burstable pods that run = 122 shares (the Jobs' are gone or counted: see below).
limits_of_classes() {
    is "cpu.weight of $1" 79 "$(value "$1/cpu.weight")"
    is "cpu.weight of $3" 1 "$(value "$3/cpu.weight")"
    local weight
    weight=$(value "$2/cpu.weight")
    if [ "$weight" -ge 5 ] && [ "$weight" -le 10 ]; then ok "cpu.weight of $2 follows the pods ($weight)"; else fail "cpu.weight of $2" "found $weight"; fi
    is "controllers of the pods in $2" ok "$(value "$2/cgroup.subtree_control" | grep -qw cpu && value "$2/cgroup.subtree_control" | grep -qw memory && value "$2/cgroup.subtree_control" | grep -qw pids && echo ok)"
}

network() {
    section "network"
    look burstable
    is "the pod has an address of the bridge" mk8s0 "$(ip route get "$IP" | grep -o 'dev [^ ]*' | cut -d' ' -f2)"
    becomes "its server answers" 30 bash -c "[ \"\$(busybox wget -q -O- http://$IP:8080/)\" = 'from a pod' ]"
}

ends() {
    section "how containers end"
    cp /payload/tests/vm/manifests/jobs.yaml /etc/minik8s/
    becomes "job completes is Complete" 420 job_is completes Complete
    becomes "job memory is Failed" 420 job_is memory Failed
    # A slow machine may have started a sixth before the fifth failed.
    is "every container of job memory, five or more" 'OOMKilled 137' "$(pods_json memory- | jq -r 'if length < 5 then "\(length) pods" else (map(.status.containerStatuses[0].state.terminated | "\(.reason) \(.exitCode)") | unique | join(", ")) end')"
    becomes "job child is Failed" 420 job_is child Failed
    is "a child out of memory takes its container with it" 'OOMKilled 137' "$(pod_json child- | jq -r '.status.containerStatuses[0].state.terminated | "\(.reason) \(.exitCode)"')"
    becomes "job killed is Failed" 420 job_is killed Failed
    is "137 without the kernel's doing" 'Error 137' "$(pod_json killed- | jq -r '.status.containerStatuses[0].state.terminated | "\(.reason) \(.exitCode)"')"
    # The pair's first container is out of memory again and again; its second is killed by hand beside it.
    becomes "pair: one container was OOMKilled" 120 pair_died hungry
    is "pair: hungry" OOMKilled "$(pair_reason hungry)"
    local id
    id=$(pod_json pair | jq -r '.status.containerStatuses[] | select(.name == "calm") | .containerID')
    ctr -n minik8s tasks kill -s KILL "${id#containerd://}"
    becomes "pair: the other was killed by hand" 120 pair_died calm
    is "pair: calm" Error "$(pair_reason calm)"
}
pair_died() { pod_json pair | jq -e --arg name "$1" '.status.containerStatuses[] | select(.name == $name) | .lastState.terminated // .state.terminated' >/dev/null; }
pair_reason() { pod_json pair | jq -r --arg name "$1" '.status.containerStatuses[] | select(.name == $name) | (.lastState.terminated // .state.terminated).reason'; }

# The processes of the pods that stay.
pids() { for p in burstable guaranteed besteffort; do look $p && echo "${ID:0:8} $PID"; done | tr '\n' ' '; }

restarts() {
    section "restarts of the agent"
    local before after agent
    before=$(pids)
    agent=$(service_pid)
    holds "systemctl restart minik8s" systemctl restart minik8s
    becomes "the agent answers again" 60 minik8s get pods -A
    after=$(pids)
    is "the containers run on" "$before" "$after"
    [ "$agent" != "$(service_pid)" ] && ok "it is another agent" || fail "it is another agent" "$agent"
    kill -KILL "$(service_pid)"
    becomes "systemd starts it again after kill -9" 60 bash -c 'systemctl is-active minik8s && minik8s get pods -A'
    after=$(pids)
    is "the containers still run" "$before" "$after"
    look burstable
    kill -KILL "$PID"
    becomes "an adopted container's end is noticed and mended" 120 bash -c ". /payload/tests/vm/checks.sh; old=$PID; look burstable && [ -n \"\$PID\" ] && [ \"\$PID\" != \$old ]"
    look burstable
    is "the limits are there again" "67108864 50000 100000" "$(value "$CGROUP/memory.max") $(value "$CGROUP/cpu.max")"
}

watchdog() {
    section "watchdog"
    mkdir -p /run/systemd/system/minik8s.service.d
    printf '[Service]\nWatchdogSec=20\n' >/run/systemd/system/minik8s.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart minik8s
    local agent restarts
    agent=$(service_pid) restarts=$(systemctl show -P NRestarts minik8s)
    sleep 45
    is "a living agent is left alone for twice the watchdog's time" "$agent $restarts" "$(service_pid) $(systemctl show -P NRestarts minik8s)"
    kill -STOP "$agent"
    becomes "an agent that hangs is replaced" 120 bash -c "[ \"\$(systemctl show -P MainPID minik8s)\" != $agent ] && systemctl is-active minik8s && minik8s get pods -A"
    rm -r /run/systemd/system/minik8s.service.d && systemctl daemon-reload
}

nothing_left() {
    section "removal ($1)"
    rm -f /etc/minik8s/*.yaml
    becomes "all pods end" 180 no_pods
    becomes "no cgroup of a pod is left" 30 bash -c '. /payload/tests/vm/checks.sh; left=$(pod_cgroups); echo "$left"; [ -z "$left" ]'
    is "no slice or scope of a pod is left" "" "$(systemctl list-units --all --plain --no-legend 'kubepods*-pod*' 'kubepods-pod*' 'cri-containerd-*' | awk '{print $1}' | tr '\n' ' ')"
    is "no file of a pod's unit is left" "" "$(find /run/systemd /etc/systemd -name '*kubepods*pod[0-9a-f]*' -o -name 'cri-containerd-*' 2>/dev/null | head -n 3 | tr '\n' ' ')"
    is "no unit failed" "" "$(systemctl --failed --plain --no-legend | awk '{print $1}' | tr '\n' ' ')"
    is "no container is left" "" "$(ctr -n minik8s containers ls -q | tr '\n' ' ')"
    is "no namespace is left" 0 "$(grep -c nsfs /proc/self/mountinfo)"
}

with_systemd() {
    is "the cgroup driver" systemd "$(journalctl -u minik8s -o cat | grep -q cgroupfs || echo systemd)"
    pods systemd
    restarts
    watchdog
    nothing_left systemd
}

with_cgroupfs() {
    section "the other driver"
    printf '[Service]\nEnvironment=MINIK8S_CGROUP_DRIVER=cgroupfs\n' | SYSTEMD_EDITOR=tee systemctl edit --runtime --stdin minik8s &>/dev/null
    holds "systemctl restart minik8s with MINIK8S_CGROUP_DRIVER=cgroupfs" systemctl restart minik8s
    becomes "the agent answers" 60 minik8s get pods -A
    pods cgroupfs
    nothing_left cgroupfs
}

[ $# -gt 0 ] || set -- systemd cgroupfs
for driver in "$@"; do with_"$driver"; done
summary
