#!/usr/bin/env bash
# Ends what `make run KEEP=1` (or a run that died) left, and cleans up after it.
. "$(dirname "$0")/lab.sh"

need_root
if ! find_lab; then
    say "nothing to stop"
    exit 0
fi
say "stopping $LAB"
rm -f "$LAB"/manifests/* 2>/dev/null || true
no_tasks() { ! containerd_answers || [ -z "$(lab_ctr containers ls -q 2>/dev/null)" ]; }
# The agent ends its pods itself when their manifests go; give it the time of a grace period.
if [ -n "$(running agent)" ]; then wait_for 45 "the pods to end" no_tasks || note "the agent did not end them; doing it by force"; fi
destroy_lab
say "stopped"
