# Inside the virtual machine: what an installed service has to bear. Sourced by package.sh.
#
# Each section breaks one thing and asks the same: is it said in the journal and by doctor, does what runs go on, and does all come back by itself
# when the cause is gone.

# begin WHAT: remembers what runs, and where the journal is.
begin() {
    section "$1"
    RUNS=$(steady_pid)
    CURSOR=$(journalctl -n 1 --show-cursor -o cat | sed -n 's/^-- cursor: //p')
}
# journal PATTERN: the service has said so since `begin`. systemd's own words about it count.
journal() { journalctl --after-cursor "$CURSOR" -u minik8s -o cat --no-pager | grep -q -- "$1"; }
doctor_says() { minik8s doctor "${@:2}" 2>&1 | grep -q -- "$1" || { minik8s doctor "${@:2}"; return 1; }; }
unharmed() { is "what ran runs on" "${RUNS:-nothing did}" "$(steady_pid)"; }
answers() { becomes "the agent answers" 120 minik8s get pods; }
# A Job that ends once things are well again.
probe_ends() {
    [ -e /etc/minik8s/probe.yaml ] || cp /payload/tests/vm/manifests/package/probe.yaml /etc/minik8s/
    becomes "it comes back by itself: a Job runs" 300 finished probe
    rm -f /etc/minik8s/probe.yaml
    becomes "and goes with its manifest" 120 bash -c '! minik8s get job probe'
}

no_runc() {
    begin "bad input: runc is missing"
    local runc
    runc=$(command -v runc)
    mv "$runc" "$runc.away"
    cp /payload/tests/vm/manifests/package/probe.yaml /etc/minik8s/
    becomes "an event names it" 120 bash -c 'minik8s events | grep -q "runc.*not found"'
    holds "doctor does, and says what to do" doctor_says "apt-get install runc"
    unharmed
    mv "$runc.away" "$runc"
    probe_ends
}

no_containerd() {
    begin "bad input: containerd is stopped"
    systemctl stop containerd
    holds "doctor says so" doctor_says "does not answer at /run/containerd/containerd.sock"
    cp /payload/tests/vm/manifests/package/probe.yaml /etc/minik8s/
    becomes "the Node is not ready" 120 bash -c 'minik8s get nodes | grep -w NotReady'
    becomes "the pod that waits says so" 120 bash -c 'minik8s get pods -A -o json | grep -q "does not answer"'
    systemctl start containerd
    becomes "the Node is ready again" 120 bash -c 'minik8s get nodes | grep -w Ready'
    probe_ends
    unharmed
}

# What a daemon is told by habit to read its settings again.
hung_up() {
    begin "bad input: SIGHUP"
    local agent
    agent=$(agent)
    kill -HUP "$agent"
    becomes "it is there again" 60 bash -c "[ \"\$(systemctl show -P MainPID minik8s)\" != $agent ] && minik8s get pods"
    unharmed
}

