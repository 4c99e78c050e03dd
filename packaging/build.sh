#!/usr/bin/env bash
# Makes packages in target/packages (OUT: there): build.sh deb|rpm|tarball|stage
#
#   PROFILE=dist       the cargo profile of the binary (debug, release, dist)
#   BINARY=FILE        this binary, built already
#   DEB_VERSION=V, RPM_VERSION=V   the package's version, where it is not Cargo.toml's
#   DEB_FAST=1         a larger package, sooner: for tests
# stage only lays target/packaging out: the binary, man pages, completions, the file of defaults; the other three begin with that.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
STAGE=$ROOT/target/packaging
OUT=${OUT:-$TARGET/packages}
PROFILE=${PROFILE:-dist}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
cd "$ROOT"

die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
# need TOOL CRATE: cargo's own way of installing tools, where the tool is not here.
need() {
    command -v "$1" >/dev/null || [ -x "$HOME/.cargo/bin/$1" ] || cargo install --locked "$2" || die "$1 is not here: cargo install --locked $2"
    PATH=$PATH:$HOME/.cargo/bin
}

# Prints where the binary is. With STATIC, glibc is linked in; only for a named target, since programs that run while building cannot be so.
build() {
    local target= cargo=cargo
    if [ -n "${BINARY:-}" ]; then
        echo "$BINARY"
        return
    fi
    local -a how=(--bin minik8s)
    [ "$PROFILE" = debug ] || how+=(--profile "$PROFILE")
    if [ -n "${STATIC:-}" ]; then
        target=$(host)
        how+=(--target "$target")
        export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
    fi
    [ "$PROFILE" != dist ] || cargo=packaging/layout/cargo
    "$cargo" build "${how[@]}" >&2
    echo "$TARGET/${target:+$target/}$PROFILE/minik8s"
}

host() { rustc -vV | sed -n 's/^host: //p'; }

stage() {
    local binary
    binary=$(build)
    rm -rf "$STAGE"
    mkdir -p "$STAGE" "$OUT"
    cargo run --quiet --example cli-docs -- package "$STAGE" >&2
    strip -o "$STAGE/minik8s" "$binary"
    chmod 0755 "$STAGE/minik8s"
    gzip -9n "$STAGE"/man/*.1
    gzip -9nc packaging/debian/changelog >"$STAGE/changelog.Debian.gz"
}

deb() {
    need cargo-deb cargo-deb
    stage
    cargo deb --quiet --no-build --no-strip ${DEB_FAST:+--fast} ${DEB_VERSION:+--deb-version "$DEB_VERSION"} --output "$OUT/"
}

rpm() {
    need cargo-generate-rpm cargo-generate-rpm
    stage
    cargo generate-rpm ${RPM_VERSION:+--set-metadata "version = \"$RPM_VERSION\""} --output "$OUT/"
}

# One static program and what belongs to it, for any x86_64 or aarch64 Linux. glibc is linked in (musl's target need not be installed for that).
tarball() {
    local name dir
    STATIC=1 stage
    if readelf -d "$STAGE/minik8s" | grep -q NEEDED; then die "the program is not static"; fi
    name=minik8s-$VERSION-$(host) dir=$STAGE/$name
    mkdir -p "$dir"/{man,completions,examples}
    cp "$STAGE/minik8s" packaging/install.sh systemd/minik8s.service packaging/sysusers.d/minik8s.conf packaging/example.yaml.example LICENSE README.md CHANGELOG.md "$dir/"
    cp "$STAGE"/man/* "$dir/man/"
    cp "$STAGE"/{minik8s.bash,_minik8s,minik8s.fish} "$dir/completions/"
    cp "$STAGE/default" "$dir/minik8s.default"
    cp -r examples/*.yaml examples/monitoring "$dir/examples/"
    tar --owner=0 --group=0 --sort=name --mtime=@0 -C "$STAGE" -czf "$OUT/$name.tar.gz" "$name"
    echo "$OUT/$name.tar.gz"
}

case ${1:-} in
deb | rpm | tarball | stage) "$1" ;;
*) die "usage: build.sh deb|rpm|tarball|stage" ;;
esac
