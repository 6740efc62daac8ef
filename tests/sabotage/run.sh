#!/usr/bin/env bash
# Breaks the service one patch at a time, in copies of the tree, and fails unless each breakage
# makes the test fall that its header names. `run.sh NAME...` runs some of the patches only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly LIMIT=300
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
readonly place=$target/sabotage
patches=(tests/sabotage/*.patch)
# All of them take half of what CI has for everything, so it takes turns.
if [ -n "${CI:-}" ] && [ $# = 0 ]; then
    readonly TURNS=12
    turn=$(($(git rev-list --count HEAD) % TURNS)) all=("${patches[@]}") patches=()
    for ((i = turn; i < ${#all[@]}; i += TURNS)); do
        patches+=("${all[i]}")
    done
    echo "sabotage: ${#patches[@]} of ${#all[@]} patches, the others with other commits; without CI set, all"
fi
[ $# = 0 ] || patches=("${@/#/tests/sabotage/}") patches=("${patches[@]/%/.patch}")
patches=("${patches[@]/#/$PWD/}")
# Two keep two CPUs busy; each has all dependencies compiled for itself.
workers=2
[ ${#patches[@]} -gt 1 ] || workers=1

# Each patch is compiled once and one test of it run once, and what others compiled is kept.
export CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0 CARGO_INCREMENTAL=1
# The copies lie in the repository's own directory, and are no part of it.
export GIT_CEILING_DIRECTORIES=$place

header() {
    sed -n "s/^# $1: //p" "$2"
}

# What git knows or would add, with fresh times: cargo goes by them.
copy_tree() {
    mkdir -p "$1"
    git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            [ ! -e "$file" ] || printf '%s\0' "$file"
        done | tar --create --null --files-from=- | tar --extract --touch --directory "$1"
}

# The test alone, with the build apart: what does not compile has not fallen.
build() {
    timeout "$LIMIT" bash -c "${1/ -- / --no-run -- }" > "$log" 2>&1
}
run() {
    timeout "$LIMIT" bash -c "$1" > "$log" 2>&1
}
die() {
    cat "$log" >&2
    echo "sabotage: $1" >&2
    exit 1
}

# Does every so many-th patch, from this one on, in a tree and a target directory of its own.
worker() {
    local log=$place/log$1 tree=$place/tree$1 patch name falls test status
    copy_tree "$tree"
    cd "$tree"
    export CARGO_TARGET_DIR=$place/build$1
    # Without any patch first: between two of them all would be compiled once more.
    for ((i = $1; i < ${#patches[@]}; i += workers)); do
        falls=$(header Falls "${patches[i]}")
        test=${falls##* }
        [ -n "$falls" ] || die "$(basename "${patches[i]}") does not say what falls"
        build "$falls" || die "without a patch, '$falls' does not build"
        run "$falls" || die "without a patch, $test fails"
        grep -q "^test $test \.\.\. ok$" "$log" || die "there is no test $test"
    done
    for ((i = $1; i < ${#patches[@]}; i += workers)); do
        patch=${patches[i]}
        name=$(basename "$patch" .patch)
        falls=$(header Falls "$patch")
        test=${falls##* }
        git apply "$patch" > "$log" 2>&1 || die "$name does not apply"
        build "$falls" || die "$name does not compile"
        status=0
        run "$falls" || status=$?
        if [ "$status" = 101 ] && grep -q "^test $test \.\.\. FAILED$" "$log"; then
            echo "sabotage: $name: $test falls"
        else
            echo "$name" >> "$place/survivors"
            echo "sabotage: $name: $test ends with status $status: $(header Breaks "$patch")" >&2
        fi
        git apply --reverse "$patch"
    done
}

rm -rf "$place"/{tree,log}* "$place/survivors"
pids=()
for ((n = 0; n < workers; n++)); do
    worker "$n" &
    pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
# As large as all other checks together, and of use to nobody else.
[ -z "${CI:-}" ] || rm -rf "$place"/{tree,build}*
[ "$failed" = 0 ]
if [ -e "$place/survivors" ]; then
    echo "sabotage: not noticed: $(tr '\n' ' ' < "$place/survivors")" >&2
    exit 1
fi
echo "sabotage: all ${#patches[@]} breakages are noticed"
