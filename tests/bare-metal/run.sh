#!/usr/bin/env bash
# Builds the images and runs them once, for development: run.sh 'COMMAND LINE' [QEMU OPTIONS]. Exits 0 if
# the image said that all went well. More processors need `CPUS=2`, which turns off the fast clock.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cargo build --release --locked
image=${CARGO_TARGET_DIR:-target}/x86_64-unknown-none/release/pviommu-metal
cpus=${CPUS:-1}
# Each instruction is a microsecond, and nobody waits for a timer: a device that needs 100 ms is done
# at once.
clock=(-icount shift=10,sleep=off)
[ "$cpus" = 1 ] || clock=()
status=0
timeout "${LIMIT:-60}" qemu-system-x86_64 -accel tcg -machine q35 -cpu max -m "${MEMORY:-512M}" \
    -smp "$cpus" "${clock[@]}" -nodefaults -no-user-config -display none -no-reboot -serial stdio \
    -device isa-debug-exit,iobase=0xf4,iosize=0x04 \
    -kernel "$image" -initrd "$image-guest" -append "${1:-}" "${@:2}" < /dev/null || status=$?
[ "$status" = 33 ] && exit 0
echo "run.sh: QEMU exited with $status" >&2
exit 1
