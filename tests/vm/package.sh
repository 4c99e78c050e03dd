#!/usr/bin/env bash
# Inside the virtual machine: the life of the packages, Debian's above all. run.sh runs it, again after each boot (exit code 75) and power cut (76) it asks for.
#
#   1  install with apt; run; limits; bad input; upgrade under load; refuse a downgrade; stop; drain; reboot while a Job runs
#   2  after the reboot; then the power goes while a Job runs: qemu itself is killed
#   3  after the power cut; remove; install again; purge; the RPM
# A section alone, in a fresh machine: run.sh package.sh purge_alone (or rpm_alone)
set -u
. /payload/tests/vm/checks.sh
. /payload/tests/vm/bad_input.sh
BOOTED=/var/lib/vm-package
DEBS=/payload/debs
ARCH=$(dpkg --print-architecture)
OLD=$DEBS/minik8s_0.1.0-1_$ARCH.deb NEW=$DEBS/minik8s_0.1.1-1_$ARCH.deb
AGAIN=75 POWER_CUT=76

mkdir -p $BOOTED /data
STAGE=$(cat $BOOTED/stage 2>/dev/null || echo 1)
[ "$STAGE" = 1 ] || . $BOOTED/checks

# The checks so far, for the next stage.
keep() {
    echo $((STAGE + 1)) >$BOOTED/stage
    { counted && echo "$1"; } >$BOOTED/checks
    sync
}
apt() { DEBIAN_FRONTEND=noninteractive apt-get -o APT::Sandbox::User=root -y -qq "$@"; }
lines() { grep -c "^$1" "$2" 2>/dev/null; }
finished() { minik8s get job "$1" -o json | jq -e '.status.conditions // [] | any(.type == "Complete" and .status == "True")' >/dev/null; }
steady_pid() { look steady && echo "$PID"; }
agent() { systemctl show -P MainPID minik8s; }

# The minutes since 1970 for which a CronJob has a Job: the last part of their names.
runs_of() { minik8s get jobs -o json | jq -r --arg owner "$1" '.items[] | select(.metadata.ownerReferences[0].name? == $owner) | .metadata.name | split("-") | last' | sort -n; }
# The Jobs whose command was run more than once, but for those of one minute.
run_twice() { grep -v -- "-${1:-none}\$" /data/cron | sort | uniq -d | tr '\n' ' '; }
ran() { runs_of "$1" | grep -qx "$2"; }
# missed DOWN UP: what became of the runs between these (seconds since 1970), when the machine was down.
missed() {
    local first=$(($1 / 60 + 1)) last=$(($2 / 60)) minute next
    printf '     down from %s to %s UTC\n' "$(date -u -d "@$1" +%T)" "$(date -u -d "@$2" +%T)"
    [ "$last" -ge "$first" ] || { fail "the machine was down over the turn of a minute" "it was not: the test has shown nothing"; return; }
    becomes "patient: the last missed run is caught up" 120 ran patient "$last"
    for ((minute = first; minute < last; minute++)); do is "patient: a missed run before it is not" "" "$(runs_of patient | grep -x "$minute")"; done
    for ((minute = first; minute <= last; minute++)); do
        [ $(($2 - minute * 60)) -le 12 ] || is "prompt: a missed run came too late" "" "$(runs_of prompt | grep -x "$minute")"
    done
    next=$(($(date +%s) / 60 + 1))
    becomes "prompt: the next one comes in time" 150 ran prompt $next
    holds "runs are on record" test -s /data/cron
    is "none was made twice" "" "$(run_twice)"
}

# The first index that the Job has counted.
ended_index() { minik8s get job long -o json | jq -r '.status.completedIndexes // ""' | grep -o '^[0-9][0-9]*'; }

