#!/usr/bin/env bash
# Prints which part of the lines of `hypervisor` and `abi` `cargo test` runs, and fails below 95 % of either. The lines
# that no test runs are listed in `coverage.txt` beside what was built. Takes as long as the tests do, and their build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly LEAST=95
readonly PACKAGES=(-p pviommu-abi -p pviommu-hypervisor -p pviommu-capi -p pviommu-c-tests -p pviommu-testbed)

base=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)/coverage
readonly base
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
[ -x "$tools/llvm-cov" ] || rustup component add llvm-tools-preview

mkdir -p "$base"
rm -rf "$base/profiles" && mkdir "$base/profiles"
# Generic code is compiled where it is used, so all of the workspace is instrumented, and nothing else.
cat > "$base/instrument" <<'SCRIPT'
#!/bin/sh
exec "$@" -C instrument-coverage
SCRIPT
chmod +x "$base/instrument"
export RUSTC_WORKSPACE_WRAPPER=$base/instrument CARGO_TARGET_DIR=$base CARGO_INCREMENTAL=0
# Build scripts are instrumented, too. Processes that tests start have files of their own, merged as they end.
export LLVM_PROFILE_FILE=$base/profiles/%4m.profraw

cargo test --locked "${PACKAGES[@]}" --lib --tests
mapfile -t binaries < <(cargo test --locked "${PACKAGES[@]}" --lib --tests --no-run --message-format=json 2> /dev/null |
    sed -nE 's/.*"executable":"([^"]+)".*/\1/p')
"$tools/llvm-profdata" merge --sparse -o "$base/all.profdata" "$base"/profiles/*.profraw


# The line of the sum in percent, of the sources below a directory.
percent() {
    "$tools/llvm-cov" report --instr-profile "$base/all.profdata" "${binaries[0]}" \
        "${binaries[@]/#/--object=}" --sources "$1" | awk '$1 == "TOTAL" { sub(/%/, "", $10); print $10 }'
}

"$tools/llvm-cov" show --instr-profile "$base/all.profdata" "${binaries[0]}" "${binaries[@]/#/--object=}" \
    --sources hypervisor/src abi/src --show-instantiations=false --use-color=false |
    awk '/^\/.*:$/ { file = $0 } /^ *[0-9]+\| +0\|/ { print file $0 }' > "$base/coverage.txt"
echo "lines that no test runs: $base/coverage.txt"
failed=0
for crate in hypervisor abi; do
    covered=$(percent "$crate/src")
    echo "$crate: $covered % of the lines"
    awk -v covered="$covered" -v least=$LEAST 'BEGIN { exit !(covered >= least) }' || failed=1
done
if [ "$failed" = 1 ]; then
    echo "coverage: less than $LEAST %" >&2
    exit 1
fi
