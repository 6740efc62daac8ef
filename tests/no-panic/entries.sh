#!/usr/bin/env bash
# Fails if there is a public function that this program does not call: a panic in it would not be looked for.
set -euo pipefail
cd "$(dirname "$0")"
readonly service=../../hypervisor/src

# What is public for tests and benches, not for an embedder. What of it the service calls is in the program.
readonly INSIDE='^(table|format|flush\.rs|sync|sync\.rs)(/|$)'

# Every public function: what `unreachable_pub` lets be called so, an embedder can call.
functions() {
    local file
    while IFS= read -r file; do
        [[ ${file#"$service"/} =~ $INSIDE ]] || awk -v file="${file#"$service"/}" '
            /^#\[cfg\(.*test/ { exit }
            /^ *pub (const |unsafe |extern "C" )*fn / {
                name = $0
                sub(/.*fn /, "", name)
                sub(/[<(].*/, "", name)
                print name, file
            }' "$file"
    done < <(find "$service" -name '*.rs' | sort)
}

missing=0 count=0
while read -r name file; do
    count=$((count + 1))
    if ! grep -qw -- "$name" src/*.rs; then
        echo "$file: $name is not called in tests/no-panic/src" >&2
        missing=1
    fi
done < <(functions)
[ "$count" -gt 100 ] || { echo "entries: only $count public functions were found" >&2; exit 1; }
[ "$missing" = 0 ] || exit 1
echo "all $count public functions are in the program"