# What README tells a newcomer to do after the installation.
newcomer() {
    section "a newcomer's first manifests"
    # There is no registry in here: the image is there already under the name that the example has.
    ctr -n minik8s images tag docker.io/library/busybox:latest docker.io/library/busybox:1.36 >/dev/null
    ctr -n minik8s images label docker.io/library/busybox:1.36 io.cri-containerd.pinned=pinned >/dev/null
    cp /etc/minik8s/example.yaml.example /etc/minik8s/example.yaml
    becomes "the example's DaemonSet runs" 300 pod_runs hello
    minik8s get daemonsets,cronjobs,pods | sed 's/^/     /'
    becomes "and says hello" 60 bash -c 'minik8s logs "$(minik8s get pods -o name | grep hello)" | grep "hello from hello-"'
    rm /etc/minik8s/example.yaml
    becomes "and goes with its manifest" 120 bash -c '! minik8s get pods -o name | grep hello'
}

limits() {
    section "limits (cgroup v2, systemd driver)"
    is "cgroups are v2" cgroup2fs "$(stat -fc %T /sys/fs/cgroup)"
    cp /payload/tests/vm/manifests/burstable.yaml /payload/tests/vm/manifests/package/oom.yaml /etc/minik8s/
    becomes "pod burstable runs" 300 pod_runs burstable
    look burstable
    local slice=kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_//-/_}.slice
    is "its place" "/$slice/cri-containerd-$ID.scope" "$CGROUP"
    limits_of_burstable "$slice"
    is "systemd knows the slice's limits" "67108864 500ms" "$(systemctl show -P MemoryMax "${slice##*/}") $(systemctl show -P CPUQuotaPerSecUSec "${slice##*/}")"
    becomes "a Job that wants too much memory is Failed" 300 job_is hungry Failed
    is "by the kernel" 'OOMKilled 137' "$(pod_json hungry- | jq -r '.status.containerStatuses[0].state.terminated | "\(.reason) \(.exitCode)"')"
    rm /etc/minik8s/{burstable,oom}.yaml
    becomes "they end" 120 bash -c '! minik8s get pods -o name | grep -e burstable -e hungry'
}

# The same version again afterwards, so that an upgrade follows.
half_upgrade_and_back() {
    half_upgrade "$NEW"
    MINIK8S_ALLOW_DOWNGRADE=yes holds "a downgrade that is allowed" apt --allow-downgrades install "$OLD"
    answers
    unharmed
}

drained() {
    section "drain"
    local node begun
    node=$(minik8s get nodes -o name) node=${node#*/} begun=$(lines asked /data/steady)
    holds "drain ends what is not a DaemonSet's" minik8s drain "$node" --ignore-daemonsets --force --timeout 120s
    is "the Pod is gone, the DaemonSet's runs" "steady" "$(minik8s get pods -o name | grep -o -e steady -e vital | tr '\n' ' ' | sed 's/ $//')"
    is "the DaemonSet's was not asked to go" "$begun" "$(lines asked /data/steady)"
    holds "describe node says so" bash -c 'minik8s describe nodes | grep -q "Unschedulable: *true"'
    systemctl restart minik8s && answers
    is "it is kept over a restart" true "$(minik8s get nodes -o json | jq '.items[0].spec.unschedulable')"
    holds "uncordon" minik8s uncordon "$node"
    becomes "the Pod is back" 120 pod_runs vital
}

stage_1() {
    section "install"
    mkdir -p /var/log/journal && systemctl restart systemd-journald
    holds "apt installs the package" apt install "$OLD"
    is "the service is active and enabled" "active enabled" "$(systemctl is-active minik8s) $(systemctl is-enabled minik8s)"
    is "the group" minik8s "$(getent group minik8s | cut -d: -f1)"
    is "modes of manifests, state, socket" "755 root, 700 root, 660 minik8s" "$(stat -c '%a %G' /etc/minik8s), $(stat -c '%a %G' /var/lib/minik8s), $(stat -c '%a %G' /run/minik8s/minik8s.sock)"
    is "the example is not run" "" "$(minik8s get daemonsets -A -o name; minik8s get cronjobs -A -o name)"
    holds "the unit has no mistake" bash -c 'out=$(systemd-analyze verify --man=no minik8s.service 2>&1); echo "$out"; ! grep -q minik8s.service: <<<"$out"'
    printf '     %s\n' "$(systemd-analyze security --no-pager minik8s.service | tail -n 1)"
    is "the agent's mount namespace is the host's" "$(readlink /proc/1/ns/mnt)" "$(readlink "/proc/$(agent)/ns/mnt")"
    holds "doctor finds no failure" minik8s doctor

    section "it runs"
    bash /payload/tests/lab/images.sh /run/containerd/containerd.sock minik8s >/dev/null
    cp /payload/tests/vm/manifests/package/work.yaml /etc/minik8s/
    for name in steady vital; do becomes "pod $name runs" 300 pod_runs $name; done
    becomes "Job once is Complete" 300 finished once
    look steady
    # shellcheck disable=SC2046
    is "systemd stops none of its slices and scopes when the host goes down" "" "$(systemctl show -P Conflicts $(tr / '\n' <<<"$CGROUP" | tail -n +2) | grep .)"

    newcomer
    limits
    bad_input
    half_upgrade_and_back

    section "upgrade under load"
    cp /payload/tests/vm/manifests/package/long.yaml /etc/minik8s/
    becomes "a Job is under way" 120 grep -q begin /data/long
    local before after old
    before=$(steady_pid) old=$(agent)
    holds "apt upgrades the package" apt install "$NEW"
    becomes "the agent answers" 60 minik8s get pods
    [ "$old" != "$(agent)" ] && ok "it is another agent" || fail "it is another agent" "$old"
    after=$(steady_pid)
    is "containers lived on" "$before" "$after"
    if out=$(apt --allow-downgrades install "$OLD" 2>&1); then fail "a downgrade is refused" "it was not"; else is "a downgrade is refused" "minik8s: not going back from 0.1.1-1 to 0.1.0-1: the" "$(grep -o 'minik8s: not going back.*: the' <<<"$out")"; fi
    is "nothing was changed by it" "0.1.1-1 active" "$(dpkg-query -W -f '${Version}' minik8s) $(systemctl is-active minik8s)"
    holds "dpkg finds nothing half done" dpkg --audit
    becomes "the Job under way is Complete" 300 finished long
    is "each index ended once" 6 "$(grep end /data/long | sort -u | wc -l)"
    is "none twice" 6 "$(lines end /data/long)"

    section "systemctl stop leaves containers"
    before=$(steady_pid)
    systemctl stop minik8s
    is "the container runs without an agent" "inactive yes" "$(systemctl is-active minik8s) $(kill -0 "$before" && echo yes)"
    systemctl start minik8s
    becomes "the agent answers again" 60 minik8s get pods
    is "nobody was asked to go" 0 "$(lines asked /data/steady)"

    drained

    section "reboot"
    rm -f /etc/minik8s/long.yaml && becomes "the old Job is gone" 60 bash -c '! minik8s get job long'
    rm -f /data/long
    cp /payload/tests/vm/manifests/package/cron.yaml /etc/minik8s/
    becomes "the CronJobs are there" 60 minik8s get cronjob patient prompt
    # Down over the turn of a minute, and no run is due while it goes down.
    until [ $((10#$(date +%S))) -le 10 ]; do sleep 1; done
    cp /payload/tests/vm/manifests/package/long.yaml /etc/minik8s/
    becomes "a Job is under way" 120 grep -q begin /data/long
    date +%s >/data/down
    keep "UID_BEFORE=$(minik8s get job long -o json | jq -r .metadata.uid)"
    setsid bash -c 'sleep 2; systemctl reboot' >/dev/null 2>&1 </dev/null &
    exit $AGAIN
}

stage_2() {
    section "after the reboot"
    becomes "the agent answers" 180 minik8s get pods
    is "the pod was asked to end, and let finish" "start asked done" "$(head -n 3 /data/steady | tr '\n' ' ' | sed 's/ $//')"
    is "the critical one ended after it" done "$(cat /data/vital-saw 2>&1)"
    is "it was said why, for each group" 2 "$(journalctl -u minik8s -b -1 -o cat | grep -c 'the host goes down: ending pods')"
    for name in steady vital; do becomes "pod $name runs again" 300 pod_runs $name; done
    is "no restart is counted" 0 "$(pod_json steady | jq '[.status.containerStatuses[].restartCount] | add')"
    is "the finished Job did not run again" 1 "$(lines run /data/once)"
    becomes "the Job that was under way is Complete, without a failure counted (backoffLimit 0)" 400 finished long
    is "it is the same Job" "$UID_BEFORE" "$(minik8s get job long -o json | jq -r .metadata.uid)"
    is "each index ended once" "6 6" "$(grep end /data/long | sort -u | wc -l) $(lines end /data/long)"

    section "CronJobs over the reboot"
    missed "$(cat /data/down)" "$(date -d "$(systemctl show -P ActiveEnterTimestamp minik8s)" +%s)"

    section "power cut"
    rm -f /etc/minik8s/long.yaml && becomes "the old Job is gone" 60 bash -c '! minik8s get job long'
    rm -f /data/long
    cp /payload/tests/vm/manifests/package/long.yaml /etc/minik8s/
    becomes "the Job is there" 120 minik8s get job long
    keep "UID_BEFORE=$(minik8s get job long -o json | jq -r .metadata.uid)"
    # From here on only the agent sees to it that what it knows is on the disk.
    becomes "one index has ended and is counted, others are under way" 200 ended_index
    # No sync, no unmount, no signal: qemu is killed, and what is not on the disk is lost.
    echo "cut in minute $(($(date +%s) / 60)), ended: $(ended_index)"
    exit $POWER_CUT
}

stage_3() {
    section "after the power cut"
    becomes "the agent answers" 180 minik8s get pods
    becomes "the Job is Complete, without a failure counted" 400 finished long
    is "it is the same Job" "$UID_BEFORE" "$(minik8s get job long -o json | jq -r .metadata.uid)"
    is "every index ended" 6 "$(grep end /data/long | sort -u | wc -l)"
    [[ $LAST_WORDS =~ ^"cut in minute "([0-9]+)", ended: "([0-9]+)$ ]] && ok "an index was counted before the cut" || fail "an index was counted before the cut" "$LAST_WORDS"
    is "it did not run again" "1 1" "$(lines "begin ${BASH_REMATCH[2]:-?}" /data/long) $(lines "end ${BASH_REMATCH[2]:-?}" /data/long)"
    is "the finished Job did not run again" 1 "$(lines run /data/once)"
    becomes "the DaemonSet's pod runs" 300 pod_runs steady
    # What the cut has interrupted is run again.
    is "no run of a CronJob was made twice" "" "$(run_twice "${BASH_REMATCH[1]:-}")"
    rm -f /etc/minik8s/cron.yaml

    section "remove"
    local pid
    pid=$(steady_pid)
    holds "apt removes the package" apt remove minik8s
    is "containers run on" yes "$([ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo yes)"
    is "state and manifests stay" "yes yes" "$([ -e /var/lib/minik8s/state.redb ] && echo yes) $([ -e /etc/minik8s/work.yaml ] && echo yes)"
    holds "apt installs it again" apt install "$NEW"
    becomes "the agent answers" 60 minik8s get pods
    is "it took up what ran" "$pid" "$(steady_pid)"

    section "purge"
    mkdir -p /var/lib/minik8s/claims/default/mine && touch /var/lib/minik8s/claims/default/mine/file
    holds "apt purges the package" apt purge minik8s
    is "no container is left" "" "$(ctr namespaces ls -q | grep minik8s)"
    is "the container's process is gone" "" "$(kill -0 "$pid" 2>/dev/null && echo "$pid")"
    is "no mount is left" 0 "$(grep -c minik8s /proc/self/mountinfo)"
    is "no cgroup is left" "" "$(pod_cgroups)"
    is "no drop-in is left" "" "$(ls -d /run/systemd/system/kubepods*.d 2>/dev/null)"
    is "no bridge and no rule is left" "" "$(ip -o link show mk8s0 2>/dev/null; iptables -t nat -S | grep -i minik8s)"
    is "the state is gone, the claim stays, and what pods had mounted" "claims file 1" "$(ls /var/lib/minik8s) $(ls /var/lib/minik8s/claims/default/mine) $(lines run /data/once)"
    is "the manifests are the user's" yes "$([ -e /etc/minik8s/work.yaml ] && echo yes)"
    is "no unit failed" "" "$(systemctl --failed --plain --no-legend | awk '{print $1}' | tr '\n' ' ')"

    purge_alone
    holds "its disk is taken away" umount /var/lib/minik8s
    groupdel minik8s
    rpm_alone
    summary
}

# As after `apt purge --autoremove`: nobody is left to be asked. The state is on a disk of its own.
purge_alone() {
    section "purge without containerd"
    mkdir -p /var/lib/minik8s/claims/default/mine /srv/state
    touch /var/lib/minik8s/claims/default/mine/file && mv /var/lib/minik8s/claims /srv/state/ && mount --bind /srv/state /var/lib/minik8s
    holds "apt installs it" apt install "$NEW"
    cp /payload/tests/vm/manifests/package/work.yaml /etc/minik8s/
    bash /payload/tests/lab/images.sh /run/containerd/containerd.sock minik8s >/dev/null
    becomes "pod steady runs" 300 pod_runs steady
    local pid
    pid=$(steady_pid)
    systemctl stop containerd
    holds "apt purges the package" apt purge minik8s
    is "the container's process and its shim are gone" "" "$(kill -0 "$pid" 2>/dev/null && echo "$pid"; pgrep -f 'containerd-shim.* -namespace minik8s ')"
    is "no mount is left but the state's own" 1 "$(grep -c minik8s /proc/self/mountinfo)"
    is "no cgroup is left" "" "$(pod_cgroups)"
    is "the state is gone, the claim stays" claims "$(ls /srv/state)"
    systemctl start containerd
    holds "containerd starts again" ctr version
    is "no task is left" "" "$(ctr -n minik8s tasks ls -q)"
}

# As on a distribution of RPMs, but for what it would bring along (--nodeps): its files, its scripts and what they do to the service.
rpm_alone() {
    section "the RPM"
    local rpms=/payload/rpms pid old
    holds "rpm installs it" rpm -i --nodeps $rpms/minik8s-0.1.0-1.*.rpm
    is "the group" minik8s "$(getent group minik8s | cut -d: -f1)"
    is "presets decide whether the service is enabled: here they do" "enabled inactive" "$(systemctl is-enabled minik8s) $(systemctl is-active minik8s)"
    holds "every file is as it was packed" rpm -V --nodeps minik8s
    holds "the service starts" systemctl enable --now minik8s
    cp /payload/tests/vm/manifests/package/work.yaml /etc/minik8s/
    bash /payload/tests/lab/images.sh /run/containerd/containerd.sock minik8s >/dev/null
    becomes "pod steady runs" 300 pod_runs steady
    pid=$(steady_pid) old=$(agent)
    echo "# mine" >>/etc/default/minik8s
    holds "rpm upgrades it" rpm -U --nodeps $rpms/minik8s-0.1.1-1.*.rpm
    becomes "the agent answers" 60 minik8s get pods
    is "to the newer version" 0.1.1 "$(rpm -q --qf '%{VERSION}' minik8s)"
    [ "$old" != "$(agent)" ] && ok "it is another agent" || fail "it is another agent" "$old"
    is "containers lived on" "$pid" "$(steady_pid)"
    is "the settings are the user's" "# mine" "$(tail -n 1 /etc/default/minik8s)"
    holds "rpm removes it" rpm -e minik8s
    is "nobody serves, nothing is enabled" "inactive" "$(systemctl is-active minik8s)$(find /etc/systemd/system -name 'minik8s*')"
    is "containers run on" yes "$([ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo yes)"
    is "state, settings and manifests stay" "yes yes yes" "$([ -e /var/lib/minik8s/state.redb ] && echo yes) $([ -e /etc/default/minik8s.rpmsave ] && echo yes) $([ -e /etc/minik8s/work.yaml ] && echo yes)"
}

if [ $# -gt 0 ]; then
    "$1"
    summary
else
    stage_"$STAGE"
fi
