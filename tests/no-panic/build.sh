# How the program is built, for the checks of it.

readonly target=x86_64-unknown-none

# Calls go where they say, not by way of a table of addresses: so the disassembly tells them.
build() {
    local features=() flags=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        features+=("$1")
        shift
    done
    [ $# = 0 ] || flags=("${@:2}")
    cargo rustc --quiet --locked --release --target "$target" ${features[@]+"${features[@]}"} -- \
        -C relocation-model=static ${flags[@]+"${flags[@]}"}
}

binary() {
    local directory
    directory=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
    echo "$directory/$target/release/pviommu-no-panic"
}
