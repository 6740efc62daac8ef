#!/usr/bin/env bash
# Mutation tests of the service, all mutants in one build; writes docs/mutants.md. `run.sh MODULE...` tests some parts of
# hypervisor/src only, `run.sh --help` says what else there is. Needs cargo-mutants, which CARGO_MUTANTS may name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
work=${CARGO_TARGET_DIR:-target}/mutants
CARGO_TARGET_DIR=$work/tool cargo build --quiet --locked --manifest-path tests/mutants/Cargo.toml
exec "$work/tool/debug/pviommu-mutants" --work "$work" "$@"
