#!/usr/bin/env bash
# The demo: real containers from the three manifests of examples/, unchanged. `make run` calls it; see `make help`.
#
# Ends with 0 only if the DaemonSet ran, the pi Job completed with 10,000 digits of π, the hello CronJob ran once, and nothing is left.
#   KEEP=1                 leave everything running (make stop ends it)
#   CONTAINERD=/path.sock  use this containerd instead of a private one
#   BINARY=FILE            this binary instead of a release build
#   AGENT_UNDER="COMMAND"  the agent as an argument of this, say an emulator
. "$(dirname "$0")/lab.sh"

need_root
need_cargo
need_runtime_packages

if find_lab; then
    say "cleaning up after an earlier run ($LAB)"
    destroy_lab
fi

BIN=${BINARY:-$TARGET/release/minik8s}
if [ -z "${BINARY:-}" ]; then
    say "building (release)"
    (cd "$ROOT" && cargo build --release)
fi

new_lab
SOCKET=$LAB/minik8s.sock

# What is worth seeing when something went wrong; then everything is taken down.
on_exit() {
    local code=$?
    trap - EXIT INT TERM
    if [ "$code" != 0 ]; then
        printf '\033[31m%s\033[0m\n' "make run failed (exit $code); the last lines of the logs:" >&2
        for log in agent containerd; do
            [ -f "$LAB/$log.log" ] && { echo "--- $log" && tail -n 40 "$LAB/$log.log"; } >&2
        done
        { echo "--- events" && k events -A; } >&2 2>&1 || true
        destroy_lab
        printf '\033[31mmake run failed:\033[0m %s\n' "${REASON:-exit code $code}" >&2
    fi
    exit "$code"
}
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

k() { MINIK8S_SOCKET=$SOCKET "$BIN" "$@"; }

say "starting containerd ${CONTAINERD:+at $CONTAINERD }($LAB)"
start_containerd
say "making the demo images from Debian packages"
"$ROOT/tests/lab/images.sh" "$ADDRESS" "$NAMESPACE"

say "starting the agent on examples/"
mkdir -p "$LAB/manifests" "$LAB/logs/pods" "$LAB/logs/containers"
cp "$ROOT"/examples/daemonset-fluentd-elasticsearch.yaml "$ROOT"/examples/job-pi.yaml "$ROOT"/examples/cronjob-hello.yaml "$LAB/manifests/"
FLAGS=(--manifests "$LAB/manifests" --state-dir "$LAB/state" --run-dir "$LAB/run" --pod-logs "$LAB/logs/pods"
    --container-logs "$LAB/logs/containers" --socket "$SOCKET" --containerd "$ADDRESS" --containerd-namespace "$NAMESPACE"
    --node-name demo --bridge-name "$DEMO_BRIDGE" --cgroup-root "$DEMO_CGROUP")
"$BIN" doctor "${FLAGS[@]}" || note "going on all the same: the demo shows what works"
# shellcheck disable=SC2086
${AGENT_UNDER:-} "$BIN" agent "${FLAGS[@]}" >"$LAB/agent.log" 2>&1 &
record_process agent $!

agent_answers() {
    [ -n "$(running agent)" ] || die "the agent ended"
    k get pods -A >/dev/null 2>&1
}
wait_for 30 "the agent" agent_answers || die "the agent does not answer on $SOCKET"

daemonset_ready() {
    remember_uids
    k get daemonsets -n kube-system 2>/dev/null | awk '$1 == "fluentd-elasticsearch" && $2 > 0 && $2 == $4 {ok = 1} END {exit !ok}'
}
job_complete() { remember_uids && k get jobs 2>/dev/null | awk '$1 == "pi" && /1\/1/ {ok = 1} END {exit !ok}'; }
cronjob_ran() { remember_uids && k get jobs 2>/dev/null | awk '$1 ~ /^hello-[0-9]+$/ && /1\/1/ {ok = 1} END {exit !ok}'; }

say "waiting for the DaemonSet to run"
wait_for 60 "daemonset/fluentd-elasticsearch" daemonset_ready || die "the DaemonSet is not ready"
say "waiting for job/pi: 10,000 digits of π"
wait_for 1800 "job/pi" job_complete || die "the Job did not complete"
say "waiting for cronjob/hello: it runs at the full minute"
wait_for 150 "cronjob/hello" cronjob_ran || die "the CronJob has not run"

# The first pod of a namespace whose name starts so.
pod() { k get pods -n "$1" -o name | grep -m1 "^pod/$2"; }

# bc breaks its lines with a backslash. The digits are compared at both ends: the first 50 and twenty before the last ten, which
# bc's own rounding leaves uncertain.
digits=$(k logs "$(pod default pi-)" | tr -d '\\\n\r ')
[ "${#digits}" = 10002 ] || die "the log of job/pi has ${#digits} characters, not 10002 (3. and 10,000 digits)"
case $digits in 3.14159265358979323846264338327950288419716939937510*) ;; *) die "job/pi logged something else than π: ${digits:0:60}" ;; esac
[ "${digits:9972:20}" = 95968815920560010165 ] || die "job/pi is wrong towards its end: ${digits:9972:20}"
k logs "$(pod default hello-)" | grep -q 'Hello from the Kubernetes cluster' || die "cronjob/hello did not say hello"

say "what runs"
k get daemonsets,cronjobs,jobs,pods -A
say "job/pi: ${digits:0:52}… (10,000 digits, checked)"
say "cronjob/hello:"
k logs "$(pod default hello-)" | sed 's/^/    /'
say "daemonset/fluentd-elasticsearch (a stand-in that watches /var/log):"
k logs -n kube-system "$(pod kube-system fluentd-elasticsearch-)" | head -n 5 | sed 's/^/    /'

if [ -n "${KEEP:-}" ]; then
    trap - EXIT
    say "left running, as KEEP asks. Try:"
    note "MINIK8S_SOCKET=$SOCKET $BIN get pods -A"
    note "cp a-manifest.yaml $LAB/manifests/"
    note "make stop    # ends it and cleans up"
    exit 0
fi

say "removing the manifests"
rm -f "$LAB"/manifests/*
no_pods() {
    local pods
    remember_uids
    pods=$(k get pods -A -o name 2>/dev/null) && [ -z "$pods" ]
}
wait_for 90 "the pods to end" no_pods || die "pods are still there after their manifests went: $(k get pods -A 2>&1)"
stop_process agent 20
[ -z "$(lab_ctr containers ls -q)" ] || die "containers left: $(lab_ctr containers ls -q | tr '\n' ' ')"
# The images go with a private containerd; in another's, they are removed here.
remove_containers
stop_process containerd 10
wait_for 10 "the last processes" eval '[ -z "$(lab_pids)" ]' || true
nothing_left || die "the demo left something behind"
destroy_lab
trap - EXIT
say "all as it should be; nothing is left"
