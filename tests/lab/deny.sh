#!/usr/bin/env bash
# Checks what is linked in against deny.toml: `make deny`, part of `make lint`.
#
# Without cargo-deny it says so and succeeds: it is no part of a build. Likewise for the advisories where their database cannot be had; everything
# else is checked without a network.
. "$(dirname "$0")/lab.sh"

cd "$ROOT"
PATH=$PATH:$HOME/.cargo/bin
command -v cargo-deny >/dev/null || { say "cargo-deny is not here, deny.toml was NOT checked: cargo install --locked cargo-deny"; exit 0; }
cargo deny --log-level error check --hide-inclusion-graph licenses bans sources
if cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --log-level error check advisories
else
    say "the advisory database cannot be fetched here, advisories were NOT checked"
fi
