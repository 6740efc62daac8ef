#!/usr/bin/env bash
# Fails if a hypercall, or another call that an embedder makes while domains run, can take more than 4 KiB of stack:
# over every path in the program that links if no panic is reachable, in which the embedder takes next to none.
set -euo pipefail
cd "$(dirname "$0")"

# By the names of the functions that make them in `entries.rs`.
calls=(hypercall device_memory give take pass_on plug trim set_default change retarget revoke
    quarantine fault tear_down)
# `MAX_LEVELS` of the service's tables.
readonly BOUND=4096 OTHERS=16384 LEVELS=5

. ./build.sh
build
objdump --disassemble --demangle --no-show-raw-insn "$(binary)" |
    awk -v bound=$BOUND -v others=$OTHERS -v levels=$LEVELS -v gated="${calls[*]/#/entries::}" -f stack.awk
