#!/usr/bin/env bash
# Checks what is linked in against deny.toml: `make deny`, part of `make lint` and of what a change must pass.
#
# Installs cargo-deny below target/ where it is not here (about five minutes on two cores, once); where that cannot be done it fails, for nothing was
# checked. Only the advisories need more than a registry, their database: where that cannot be had, it says so, and everything else is checked.
. "$(dirname "$0")/lab.sh"

CARGO_DENY=0.20.2
TOOLS=$TARGET/tools

cd "$ROOT"
need_cargo
PATH=$PATH:$HOME/.cargo/bin:$TOOLS/bin
if ! command -v cargo-deny >/dev/null; then
    say "installing cargo-deny $CARGO_DENY below $TOOLS"
    timeout 20m cargo install --quiet --locked cargo-deny --version "$CARGO_DENY" --root "$TOOLS" ||
        die "cargo-deny cannot be installed, deny.toml was NOT checked; where crates.io can be reached: cargo install --locked cargo-deny"
fi
cargo deny --log-level error check --hide-inclusion-graph licenses bans sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --log-level error check advisories
else
    say "the advisory database cannot be fetched here, advisories were NOT checked"
fi