dead_manifests() {
    begin "bad input: the manifests' file system hangs"
    # While nobody looks: a directory without manifests is a wish, too.
    systemctl stop minik8s
    mkdir -p /srv/manifests && mv /etc/minik8s/* /srv/manifests/
    holds "the manifests are on a network's file system, say" bindfs /srv/manifests /etc/minik8s
    systemctl start minik8s && answers
    local server
    server=$(pidof bindfs)
    kill -STOP "$server"
    becomes "the journal says so" 120 journal "the manifests directory /etc/minik8s has not answered"
    holds "doctor says so" doctor_says "does not answer within"
    holds "the agent answers" minik8s get pods
    holds "restart in the middle of it" timeout 100 systemctl restart minik8s
    answers
    becomes "the new agent says so, too" 120 bash -c "[ \"\$(journalctl --after-cursor '$CURSOR' -u minik8s -o cat --no-pager | grep -c 'has not answered')\" -ge 2 ]"
    unharmed
    kill -CONT "$server"
    becomes "the journal says that it answers again" 60 journal "answers again"
    cp /payload/tests/vm/manifests/package/probe.yaml /srv/manifests/
    becomes "it comes back by itself: a Job runs" 300 finished probe
    rm /srv/manifests/probe.yaml
    becomes "and goes with its manifest" 120 bash -c '! minik8s get job probe'
    systemctl stop minik8s
    umount /etc/minik8s && mv /srv/manifests/* /etc/minik8s/
    systemctl start minik8s && answers
    unharmed
}

broken_state() {
    begin "bad input: a broken state file"
    local state=/var/lib/minik8s/state.redb
    systemctl stop minik8s
    mv $state /root/state.redb && head -c 4096 /dev/urandom >$state
    systemctl start --no-block minik8s
    becomes "the journal names the file and what to do" 60 journal "state.redb.*move it away"
    systemctl stop minik8s
    holds "doctor does" doctor_says "FAILURE *state .*state.redb"
    systemctl start --no-block minik8s
    becomes "systemd tries again and again" 60 bash -c '[ "$(systemctl show -P NRestarts minik8s)" -ge 2 ]'
    mv /root/state.redb $state
    becomes "it comes back by itself" 60 minik8s get pods
    unharmed
}

wrong_clock() {
    begin "bad input: the clock is ten years off"
    local agent uptime now
    agent=$(agent) now=$(date +%s) uptime=$(cut -d. -f1 /proc/uptime)
    # Eleven: doctor measures from the program's own date.
    date -s '+11 years' >/dev/null
    becomes "the journal says so" 60 journal "the clock of this host was set forward"
    holds "doctor says so" doctor_says "more than ten years after"
    holds "the agent answers" minik8s get pods
    probe_ends
    date -s "@$((now + $(cut -d. -f1 /proc/uptime) - uptime))" >/dev/null
    holds "set right, doctor finds no fault" minik8s doctor
    is "it is the same agent" "$agent" "$(agent)"
    probe_ends
    unharmed
}

two_agents() {
    begin "bad input: a second agent"
    local out
    if out=$(timeout 60 minik8s agent 2>&1); then fail "it is refused" "it was not"; else is "it is refused" "in use by another minik8s agent" "$(grep -o 'in use by another minik8s agent' <<<"$out" | head -n 1)"; fi
    holds "the first goes on" minik8s get pods
    unharmed
}

wrong_settings() {
    begin "bad input: a wrong setting, and one that is none"
    printf 'MINIK8S_MAX_PODS=nonsense\nMINIK8S_MAXPODS=7\n' >>/etc/default/minik8s
    systemctl restart minik8s
    becomes "a wrong setting is named in the journal" 60 journal "invalid value 'nonsense'"
    holds "doctor names it" doctor_says "/etc/default/minik8s: invalid value 'nonsense'"
    sed -i '/nonsense/d' /etc/default/minik8s
    becomes "it comes back by itself when it is right" 60 minik8s get pods
    becomes "a setting that is none is named in the journal" 60 journal "did you mean MINIK8S_MAX_PODS?"
    holds "doctor names it" doctor_says "MINIK8S_MAXPODS is no setting"
    sed -i '$d' /etc/default/minik8s
    unharmed
}

# The files of the new version are there, the agent is the old one's, dpkg was interrupted.
half_upgrade() {
    begin "bad input: a half-finished upgrade"
    holds "dpkg unpacks the new version, and is interrupted" dpkg --unpack "$1"
    is "the service runs" active "$(systemctl is-active minik8s)"
    holds "the agent answers" minik8s get pods
    kill -KILL "$(agent)"
    becomes "the new program takes over whatever became of the old" 60 minik8s get pods
    unharmed
    holds "dpkg finishes" dpkg --configure -a
    answers
    unharmed
}

stuck() {
    begin "the watchdog"
    mkdir -p /run/systemd/system/minik8s.service.d
    printf '[Service]\nWatchdogSec=20\n' >/run/systemd/system/minik8s.service.d/watchdog.conf
    systemctl daemon-reload && systemctl restart minik8s && answers
    local agent restarts
    agent=$(agent) restarts=$(systemctl show -P NRestarts minik8s)
    sleep 45
    is "a living agent is left alone for twice the watchdog's time" "$agent $restarts" "$(agent) $(systemctl show -P NRestarts minik8s)"
    kill -STOP "$agent"
    becomes "the journal says that it hangs" 60 journal "Watchdog timeout"
    becomes "it is replaced" 120 bash -c "[ \"\$(systemctl show -P MainPID minik8s)\" != $agent ] && systemctl is-active minik8s && minik8s get pods"
    rm -r /run/systemd/system/minik8s.service.d && systemctl daemon-reload
    unharmed
}

bad_input() {
    wrong_settings
    two_agents
    hung_up
    no_runc
    no_containerd
    dead_manifests
    broken_state
    wrong_clock
    stuck
}
