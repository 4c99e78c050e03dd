#!/bin/sh
# Inside a machine with a network (Lima's, Vagrant's), as root: what build.sh puts into the disk it makes.
set -eu
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2046
if ! dpkg -s $(cat /payload/tests/vm/packages) >/dev/null 2>&1; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends $(cat /payload/tests/vm/packages)
fi
