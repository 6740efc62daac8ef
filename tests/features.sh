#!/usr/bin/env bash
# Checks every set of features that the service can be built with, and how large it is with each.
# Ends with a table: what was run with each set, and the bytes that an embedder links.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A set has one of the first at least.
readonly FORMATS=(vtd amdvi) OTHERS=(log)
readonly BARE=x86_64-unknown-none
target=${CARGO_TARGET_DIR:-$PWD/target}
readonly binary=$target/$BARE/release/pviommu-no-panic

fail() {
    echo "features: $*" >&2
    exit 1
}

# The features of the crate in this directory, but `default`, sorted.
features_of() {
    awk '/^\[/ { here = $0 == "[features]" } here && /^[a-z]/ { print $1 }' "$1/Cargo.toml" |
        grep -vx default | sort
}

# A feature that this script does not know would be tested in no set.
check_known() {
    local crate feature
    cmp -s <(features_of hypervisor) <(printf '%s\n' "${FORMATS[@]}" "${OTHERS[@]}" | sort) ||
        fail "hypervisor has the features" $(features_of hypervisor), "and this script knows" \
            "${FORMATS[@]}" "${OTHERS[@]}"
    # Those that link it are built with the same.
    for crate in tests tests/no-panic; do
        for feature in $(features_of hypervisor); do
            features_of "$crate" | grep -qx "$feature" || fail "$crate does not pass '$feature' on"
        done
    done
    # The others have no sets here: `./ci.sh clippy test` has all of them.
    [ "$(features_of abi)" = arbitrary ] || fail "abi has other features than 'arbitrary'"
    [ "$(features_of guest-driver)" = $'alloc\nvirtio' ] ||
        fail "guest-driver has other features than 'alloc' and 'virtio'"
}

# Every subset of the arguments, joined by commas.
subsets() {
    local all=("$@") bits i set
    for ((bits = 0; bits < 1 << $#; bits++)); do
        set=
        for ((i = 0; i < $#; i++)); do
            ((bits >> i & 1)) && set+=${set:+,}${all[i]}
        done
        echo "$set"
    done
}

# Every set, one a line.
sets() {
    local formats others
    for formats in $(subsets "${FORMATS[@]}"); do
        # The empty one, too, so not by words.
        while read -r others; do
            echo "$formats${others:+,$others}"
        done < <(subsets "${OTHERS[@]}")
    done
}

with() {
    local set=$1 command=$2
    shift 2
    cargo "$command" --locked --quiet --no-default-features --features "$set" "$@"
}

# Without a format it says what is missing.
check_none() {
    local said
    said=$(cargo check --locked --quiet -p pviommu-hypervisor --no-default-features 2>&1) &&
        fail "it builds without a table format"
    grep -q 'needs a table format' <<< "$said" || fail "without a table format it says $said"
}

# How many tests passed: none that ran would pass, too.
passed() {
    awk '/^test result: ok\./ { sum += $4 } END { print sum + 0 }'
}

# Unit and conformance tests.
own_tests() {
    local said
    said=$(with "$1" test -p pviommu-hypervisor --lib --tests 2>&1) || fail "$1: $said"
    passed <<< "$said"
}

# On every kind of machine that is built in.
service_tests() {
    local said
    said=$(with "$1" test -p pviommu-testbed --test service 2>&1) || fail "$1: $said"
    passed <<< "$said"
}

# The service with all its entry points, and an embedder of next to nothing.
link_all() {
    local set said
    for set in $(sets); do
        said=$(with "$set" build --release --target "$BARE" --target-dir "$target" \
            --manifest-path tests/no-panic/Cargo.toml 2>&1) || fail "$set does not link: $said"
        said=$(size "$binary") || fail "there is no size of $set"
        echo "$set $(awk 'NR == 2 { print $1 }' <<< "$said")"
    done
}

check_known
check_none
sizes=$(mktemp)
linking=
trap 'rm -f "$sizes"; [ -z "$linking" ] || kill "$linking" 2> /dev/null || true' EXIT
# Beside the tests, which are built in another profile.
link_all > "$sizes" &
linking=$!

table=()
for set in $(sets); do
    with "$set" clippy -p pviommu-hypervisor --target "$BARE" -- -D warnings
    own=- service=-
    # What is logged, the step `test` has tested, with both formats.
    if [[ ,$set, != *,log,* ]]; then
        own=$(own_tests "$set")
        [ "$own" -gt 0 ] || fail "$set: no test ran"
    fi
    # With one format and nothing else: with everything they are in the step `test`.
    if [[ " ${FORMATS[*]} " == *" $set "* ]]; then
        service=$(service_tests "$set")
        [ "$service" -gt 0 ] || fail "$set: no test of the service ran"
    fi
    table+=("$set $own $service")
    echo "$set: passed"
    kill -0 "$linking" 2> /dev/null || wait "$linking" || fail "it does not link, see above"
done

wait "$linking" || fail "it does not link, see above"
printf '%-20s %10s %14s %12s\n' features 'own tests' 'service tests' 'bytes linked'
for row in "${table[@]}"; do
    read -r set own service <<< "$row"
    bytes=$(awk -v set="$set" '$1 == set { print $2 }' "$sizes")
    [ "${bytes:-0}" -gt 0 ] || fail "there is no size of $set"
    printf '%-20s %10s %14s %12s\n' "$set" "$own" "$service" "$bytes"
done
