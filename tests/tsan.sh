#!/usr/bin/env bash
# Three CPUs in the service at a time, on real ones, watched by ThreadSanitizer; needs a nightly compiler, and
# compiles the standard library. `PVIOMMU_STRESS=50 tests/tsan.sh` works fifty times as long.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rustup component list --toolchain nightly --installed | grep -q '^rust-src' ||
    rustup component add rust-src --toolchain nightly
# What is said to be synchronised by a fence is not seen as such, so the first report ends it: none is expected.
export RUSTFLAGS=-Zsanitizer=thread TSAN_OPTIONS=halt_on_error=1
cargo +nightly test --locked -Zbuild-std --target x86_64-unknown-linux-gnu -p pviommu-testbed --lib -- cheap::stress
