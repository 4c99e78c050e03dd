#!/usr/bin/env bash
# The containerd tests, and the agent's of user namespaces, against several releases of containerd and of two OCI runtimes: `make test-matrix`. The
# table at the end is the result.
#
#   MATRIX="1.6 1.7 2.1"   which releases (Debian 12's, trixie's, forky's; each fetched from Debian's mirror once, never installed)
#   RUNTIMES="runc crun runc-forky crun-forky"   which runtimes: this system's, and forky's, which have user namespaces with idmapped mounts
#   FILTER=...             a filterset of nextest, to run less
#   MATRIX_CACHE=DIR       where what was fetched is kept (/var/tmp/minik8s-matrix)
# A runtime is put before the others on PATH under the name runc, which the shim looks for. crun refuses a hybrid cgroup hierarchy, so its runs have
# a mount namespace in which /sys/fs/cgroup/unified is not mounted. forky's are given forky's libraries (patchelf): this system's are too old. Exits 0 only if every test of every pair passed.
. "$(dirname "$0")/lab.sh"

CACHE=${MATRIX_CACHE:-/var/tmp/minik8s-matrix}
MIRROR=${MATRIX_MIRROR:-http://deb.debian.org/debian}
read -ra RELEASES <<<"${MATRIX:-1.6 1.7 2.1}"
read -ra RUNTIMES <<<"${RUNTIMES:-runc crun runc-forky crun-forky}"
# What says of a runtime that it is runc is no test of another.
NOT_FOR_CRUN='not test(runtime_binaries_are_tried_before_use)'
# What measures against `ctr run`, where that writes a version of the spec that the runtime does not know (the agent's own specs it does).
NOT_FOR_OLD_CRUN='not test(create_to_running)'

need_root
need_cargo
need_runtime_packages
need_packages unshare=util-linux crun=crun patchelf=patchelf
# Filters are nextest's.
cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest || die "cargo-nextest is not here: cargo install --locked cargo-nextest"

# suite RELEASE: Debian's name for where it is from; "" is what is installed.
suite() {
    case $1 in
    1.6) ;;
    1.7) echo trixie ;;
    2.1) echo forky ;;
    *) die "MATRIX: $1 is none of 1.6, 1.7, 2.1" ;;
    esac
}

# download SUITE PACKAGE...: fetches packages into $CACHE/SUITE/debs, with a private apt so that the system's is not touched.
download() {
    local dir=$CACHE/$1 apt
    mkdir -p "$dir"/{state/lists/partial,cache/archives/partial,debs}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $1 main" >"$dir/sources.list"
    apt=(-qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State=$dir/state" -o "Dir::Cache=$dir/cache"
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" update && (cd "$dir/debs" && apt-get "${apt[@]}" download "${@:2}")
}

# fetch SUITE: unpacks its containerd into $CACHE/SUITE/root.
fetch() {
    local dir=$CACHE/$1
    [ -x "$dir/root/usr/bin/containerd" ] && return 0
    say "fetching containerd from Debian $1"
    download "$1" containerd && dpkg -x "$dir"/debs/containerd_*.deb "$dir/root"
}

# runtime NAME[-SUITE]: the path of a runtime; that of a suite is fetched and made to use the suite's own libraries.
runtime() {
    local name=${1%%-*} dir=$CACHE/${1#*-}/runtimes lib packages=(libc6 libseccomp2) deb
    [ "$name" != "$1" ] || { command -v "$name"; return; }
    if [ ! -x "$dir/$name" ]; then
        say "fetching $name from Debian ${1#*-}" >&2
        mkdir -p "$dir"
        [ "$name" != crun ] || packages+=(libblake3-0 libcap2 libjson-c5 libsystemd0 libtbb12)
        download "${1#*-}" "$name" "${packages[@]}" >&2 || return 1
        for deb in "$name" "${packages[@]}"; do dpkg -x "$CACHE/${1#*-}/debs/${deb}"_*.deb "$dir/root" || return 1; done
        lib=$(dirname "$(find "$dir/root/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)")
        cp -L "$(find "$dir"/root/usr/{bin,sbin} -name "$name" -type f | head -n 1)" "$dir/$name.new" || return 1
        patchelf --set-interpreter "$(find "$lib" -name 'ld-linux-*.so.*' | head -n 1)" --set-rpath "$lib" "$dir/$name.new" || return 1
        mv "$dir/$name.new" "$dir/$name"
    fi
    echo "$dir/$name"
}

# front RELEASE RUNTIME: a directory to go first on PATH.
front() {
    local dir=$CACHE/path-$1-$2 from=/usr/bin what
    rm -rf "$dir" && mkdir -p "$dir"
    [ -z "$(suite "$1")" ] || from=$CACHE/$(suite "$1")/root/usr/bin
    for what in containerd ctr containerd-shim-runc-v2; do ln -s "$from/$what" "$dir/$what"; done
    ln -s "$(runtime "$2")" "$dir/runc"
    echo "$dir"
}

# tests RUNTIME LOG: runs them with the PATH there is; their own last word in LOG.
tests() {
    local filter="(${FILTER:-all()}) and (binary(containerd) or (binary(agent) and test(/^user_namespaces::/)))"
    [[ $1 != crun* ]] || filter="($filter) and $NOT_FOR_CRUN"
    [[ $1 != crun || $release = 1.6 ]] || filter="($filter) and $NOT_FOR_OLD_CRUN"
    local -a run=(cargo nextest run --no-fail-fast --test containerd --test agent -E "$filter")
    unshare --mount --propagation private bash -c '
        [[ $1 != crun* ]] || ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
        shift; exec "$@"' matrix "$1" "${run[@]}" >"$2" 2>&1
}

cd "$ROOT"
mkdir -p "$CACHE" "$TARGET/matrix"
cargo build --quiet
TABLE=$TARGET/matrix/table.txt
printf '%-28s %-10s %s\n' containerd runtime result >"$TABLE"
code=0
for release in "${RELEASES[@]}"; do
    suite=$(suite "$release")
    if [ -n "$suite" ] && ! fetch "$suite"; then
        printf '%-28s %-10s %s\n' "$release ($suite)" - "NOT RUN: it cannot be fetched" >>"$TABLE"
        code=1
        continue
    fi
    for runtime in "${RUNTIMES[@]}"; do
        if ! binary=$(runtime "$runtime"); then
            printf '%-28s %-10s %s\n' "$release" "$runtime" "NOT RUN: it cannot be fetched" >>"$TABLE"
            code=1
            continue
        fi
        dir=$(front "$release" "$runtime")
        version=$("$dir/containerd" --version | awk '{print $3}')
        of=$("$binary" --version | awk 'NR == 1 {print $3}')
        log=$TARGET/matrix/$release-$runtime.log
        say "containerd $version with $runtime $of"
        result=passed
        PATH=$dir:$PATH tests "$runtime" "$log" || { result=FAILED && code=1; }
        words=$(grep -aoE '[0-9]+ passed.*' "$log" | tail -n 1) || true # none where it was not even built
        note "$result: ${words:-see $log}"
        printf '%-28s %-10s %s\n' "$version" "${runtime%%-*} $of" "$result: ${words:-see $log}" >>"$TABLE"
        grep -aE '^ +(FAIL|TIMEOUT|SIGABRT)' "$log" | sort -u | sed 's/^/      /' >>"$TABLE" || true
    done
done
say "the containerd tests"
cat "$TABLE"
exit $code
