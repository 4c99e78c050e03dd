#!/usr/bin/env bash
# Lays out what the tests in a machine need, to be found there as /payload: payload.sh DIRECTORY BINARY SCRIPT
#
#   install/       what `make install` installs
#   debs/, rpms/   two versions of each package, for package.sh alone
#   tests/         the scripts that run there, and the manifests
. "$(dirname "$0")/../lab/lab.sh"

PAYLOAD=$1 BINARY=$2 SCRIPT=$3
STRIPPED=$(mktemp "${TMPDIR:-/var/tmp}/minik8s-payload.XXXXXX")
trap 'rm -f "$STRIPPED"' EXIT
strip -o "$STRIPPED" "$BINARY"

rm -rf "$PAYLOAD"
mkdir -p "$PAYLOAD/tests/lab"
make --no-print-directory -s -C "$ROOT" install BINARY="$STRIPPED" DESTDIR="$PAYLOAD/install" >/dev/null
if [ "$SCRIPT" = package.sh ]; then
    say "making the packages"
    mkdir -p "$PAYLOAD/debs" "$PAYLOAD/rpms"
    for version in 0.1.0 0.1.1; do
        BINARY="$STRIPPED" OUT="$PAYLOAD/debs" DEB_FAST=1 DEB_VERSION=$version-1 "$ROOT/packaging/build.sh" deb >/dev/null
        BINARY="$STRIPPED" OUT="$PAYLOAD/rpms" RPM_VERSION=$version "$ROOT/packaging/build.sh" rpm >/dev/null
    done
fi
cp "$ROOT"/tests/lab/lab.sh "$ROOT"/tests/lab/images.sh "$PAYLOAD/tests/lab/"
cp -r "$ROOT/tests/vm" "$PAYLOAD/tests/"
