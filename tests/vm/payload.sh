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
        BINARY="$STRIPPED" DEB_FAST=1 DEB_VERSION=$version-1 "$ROOT/packaging/build.sh" deb >/dev/null
        BINARY="$STRIPPED" RPM_VERSION=$version "$ROOT/packaging/build.sh" rpm >/dev/null
        cp "$TARGET"/packages/minik8s_${version}-1_*.deb "$PAYLOAD/debs/"
        cp "$TARGET"/packages/minik8s-${version}-1.*.rpm "$PAYLOAD/rpms/"
    done
    # The newer ones are for the machine alone.
    rm -f "$TARGET"/packages/minik8s_0.1.1-1_*.deb "$TARGET"/packages/minik8s-0.1.1-1.*.rpm
fi
cp "$ROOT"/tests/lab/lab.sh "$ROOT"/tests/lab/images.sh "$PAYLOAD/tests/lab/"
cp -r "$ROOT/tests/vm" "$PAYLOAD/tests/"
