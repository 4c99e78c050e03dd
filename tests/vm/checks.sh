# What the scripts that run inside the virtual machine share: checks, pods, cgroups. Sourced, not run.
#
# A check prints one line, `ok   what` or `FAIL what: why`, and never stops the script; `summary` counts them and is the exit code.

CHECKS=0 FAILED=()
export MINIK8S_SOCKET=/run/minik8s/minik8s.sock

section() { printf '\n== %s\n' "$*"; }
ok() { CHECKS=$((CHECKS + 1)) && printf 'ok   %s\n' "$1"; }
fail() { CHECKS=$((CHECKS + 1)) && FAILED+=("$1") && printf 'FAIL %s: %s\n' "$1" "${2:-}"; }

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
            return 1
        fi
        sleep 1
    done
    ok "$what"
}

summary() {
    local name
    printf '\n== summary: %d checks, %d failed\n' $CHECKS ${#FAILED[@]}
    for name in "${FAILED[@]}"; do printf 'FAIL %s\n' "$name"; done
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
