# What the scripts that run inside the virtual machine share: checks, pods, cgroups. Sourced, not run.
#
# A check prints one line, `ok   what` or `FAIL what: why`, and never stops the script; `summary` shows all sections on one screen, counts the
# checks and is the exit code.

CHECKS=0 FAILED=()
# The sections so far, how many checks each has and how many failed; and all that a next stage must know of them.
SECTIONS=("before all") OF=(0) BAD=(0)
counted() { declare -p CHECKS FAILED SECTIONS OF BAD; }
export MINIK8S_SOCKET=/run/minik8s/minik8s.sock

section() {
    SECTIONS+=("$*") OF+=(0) BAD+=(0)
    printf '\n== %s\n' "$*"
}
count() { CHECKS=$((CHECKS + 1)) && OF[-1]=$((OF[-1] + 1)); }
ok() { count && printf 'ok   %s\n' "$1"; }
fail() {
    count
    BAD[-1]=$((BAD[-1] + 1)) && FAILED+=("${SECTIONS[-1]}: $1") && printf 'FAIL %s: %s\n' "$1" "${2:-}"
}

# is WHAT EXPECTED ACTUAL
is() { if [ "$2" = "$3" ]; then ok "$1 ($3)"; else fail "$1" "expected '$2', found '$3'"; fi; }
# holds WHAT COMMAND...: the command's success; its last words otherwise.
holds() {
    local what=$1 out
    shift
    if out=$("$@" 2>&1); then ok "$what"; else fail "$what" "$(tail -n 3 <<<"$out" | tr '\n' ' ')"; fi
}
# becomes WHAT SECONDS COMMAND...: the command succeeds within so many seconds.
becomes() {
    local what=$1 end=$((SECONDS + $2)) out=
    shift 2
    until out=$("$@" 2>&1); do
        if [ $SECONDS -ge "$end" ]; then
            fail "$what" "not in time: $(tail -n 3 <<<"$out" | tr '\n' ' ')"
            # What will be gone by the time that somebody wonders why.
            { minik8s get jobs,pods -A -o wide; minik8s events -A | tail -n 12; } 2>&1 | sed 's/^/     | /'
            return 1
        fi
        sleep 1
    done
    ok "$what"
}

summary() {
    local name i
    printf '\n== summary\n'
    for i in "${!SECTIONS[@]}"; do
        [ "${OF[i]}" = 0 ] || printf '%-4s %-52s %3d of %3d\n' "$([ "${BAD[i]}" = 0 ] && echo ok || echo FAIL)" "${SECTIONS[i]}" $((OF[i] - BAD[i])) "${OF[i]}"
    done
    for name in "${FAILED[@]}"; do printf 'FAIL %s\n' "$name"; done
    printf '%d checks, %d failed\n' $CHECKS ${#FAILED[@]}
    [ ${#FAILED[@]} = 0 ]
}

# --- pods ----------------------------------------------------------------------------------------------------------------------

# The first pod whose name is or starts so; all of them as JSON.
pod_json() { minik8s get pods -A -o json | jq -e --arg name "$1" '[.items[] | select(.metadata.name | startswith($name))][0] // empty'; }
pods_json() { minik8s get pods -A -o json | jq --arg name "$1" '[.items[] | select(.metadata.name | startswith($name))]'; }
pod_runs() { [ "$(pod_json "$1" | jq -r '.status.phase')" = Running ]; }
no_pods() {
    local left
    left=$(minik8s get pods -A -o name) && [ -z "$left" ] || { echo "left: $left"; return 1; }
}
job_is() { minik8s get jobs -o json | jq -e --arg name "$1" --arg type "$2" '.items[] | select(.metadata.name == $name) | .status.conditions // [] | any(.type == $type and .status == "True")' >/dev/null; }

# look POD: sets UID_ ID PID IP and CGROUP (of its first container, below /sys/fs/cgroup).
look() {
    local json
    json=$(pod_json "$1") || return 1
    UID_=$(jq -r .metadata.uid <<<"$json")
    IP=$(jq -r '.status.podIP // ""' <<<"$json")
    ID=$(jq -r '.status.containerStatuses[0].containerID' <<<"$json")
    ID=${ID#containerd://}
    PID=$(ctr -n minik8s tasks ls | awk -v id="$ID" '$1 == id {print $2}')
    CGROUP=$(sed -n 's/^0:://p' "/proc/$PID/cgroup")
}
# value PATH: what a cgroup file holds.
value() { cat "/sys/fs/cgroup/$1" 2>&1; }
# All cgroups of pods and containers that are there.
pod_cgroups() { find /sys/fs/cgroup -type d \( -name '*pod????????[-_]*' -o -name 'cri-containerd-*' \); }

# limits_of_burstable POD'S-CGROUP, after look: container and pod of burstable.yaml have requests 100m, limits 500m and 64Mi.
limits_of_burstable() {
    local where whose
    for where in "$CGROUP" "$1"; do
        if [ "$where" = "$1" ]; then whose=pod; else whose=container; fi
        is "burstable: memory.max of the $whose" 67108864 "$(value "$where/memory.max")"
        is "burstable: cpu.max of the $whose" "50000 100000" "$(value "$where/cpu.max")"
        is "burstable: cpu.weight of the $whose" 4 "$(value "$where/cpu.weight")"
    done
    is "burstable: memory.oom.group of the container" 1 "$(value "$CGROUP/memory.oom.group")"
    is "burstable: memory.oom.group of the pod" 0 "$(value "$1/memory.oom.group")"
    local capacity score
    capacity=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) * 1024))
    score=$((1000 - 1000 * 33554432 / capacity))
    is "burstable: oom_score_adj" $score "$(cat "/proc/$PID/oom_score_adj")"
}
