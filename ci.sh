#!/usr/bin/env bash
# Every check there is. `./ci.sh` runs all of them, `./ci.sh fmt test` some, `./ci.sh --list` names
# them. Each step fetches what it needs, so a machine with rustup, git and bash will do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
exec < /dev/null
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
# On a machine that compiles everything once, it is room that is never used again.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0

readonly CARGO_FUZZ=0.13.2 CARGO_DENY=0.20.2
readonly NO_STD=(-p pviommu-abi -p pviommu-hypervisor -p pviommu-guest -p pviommu-capi)
readonly BARE=x86_64-unknown-none

# Cheap ones first, so that most mistakes show within a minute or two.
readonly STEPS=(
    "fmt       formatting of the workspace and of what is outside it"
    "clippy    lints, on the host and for bare metal"
    "test      all tests, doc tests included"
    "audit     AUDIT.md names every lesson, and tests that are there and pass"
    "doc       documentation without warnings"
    "nostd     release builds for bare metal"
    "features  lints and link of every set of features, tests of those of formats, and the size of each"
    "header    the C header is what the Rust says, and both lay structures out alike"
    "capi      the C interface as a hypervisor links it: header, example, symbols, and a bare image in QEMU"
    "package   the crates as they would be published, and the service's example"
    "nopanic   no panic can be reached from any public function of the service"
    "stack     a hypercall takes 4 KiB of stack at most, on every path"
    "loom      the table's races, in every interleaving of two CPUs"
    "shuttle   races of whole calls on the simulated machine, in some random schedules of each"
    "miri      what is unsafe, and several CPUs at a time, watched by Miri"
    "bench     the benchmarks run, and the cost of groups does not explode"
    "icount    no hot operation takes over 5 % more instructions than its figure"
    "replay    every bundled trace, and every breakage noticed"
    "boot      a hypervisor and its guest in QEMU, on the units that it emulates"
    "fuzz      every fuzz target, for FUZZ_SECONDS (6) each"
    "msrv      the crates with the oldest compiler they promise"
    "deny      licences, sources and duplicates of dependencies"
    "sabotage  every patch that breaks the service makes its test fail; in CI a twelfth of them, by turns"
)

# --- what steps need ---

retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        echo "ci: attempt $attempt failed: $*" >&2
        sleep $((attempt * 5))
    done
    return 1
}

