#!/usr/bin/env bash
# Checks AUDIT.md: every lesson has its row, and every test, patch and step that a row names is there and
# was run. `audit.sh LOG LOOM_LOG`: what `cargo test` and the models said last; the second may be missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$1 loom_log=${2:-}
# Numbers are grouped, and not contiguous.
known=$(
    printf 'INV-%02d\n' {1..15} {20..27} {30..34} {40..48} {50..63} {70..72}
    printf 'D%s\n' {1..21} 7b 19b
)
failed=0
wrong() {
    echo "audit: $*" >&2
    failed=1
}

# --- the numbers: each one once, no other ---

rows=$(sed -nE 's/^\| *(INV-[0-9]+|D[0-9]+b?) *\|.*/\1/p' AUDIT.md)
while read -r number; do
    [ -z "$number" ] || wrong "AUDIT.md has no row for $number"
done < <(comm -23 <(sort <<< "$known") <(sort -u <<< "$rows"))
while read -r number; do
    [ -z "$number" ] || wrong "AUDIT.md has a row for $number, which does not exist"
done < <(comm -13 <(sort <<< "$known") <(sort -u <<< "$rows"))
while read -r number; do
    [ -z "$number" ] || wrong "AUDIT.md has more than one row for $number"
done < <(sort <<< "$rows" | uniq -d)
while IFS=: read -r file line number; do
    grep -qx -- "$number" <<< "$known" || wrong "$file:$line cites $number, which does not exist"
done < <(grep -rnoE 'INV-[0-9]+' abi guest-driver hypervisor tests fuzz ./*.md ci.sh \
    --include=*.rs --include=*.md --include=*.sh --include=*.patch)

# --- what is said to hold them ---

# `binary::path`: the binary is named as cargo names it before its tests, a library's by its crate.
awk '
    / Running (unittests |tests\/)/ {
        binary = $NF
        sub(/^.*\//, "", binary)
        sub(/-[0-9a-f]+(\.exe)?\)$/, "", binary)
    }
    / Doc-tests / { binary = "doc-tests" }
    /^test .* \.\.\. / {
        name = $2
        print binary "::" name, $NF
    }
' "$log" > "$log.names"
if [ -n "$loom_log" ] && [ -e "$loom_log" ]; then
    awk '/^test model::/ { name = $2; sub(/^model::/, "", name); print "loom::" name, $NF }' "$loom_log"
else
    # The models were not run: at least they are there.
    grep -rhoE '^(    )?fn loom_[a-z0-9_]+' hypervisor/src/model -r --include=*.rs |
        sed -E 's/^ *fn //' | while read -r name; do
        file=$(grep -rlE "fn $name\(" hypervisor/src/model)
        file=${file#hypervisor/src/model/} file=${file%.rs}
        echo "loom::${file//\//::}::$name ok"
    done
fi >> "$log.names"

declare -A said
while read -r name end; do
    said[$name]=$end
done < "$log.names"
binaries=$(sed -E 's/::.*//' "$log.names" | sort -u)
steps=$(./ci.sh --list | sed 's/ .*//')
rows=0
while IFS='|' read -r _ number _ held rest; do
    number=${number// /} rows=$((rows + 1)) evidence=0
    while read -r name; do
        case $name in
            'ci.sh '*)
                grep -qx -- "${name#ci.sh }" <<< "$steps" || wrong "$number: ci.sh has no step '${name#ci.sh }'"
                evidence=1
                ;;
            sabotage/*)
                [ -e "tests/$name.patch" ] || wrong "$number: there is no patch tests/$name.patch"
                ;;
            [A-Z]*::*) ;; # something of Rust's
            *::*)
                if [ "${said[$name]:-}" = ok ]; then
                    evidence=1
                elif ! grep -qx -- "${name%%::*}" <<< "$binaries"; then
                    wrong "$number: no test binary '${name%%::*}' was run, of $name"
                elif [ -n "${said[$name]:-}" ]; then
                    wrong "$number: $name did not pass"
                else
                    wrong "$number: there is no test $name"
                fi
                ;;
        esac
    done < <(grep -oE '`[^`]+`' <<< "$held$rest" | tr -d '`')
    if [ "$evidence" = 0 ] && [[ $held != *'cannot apply here'* ]]; then
        wrong "$number: nothing that is run holds it"
    fi
done < <(grep -E '^\| *(INV-[0-9]+|D[0-9]+b?) *\|' AUDIT.md)

[ "$failed" = 0 ] || exit 1
echo "audit: $rows lessons, each held by something that was run"
