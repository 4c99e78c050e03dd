#!/usr/bin/env bash
# `make mutations`: puts each bug of mutations.txt into a scratch copy of the tree and runs the simulation, which must fail. ONLY=word: those with it.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
COPY=$(mktemp -d "${TMPDIR:-/tmp}/minik8s-mutations-XXXXXX")
trap 'rm -rf "$COPY"' EXIT
cd "$ROOT"
git ls-files -co --exclude-standard -z | tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$COPY"
# Libraries are the same: only our own crate is built anew.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target} SEEDS=${SEEDS:-3000} CARGO_INCREMENTAL=1

mutate() { # file old new
    FILE=$1 OLD=$2 NEW=$3 perl -0e '
        open my $in, "<", $ENV{FILE} or die; my $text = <$in>; close $in;
        my $at = index $text, $ENV{OLD};
        die "$ENV{FILE} does not hold the text\n" if $at < 0;
        substr($text, $at, length $ENV{OLD}) = $ENV{NEW};
        open my $out, ">", $ENV{FILE} or die; print $out $text;'
}

escaped=0 tried=0
try() { # name file old new
    [[ $1 == *"${ONLY:-}"* ]] || return 0
    tried=$((tried + 1))
    # `set -e` does not hold in here: the caller asks for its outcome.
    (cd "$COPY" && mutate "$2" "$3" "$4") || { echo "mutations.txt is out of date: $1" && exit 1; }
    if ! (cd "$COPY" && cargo test --test simulation --no-run >"$COPY/build.log" 2>&1 </dev/null); then
        tail -20 "$COPY/build.log" && echo "does not build: $1" && exit 1
    fi
    if (cd "$COPY" && cargo test --test simulation ten_thousand_seeds >"$COPY/run.log" 2>&1 </dev/null); then
        escaped=$((escaped + 1))
        echo "NOT CAUGHT  $1"
    else
        echo "caught      $1: $(grep -m1 -o 'seed [0-9]* violates "[^"]*"' "$COPY/run.log" || tail -1 "$COPY/run.log")"
    fi
    cp "$ROOT/$2" "$COPY/$2"
}

name='' file='' old='' new=''
end() { [ -z "$name" ] || try "$name" "$file" "${old%$'\n'}" "${new%$'\n'}"; }
while IFS= read -r line; do
    case $line in
    '#'* | '') ;;
    '== '*) end && name=${line#== } file='' old='' new='' ;;
    '-'*) old+=${line#-}$'\n' ;;
    '+'*) new+=${line#+}$'\n' ;;
    *) file=$line ;;
    esac
done <"$ROOT/tests/simulation/mutations.txt"
end
echo "==> $tried bugs, $escaped not caught"
[ "$escaped" = 0 ]