# Packages of Debian's.
install() {
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    retry "${root[@]}" apt-get update
    retry "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# The pinned compiler, where rustup has not fetched it by itself.
need_rust() {
    local channel
    channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
    { cargo fmt --version && cargo clippy --version; } > /dev/null 2>&1 ||
        retry rustup toolchain install "$channel" --profile minimal -c clippy -c rustfmt
}

need_bare_metal() {
    rustup target list --installed | grep -qx "$BARE" || retry rustup target add "$BARE"
}

need_toolchain() {
    cargo "+$1" --version > /dev/null 2>&1 ||
        retry rustup toolchain install "$1" --profile minimal
}

need_c() {
    if command -v cc > /dev/null && command -v c++ > /dev/null; then
        return
    fi
    install gcc g++ libc6-dev
}

need_qemu() {
    command -v qemu-system-x86_64 > /dev/null || install qemu-system-x86
}

need_valgrind() {
    command -v valgrind > /dev/null || install valgrind
}

need_cargo_fuzz() {
    [ "$(cargo fuzz --version 2> /dev/null)" = "cargo-fuzz $CARGO_FUZZ" ] ||
        retry cargo install cargo-fuzz --locked --version "$CARGO_FUZZ" --force
}

# One of the nightly compiler's.
need_component() {
    need_toolchain nightly
    rustup component list --toolchain nightly --installed | grep -q "^$1" ||
        retry rustup component add "$1" --toolchain nightly
}

# Compiled without optimisation: it runs for a second, and takes minutes to optimise.
need_cargo_deny() {
    [ "$(cargo deny --version 2> /dev/null)" = "cargo-deny $CARGO_DENY" ] ||
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            retry cargo install cargo-deny --locked --version "$CARGO_DENY" --force
}

# --- the steps ---

step_fmt() {
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo fmt --manifest-path tests/no-panic/Cargo.toml --check
    cargo fmt --manifest-path tests/bare-metal/Cargo.toml --all --check
    cargo fmt --manifest-path tests/mutants/Cargo.toml --check
}

step_clippy() {
    need_c
    need_bare_metal
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo clippy --locked "${NO_STD[@]}" --target "$BARE" -- -D warnings
    cargo clippy --locked -p pviommu-abi --all-targets --features arbitrary -- -D warnings
    cargo clippy --locked -p pviommu-guest --all-targets -- -D warnings
    cargo clippy --locked -p pviommu-guest --all-targets --all-features -- -D warnings
    cargo clippy --locked -p pviommu-guest --all-features --target "$BARE" -- -D warnings
    cargo clippy --locked --manifest-path tests/no-panic/Cargo.toml --target "$BARE" -- -D warnings
    cargo clippy --locked --manifest-path tests/bare-metal/Cargo.toml --target "$BARE" -- -D warnings
    cargo clippy --locked --manifest-path tests/mutants/Cargo.toml --all-targets -- -D warnings
    RUSTFLAGS="--cfg loom" cargo clippy --locked -p pviommu-hypervisor --tests -- -D warnings
}

# All that a test can depend on, as one number.
sources() {
    git ls-files -z --cached --others --exclude-standard -- ':!*.md' ':!*.sh' ':!tests/sabotage' |
        xargs -0 sh -c 'for f; do [ ! -f "$f" ] || sha256sum "$f"; done' sh | sha256sum
}

# What it says is kept, with what was tested: the audit reads it.
step_test() {
    need_c
    local log=${CARGO_TARGET_DIR:-target}/test.log
    mkdir -p "$(dirname "$log")"
    sources > "$log"
    CARGO_TERM_COLOR=never cargo test --locked --workspace 2>&1 | tee -a "$log"
    CARGO_TERM_COLOR=never \
        cargo test --locked -p pviommu-abi --features arbitrary 2>&1 | tee -a "$log"
    CARGO_TERM_COLOR=never \
        cargo test --locked -p pviommu-guest --all-features 2>&1 | tee -a "$log"
}

step_audit() {
    local log=${CARGO_TARGET_DIR:-target}/test.log loom=${CARGO_TARGET_DIR:-target}/loom.log
    if [ "$(head -n 1 "$log" 2> /dev/null)" != "$(sources)" ]; then
        echo 'audit: no test was run on what is here now, so all are'
        step_test
    fi
    # Models that were run on something else prove nothing.
    [ "$loom" -nt "$log" ] || loom=
    tests/audit.sh "$log" "$loom"
}

step_doc() {
    need_c
    RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps
    RUSTDOCFLAGS=-Dwarnings cargo doc --locked -p pviommu-abi -p pviommu-guest --no-deps --all-features
}

step_nostd() {
    need_c
    need_bare_metal
    cargo build --locked --release "${NO_STD[@]}" --target "$BARE"
}

step_features() {
    need_c
    need_bare_metal
    tests/features.sh
}

step_header() {
    need_c
    abi/check-header.sh
}

step_capi() {
    need_c
    need_bare_metal
    need_qemu
    hypervisor/capi/check.sh
}

step_package() {
    need_c
    cargo run --locked --quiet -p pviommu-hypervisor --example embed
    cargo package --locked --allow-dirty -p pviommu-abi -p pviommu-hypervisor -p pviommu-guest
}

step_nopanic() {
    need_c
    need_bare_metal
    tests/no-panic/check.sh
}

# The program is that of `nopanic`.
step_stack() {
    need_c
    need_bare_metal
    tests/no-panic/stack.sh
}

step_loom() {
    need_c
    local log=${CARGO_TARGET_DIR:-target}/loom.log
    mkdir -p "$(dirname "$log")"
    # Optimised less, the models need more stack than they are given.
    RUSTFLAGS="--cfg loom" \
        cargo test --locked --release -p pviommu-hypervisor --lib loom_ | tee "$log"
    # A filter that matches nothing passes, too.
    grep -qE '^test result: ok\. [1-9]' "$log"
}

step_shuttle() {
    need_c
    local log=${CARGO_TARGET_DIR:-target}/shuttle.log
    mkdir -p "$(dirname "$log")"
    RUSTFLAGS="--cfg shuttle -D warnings" \
        cargo test --locked -p pviommu-testbed --test races | tee "$log"
    # Without the cfg there is none, and that passes, too.
    grep -qE '^test result: ok\. [1-9]' "$log"
}

step_miri() {
    need_c
    need_component miri
    need_component rust-src
    # Frames of tables are found by their numbers, as those of a hypervisor are; and the cheap platform is never taken
    # down.
    export MIRIFLAGS='-Zmiri-permissive-provenance -Zmiri-ignore-leaks'
    cargo +nightly miri test --locked -p pviommu-hypervisor -p pviommu-capi --lib -- \
        platform:: lent:: pointers::
    cargo +nightly miri test --locked -p pviommu-testbed --lib -- cheap::stress
}

# Whether they run and what is printed; figures are worth something from a whole build on a quiet machine only.
# That of groups is a ratio with room.
step_bench() {
    need_c
    export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16
    cargo bench --locked -p pviommu-testbed --bench side_by_side -- --quick --json |
        cargo run --locked --quiet -p pviommu-testbed --example check_json
    cargo bench --locked -p pviommu-testbed --bench bfn -- --quick
    cargo bench --locked -p pviommu-testbed --bench hypercall -- --quick
    cargo bench --locked -p pviommu-testbed --bench domain -- --quick
    cargo bench --locked -p pviommu-testbed --bench replay -- --quick
    cargo bench --locked -p pviommu-testbed --bench grouping -- --quick
}

# The units of this repository are compiled as one each, so that what is inlined is the same each time; the rest is
# what the benches have built. `ICOUNT=--write ./ci.sh icount` renews the figures.
step_icount() {
    need_c
    need_valgrind
    export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16
    local package whole=()
    for package in abi hypervisor testbed; do
        whole+=(--config "profile.bench.package.pviommu-$package.codegen-units=1")
    done
    cargo bench "${whole[@]}" --locked -p pviommu-testbed --bench icount -- ${ICOUNT:+"$ICOUNT"}
}

# One replay: its last line, or all it says if it fails.
replay() {
    local said status=0
    said=$("$pviommu" replay "$@") || status=$?
    if [ "$status" != 0 ]; then
        printf '%s\nci: replay %s ended with status %s\n' "$said" "$*" "$status" >&2
        return 1
    fi
    echo "$*: ${said##*$'\n'}"
}

# The arguments of replays on these units, in batches of these sizes, over each background, flushed at once
# and lazily.
every_way() {
    local unit background batch mode
    for unit in $1; do
        for background in scratch fault; do
            for batch in $2; do
                for mode in --strict --lazy; do
                    echo "${*:3} --unit $unit --background $background --batch $batch $mode"
                done
            done
        done
    done
}

every_replay() {
    local units='vtd vtd-coherent vtd-plain amdvi amdvi-npcache' trace
    for trace in tests/traces/*.trace.gz; do
        every_way "$units" '1 128' "$trace"
    done
    every_way 'vtd-3level vtd-5level' '1 16 128' tests/traces/d0-small-strict.trace.gz
    # With stale write buffers too, which is slow.
    every_way "$units" '1 16 128' tests/traces/d0-small-strict.trace.gz --harsh
    for trace in tests/traces/*.trace.gz; do
        every_dma_replay vtd "$trace"
    done
    every_dma_replay 'vtd-coherent vtd-plain amdvi amdvi-npcache' tests/traces/d0-small-strict.trace.gz
    every_dma_replay amdvi-npcache tests/traces/d5-usb-ahci-hotplug.trace.gz
}

# The arguments of replays of the DMA API on these units, in every mode.
every_dma_replay() {
    local unit mode
    for unit in $1; do
        for mode in --strict --lazy '--reuse 2048'; do
            echo "$2 --level dma --unit $unit --background scratch $mode"
            echo "$2 --level dma --unit $unit --background fault --shares $mode"
        done
    done
}

step_replay() {
    need_c
    cargo build --locked --release -p pviommu-testbed --bin pviommu
    local how level status found
    export pviommu="${CARGO_TARGET_DIR:-target}/release/pviommu"
    export -f replay
    every_replay | xargs -P "$(nproc)" -L 1 bash -c 'replay "$@"' replay
    "$pviommu" show tests/traces/d1-nvme-strict.trace.gz --at 9000 \
        --svg "${CARGO_TARGET_DIR:-target}/show.svg" > /dev/null
    for how in skip-flush early-release first-page-only keep-stale-scratch leaf-only-on-scratch; do
        for level in iommu 'dma --strict' 'dma --lazy' 'dma --reuse 16'; do
            status=0
            # Unquoted: a level and its mode.
            found=$("$pviommu" replay --level $level --break "$how") || status=$?
            echo "--level $level --break $how: ${found##*$'\n'}"
            if [ "$status" != 1 ]; then
                echo "ci: replay --level $level --break $how ended with status $status instead of 1" >&2
                return 1
            fi
        done
    done
}

step_boot() {
    need_c
    need_bare_metal
    need_qemu
    cargo run --locked --release --quiet -p pviommu-testbed -- boot
}

# One target for so many seconds, with what else libFuzzer takes.
fuzz() {
    local target=$1 seconds=$2 seeds=$3
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "$seeds" -- "${@:4}" \
        -timeout=20 -max_total_time="$seconds" -print_final_stats=1
}

step_fuzz() {
    need_c
    need_toolchain nightly
    need_cargo_fuzz
    # 0 would be for ever.
    local seconds=$((${FUZZ_SECONDS:-6} < 1 ? 1 : ${FUZZ_SECONDS:-6}))
    # There is next to no unsafe code to watch, and without a sanitizer it is twice as fast.
    cargo +nightly fuzz build --sanitizer none
    fuzz hypercall "$seconds" fuzz/seeds/hypercall -dict=fuzz/hypercall.dict -max_len=2048
    fuzz ops "$seconds" fuzz/seeds/ops -max_len=1024
    fuzz toctou "$seconds" fuzz/seeds/toctou -dict=fuzz/toctou.dict -max_len=2048
    fuzz guest "$seconds" fuzz/seeds/guest -dict=fuzz/guest.dict -max_len=2048
    fuzz format "$seconds" fuzz/seeds/format -max_len=1024
    fuzz topology "$seconds" fuzz/seeds/topology -max_len=4096
    fuzz acpi "$seconds" hypervisor/tests/acpi/tables fuzz/seeds/acpi -max_len=2048
}

step_msrv() {
    need_c
    local version
    version=$(sed -n 's/^rust-version = "\([0-9.]*\)"$/\1/p' Cargo.toml)
    [[ $version == *.*.* ]] || version=$version.0
    need_toolchain "$version"
    cargo "+$version" check --locked "${NO_STD[@]}" -p pviommu-testbed -p pviommu-c-tests
    cargo "+$version" check --locked -p pviommu-guest --features virtio
}

step_deny() {
    need_c
    need_cargo_deny
    cargo deny --locked check bans licenses sources
    cargo deny --locked --manifest-path tests/no-panic/Cargo.toml check bans licenses sources
    cargo deny --locked --manifest-path tests/bare-metal/Cargo.toml check bans licenses sources
    cargo deny --locked --manifest-path tests/mutants/Cargo.toml check bans licenses sources
    cargo deny --locked --manifest-path fuzz/Cargo.toml check bans licenses sources
}

step_sabotage() {
    need_c
    tests/sabotage/run.sh
}

# --- running them ---

bold='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1;36m' red=$'\e[1;31m' green=$'\e[1;32m' plain=$'\e[0m'
fi

names() {
    local step
    for step in "${STEPS[@]}"; do
        echo "${step%% *}"
    done
}

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${STEPS[@]}"
    exit
fi
wanted=("$@")
[ $# -gt 0 ] || mapfile -t wanted < <(names)
known=" $(names | tr '\n' ' ')"
for name in "${wanted[@]}"; do
    if [[ $known != *" $name "* ]]; then
        echo "ci: there is no step '$name'; ./ci.sh --list names them" >&2
        exit 2
    fi
done

table=() failed=
for name in "${wanted[@]}"; do
    if [ -n "$failed" ]; then
        table+=("$(printf '%-10s %6s  not run' "$name" '-')")
        continue
    fi
    printf '%s==> %s (%d s so far)%s\n' "$bold" "$name" "$SECONDS" "$plain"
    begin=$SECONDS
    # Not as a condition: that would switch `set -e` off inside.
    set +e
    (
        set -e
        need_rust
        "step_$name"
    )
    status=$?
    set -e
    took=$((SECONDS - begin))
    if [ "$status" = 0 ]; then
        table+=("$(printf '%-10s %4d s  %sok%s' "$name" "$took" "$green" "$plain")")
    else
        failed=$name
        table+=("$(printf '%-10s %4d s  %sfailed%s' "$name" "$took" "$red" "$plain")")
    fi
done

printf '%s==> summary%s\n' "$bold" "$plain"
printf '%s\n' "${table[@]}"
if [ -n "$failed" ]; then
    printf '%sci: step %s failed after %d s%s\n' "$red" "$failed" "$SECONDS" "$plain"
    exit 1
fi
printf '%sci: all %d steps passed in %d s%s\n' "$green" "${#wanted[@]}" "$SECONDS" "$plain"
