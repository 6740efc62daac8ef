#!/usr/bin/env bash
# Links the service with an embedder that answers anything, and fails if a panic is left.
set -eu
cd "$(dirname "$0")"

symbol=pviommu_a_panic_is_reachable
log=$(mktemp)
trap 'rm -f "$log"' EXIT

. ./build.sh

# Links all the same and prints who calls what panics: the linker knows only the panic handler.
explain() {
    grep -E "undefined symbol|>>>" "$log"
    command -v objdump >/dev/null || return 0
    build "$@" -- -C link-arg=--unresolved-symbols=ignore-all >"$log" 2>&1
    echo "calls that panic:"
    objdump --disassemble --demangle --no-show-raw-insn "$(binary)" | awk '
        /^[0-9a-f]+ <.*>:$/ { caller = $0; sub(/^[0-9a-f]+ /, "", caller) }
        /<(core::(panicking|option|result|slice|str|cell)|__rustc::rust_begin_unwind)/ && !/>:$/ {
            callee = $0
            sub(/^[^<]*/, "", callee)
            print "  " caller " " callee
        }' | sort -u
}

./entries.sh

if ! build >"$log" 2>&1; then
    if grep -q "undefined symbol: $symbol" "$log"; then
        explain
        echo "a panic is reachable" >&2
    else
        cat "$log" >&2
    fi
    exit 1
fi

# The same with a panic put in must not link, or the above says nothing.
if build --features seeded-panic >"$log" 2>&1; then
    echo "a panic that was put in was not found" >&2
    exit 1
fi
if ! grep -q "undefined symbol: $symbol" "$log"; then
    cat "$log" >&2
    exit 1
fi

echo "no panic is reachable"
