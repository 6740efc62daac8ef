#!/usr/bin/env bash
# Compares the public interface of the published crates with that of the commit in semver-baseline. For a release:
# the first run compiles the tool, which takes some minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly SEMVER_CHECKS=0.51.0
[ "$(cargo semver-checks --version 2> /dev/null)" = "cargo-semver-checks $SEMVER_CHECKS" ] ||
    cargo install cargo-semver-checks --locked --version "$SEMVER_CHECKS" --force
cargo semver-checks --baseline-rev "$(git rev-parse "$(cat docs/semver-baseline)")" \
    -p pviommu-abi -p pviommu-hypervisor -p pviommu-guest
