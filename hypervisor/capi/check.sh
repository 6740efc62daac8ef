#!/usr/bin/env bash
# Builds the library as a hypervisor links it, and checks what a C programmer relies on: the header, the example,
# what the library leaves undefined, and the example in a bare image, where a device of QEMU writes by it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
library=$target/x86_64-unknown-none/release/libpviommu_capi.a
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-cc} cxx=${CXX:-c++}
examples=$here/examples
strict=(-Wall -Wextra -Werror -I"$here/include" -I"$here/../../abi/include")

fail() {
    echo "check: $*" >&2
    exit 1
}

cargo rustc --quiet --locked --manifest-path "$here/Cargo.toml" --lib --crate-type staticlib --release \
    --target x86_64-unknown-none --target-dir "$target"

# The header stands by itself, in both languages.
printf '#include "pviommu.h"\nint main(void) { return 0; }\n' > "$work/alone.c"
cp "$work/alone.c" "$work/alone.cpp"
"$cc" -std=c11 -pedantic "${strict[@]}" "$work/alone.c" -o "$work/alone"
"$cxx" -std=c++11 -pedantic "${strict[@]}" "$work/alone.cpp" -o "$work/alone"

# The example, watched by sanitizers.
"$cc" -std=c11 -g -O1 -fsanitize=address,undefined "${strict[@]}" \
    "$examples/embed.c" "$examples/simulated.c" "$library" -o "$work/embed"
"$work/embed"

# Freestanding, as a hypervisor compiles.
bare=(-std=c11 -O2 -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector
    -fno-asynchronous-unwind-tables "${strict[@]}")
"$cc" "${bare[@]}" -c "$examples/embed.c" -o "$work/embed.o"
"$cc" "${bare[@]}" -c "$examples/bare/machine.c" -o "$work/machine.o"
"$cc" -c "$examples/bare/boot.S" -o "$work/boot.o"

# What an object needs that is not in it. Not by nm, which may try to read the bitcode of a compiler that it does
# not know.
undefined() {
    readelf --syms --wide "$1" | awk '$7 == "UND" && $8 != "" { print $8 }' | grep -v '^machine_' | sort || true
}

# Nothing is needed: not even pviommu_panic, because no panic can be reached in any of it.
ld -r -o "$work/whole.o" --whole-archive "$library"
[ -z "$(undefined "$work/whole.o")" ] || fail 'the library needs' $(undefined "$work/whole.o")
ld -r -o "$work/linked.o" "$work/embed.o" "$library"
[ -z "$(undefined "$work/linked.o")" ] || fail 'the linked example needs' $(undefined "$work/linked.o")

# All that C can call has the prefix.
readelf --syms --wide "$work/linked.o" |
    awk '$4 == "FUNC" && $5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" { print $8 }' > "$work/defined"
named=$(grep -vE '^(_R|_ZN)' "$work/defined" | grep -vE '^(pviommu_|embed$)' || true)
[ -z "$named" ] || fail "the library defines $named"

ld -nostdlib -static --gc-sections -z max-page-size=4096 -T "$examples/bare/link.ld" \
    "$work/boot.o" "$work/machine.o" "$work/embed.o" "$library" -o "$work/image"
for unit in intel-iommu,intremap=off,aw-bits=48 amd-iommu,intremap=off; do
    status=0
    # Each instruction is a microsecond, so that the device's timer is soon over.
    said=$(timeout 60 qemu-system-x86_64 -accel tcg -machine q35 -cpu max -m 512M -icount shift=10,sleep=off \
        -nodefaults -no-user-config -display none -no-reboot -serial stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=0x04 -device "$unit" \
        -device edu,addr=03.0,dma_mask=0xffffffffffffffff -kernel "$work/image" \
        < /dev/null 2> "$work/errors") || status=$?
    printf '%s: %s\n' "${unit%%,*}" "${said//$'\n'/; }"
    if [ "$status" != 33 ] || [[ $said = *'bare: a fault'* ]]; then
        cat "$work/errors" >&2
        fail "the bare image ended with status $status"
    fi
done
echo "check: the header, the example and the bare image are well; no panic can be reached"
