#!/usr/bin/env bash
# Checks include/pviommu_abi.h: it is what the Rust declarations print, it compiles as C99 and as
# C++11, and both compilers lay it out as Rust does. Fails on any difference.
set -eu

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
header="$here/include/pviommu_abi.h"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

example() {
    cargo run --quiet --manifest-path "$here/Cargo.toml" --example "$@"
}

example gen_header > "$work/pviommu_abi.h"
if ! diff -u "$header" "$work/pviommu_abi.h"; then
    echo "check-header: the header is out of date; print it again with" >&2
    echo "  cargo run -q -p pviommu-abi --example gen_header > abi/include/pviommu_abi.h" >&2
    exit 1
fi

example layout > "$work/rust.txt"
example layout -- --c > "$work/layout.c"
cp "$work/layout.c" "$work/layout.cpp"

strict="-Wall -Wextra -Werror -pedantic -I $here/include"
# shellcheck disable=SC2086 # the flags are words
"${CC:-cc}" -std=c99 $strict "$work/layout.c" -o "$work/layout-c"
# shellcheck disable=SC2086
"${CXX:-c++}" -std=c++11 $strict "$work/layout.cpp" -o "$work/layout-cxx"

for language in c cxx; do
    "$work/layout-$language" > "$work/$language.txt"
    if ! diff -u "$work/rust.txt" "$work/$language.txt"; then
        echo "check-header: Rust and the $language compiler disagree" >&2
        exit 1
    fi
done

echo "check-header: $(grep -c '^struct' "$work/rust.txt") structures," \
    "$(grep -c '^field' "$work/rust.txt") fields, $(grep -c '^const' "$work/rust.txt") constants agree"
