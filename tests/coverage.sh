#!/usr/bin/env bash
# Prints which part of the lines of `hypervisor` and `abi` the tests run, and fails below 95 % of either. Takes as long
# as the tests do, and a build of its own. A line of generic code counts once, and as run if it was run for any type.
# Lines of tests do not count, and neither does what doc tests, loom or shuttle run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly LEAST=95
readonly TESTS=(-p pviommu-abi -p pviommu-hypervisor -p pviommu-capi -p pviommu-c-tests -p pviommu-testbed --lib --tests)

# `rustc` fetches the compiler, where rustup has not; the tools are no part of it.
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
[ -x "$tools/llvm-cov" ] && [ -x "$tools/llvm-profdata" ] || rustup component add llvm-tools
base=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)/coverage
readonly tools base

rm -rf "$base/profiles"
mkdir -p "$base/profiles"
# Generic code is compiled where it is used, so all of the workspace is instrumented, and nothing else.
cat > "$base/instrument" <<'SCRIPT'
#!/bin/sh
exec "$@" -C instrument-coverage
SCRIPT
chmod +x "$base/instrument"
export RUSTC_WORKSPACE_WRAPPER=$base/instrument CARGO_TARGET_DIR=$base CARGO_INCREMENTAL=0
# What runs during the build is instrumented as well, and is no test.
LLVM_PROFILE_FILE=/dev/null cargo test --locked "${TESTS[@]}" --no-run \
    --message-format=json-render-diagnostics > "$base/build.json"
# Processes that tests start have files of their own, merged as they end.
LLVM_PROFILE_FILE=$base/profiles/%4m.profraw cargo test --locked "${TESTS[@]}"

"$tools/llvm-profdata" merge --sparse -o "$base/all.profdata" "$base"/profiles/*.profraw
# One program at a time: of a function that one has and does not use, llvm-cov would not look at the others'.
sed -nE 's/.*"executable":"([^"]+)".*/\1/p' "$base/build.json" | while read -r program; do
    # Some have nothing that was instrumented.
    grep -q __llvm_covmap "$program" || continue
    # It warns of those functions, for each program.
    "$tools/llvm-cov" export --format=lcov --instr-profile "$base/all.profdata" "$program" 2> "$base/llvm-cov.log" ||
        { cat "$base/llvm-cov.log" >&2 && exit 1; }
done > "$base/lcov.info"
awk -v least=$LEAST -v root="$PWD/" -v missed="$base/missed.txt" -f tests/coverage.awk "$base/lcov.info"
