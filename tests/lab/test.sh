#!/usr/bin/env bash
# Every test of the repository: `make test`. Installs what is missing first; the tests start their own containerd.
. "$(dirname "$0")/lab.sh"

need_root
need_cargo
need_runtime_packages
need_packages bc=bc unshare=util-linux ip=iproute2 docker-registry=docker-registry bindfs=bindfs pgrep=procps

cd "$ROOT"
LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT
say "cargo test (unit, property, manifests, scenarios, CLI, containerd, tidy)"
code=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --no-fail-fast -E 'not test(=ten_thousand_seeds)' 2>&1 | tee "$LOG" || code=$?
    cargo test --doc 2>&1 | tee -a "$LOG" || code=$?
else
    cargo test --no-fail-fast -- --skip ten_thousand_seeds 2>&1 | tee "$LOG" || code=$?
fi
say "the simulation, compiled with optimisation"
make --no-print-directory simulation 2>&1 | tee -a "$LOG" || code=$?
awk '
    / Summary \[/ { for (i = 1; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1); if ($i ~ /^skipped/) s += $(i - 1) } }
    /^test result:/ { p += $4; f += $6; s += $8 }
    END { printf "\n==> %d passed, %d failed, %d skipped\n", p, f, s }' "$LOG"
[ "$code" = 0 ] || die "tests failed"
