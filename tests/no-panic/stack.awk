# How deep the stack can get below each entry of the program that is disassembled on standard input, over every
# path there is: the frames of the functions on it and the addresses to return to.
#
# -v bound=BYTES       the most that entries named in `gated` may take, of them the one in `first` is shown whole
# -v gated='a b c'     entries, by the ends of their names
# -v others=BYTES      the most that all other entries may take
# -v levels=N          how often a function that calls itself is in a path at most: once a level of the table

function hex(text,    value, i) {
    value = 0
    for (i = 1; i <= length(text); i++)
        value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}

function fail(text) {
    print "stack: " text > "/dev/stderr"
    failed = 1
}

# The address behind what is disassembled of a jump or call, without zeros in front.
function address(text) {
    sub(/^0+/, "", text)
    return text
}

/^[0-9a-f]+ <.*>:$/ {
    at = address($1)
    name[at] = $0
    sub(/^[0-9a-f]+ </, "", name[at])
    sub(/>:$/, "", name[at])
    frame[at] = 0
    next
}

at == "" || !/^ *[0-9a-f]+:\t/ { next }

{
    line = $0
    sub(/^ *[0-9a-f]+:\t/, "", line)
    operation = line
    sub(/[ \t].*/, "", operation)
    operands = substr(line, length(operation) + 1)
    sub(/^[ \t]+/, "", operands)
}

operation == "push" { frame[at] += 8 }
operation == "sub" && operands ~ /,%rsp$/ {
    if (operands !~ /^\$0x/) { fail(name[at] " takes an amount of stack that is found out at run time"); next }
    sub(/^\$0x/, "", operands)
    sub(/,.*/, "", operands)
    frame[at] += hex(operands)
    next
}
# Aligned by hand: as much as that can take.
operation == "and" && operands ~ /,%rsp$/ { frame[at] += 128 }

operation == "call" && operands ~ /^[0-9a-f]+ </ { calls[at] = calls[at] " " operands_address() }
# By way of a table of addresses: `memcpy` and its like, which take none. Others are not known here.
operation == "call" && operands ~ /^\*/ && operands !~ /\(%rip\)/ { unknown[at] = 1 }
operation ~ /^j/ && operands ~ /^[0-9a-f]+ <[^+]*>$/ { jumps[at] = jumps[at] " " operands_address() }

function operands_address(    text) {
    text = operands
    sub(/ .*/, "", text)
    return address(text)
}

# The most stack from the beginning of a function on; `path` says by which functions.
function deepest(f,    list, count, i, own, below, best, what, again) {
    if (f in known)
        return known[f]
    if (f in open) {
        loops[f] = 1
        return 0
    }
    open[f] = 1
    own = frame[f]
    best = 0
    what = ""
    again = 0
    count = split(calls[f], list, " ")
    for (i = 1; i <= count; i++) {
        if (list[i] == f) { again = 1; continue }
        if (!(list[i] in name)) { fail(name[f] " calls what is not there: " list[i]); continue }
        below = deepest(list[i]) + 8
        if (below > best) { best = below; what = list[i] }
    }
    if (again) {
        repeats[f] = 1
        own = (own + 8) * levels - 8
    }
    best += own
    count = split(jumps[f], list, " ")
    for (i = 1; i <= count; i++) {
        if (list[i] == f || !(list[i] in name))
            continue
        below = deepest(list[i])
        if (below > best) { best = below; what = list[i] }
    }
    delete open[f]
    if (f in loops)
        fail("functions call each other in a circle: " name[f])
    next_in[f] = what
    cost[f] = own
    return known[f] = best
}

# What cannot be followed, on any path from here.
function check(f,    list, count, i) {
    if (f in checked)
        return
    checked[f] = 1
    # The embedder's logger: what it takes is its own.
    if (f in unknown && name[f] !~ /^log::|::notices::|::tell_risks|::tell_storm/)
        fail(name[f] " calls a function that is found out at run time")
    if (f in repeats && name[f] !~ /::(missing_for|take_out_of|prune_handle_table)$/)
        fail(name[f] " calls itself, and nobody has said how often")
    count = split(calls[f] jumps[f], list, " ")
    for (i = 1; i <= count; i++)
        if (list[i] in name)
            check(list[i])
}

function short(text) {
    gsub(/<impl [^<>]*(<[^<>]*>)?[^<>]*>::/, "", text)
    gsub(/pviommu_hypervisor::/, "", text)
    return text
}

END {
    wanted = split(gated, list, " ")
    for (i = 1; i <= wanted; i++)
        is_gated["pviommu_no_panic::" list[i]] = 1
    found = 0
    for (f in name) {
        if (name[f] !~ /^pviommu_no_panic::[a-z]+::[a-z_]+$/)
            continue
        bytes = deepest(f)
        entry = name[f]
        if (entry in is_gated) {
            found++
            check(f)
            if (bytes > worst) { worst = bytes; worst_at = f }
            if (bytes > bound)
                fail(entry " takes " bytes " bytes of stack, more than " bound)
        } else if (bytes > others)
            fail(entry " takes " bytes " bytes of stack, more than " others)
        sub(/^pviommu_no_panic::/, "", entry)
        printf "%6d  %s\n", bytes, entry | "sort -rn"
    }
    close("sort -rn")
    if (found != wanted)
        fail(found " of " wanted " entries are there")
    print "the deepest of those that are bound to " bound ":"
    for (f = worst_at; f != ""; f = next_in[f])
        printf "%6d  %s%s\n", cost[f], short(name[f]), f in repeats ? " (" levels " times)" : ""
    exit failed
}
