#!/usr/bin/env bash
# Breaks the service one patch at a time, in a copy of the tree, and fails unless each breakage
# makes the test fall that its header names. `run.sh NAME...` runs some of the patches only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly LIMIT=300
target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
tree=$target/sabotage/tree
log=$target/sabotage/log
patches=(tests/sabotage/*.patch)
[ $# = 0 ] || patches=("${@/#/tests/sabotage/}") patches=("${patches[@]/%/.patch}")

# What git knows or would add, with fresh times: cargo goes by them. One place for all runs, so
# that dependencies are compiled once.
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done | tar --create --null --files-from=- | tar --extract --touch --directory "$tree"

patches=("${patches[@]/#/$PWD/}")
cd "$tree"
export CARGO_TARGET_DIR=$target/sabotage/build
# Each patch is compiled once and one test of it run once.
export CARGO_PROFILE_TEST_OPT_LEVEL=0 CARGO_PROFILE_TEST_DEBUG=0
# The copy lies in the repository's own directory, and is no part of it.
export GIT_CEILING_DIRECTORIES=$target/sabotage

header() {
    sed -n "s/^# $1: //p" "$2"
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

declare -A passed
for patch in "${patches[@]}"; do
    falls=$(header Falls "$patch")
    test=${falls##* }
    [ -n "$falls" ] || die "$patch does not say what falls"
    [ -z "${passed[$falls]:-}" ] || continue
    build "$falls" || die "without a patch, '$falls' does not build"
    run "$falls" || die "without a patch, $test fails"
    grep -q "^test $test \.\.\. ok$" "$log" || die "there is no test $test"
    passed[$falls]=yes
done
echo "sabotage: ${#passed[@]} tests pass without a patch"

survivors=()
for patch in "${patches[@]}"; do
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
        survivors+=("$name")
        echo "sabotage: $name: $test ends with status $status: $(header Breaks "$patch")" >&2
    fi
    git apply --reverse "$patch"
done

if [ ${#survivors[@]} -gt 0 ]; then
    echo "sabotage: not noticed: ${survivors[*]}" >&2
    exit 1
fi
echo "sabotage: all ${#patches[@]} breakages are noticed"
