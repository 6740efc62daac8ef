# From what llvm-cov exports as lcov, of one program after another: how many lines there are of each crate, and how many
# of them were run. Those that were not go to the file `missed`. Fails below `least` percent.

# Where a file's own tests begin: they stand at its end.
function first_of_tests(file,    line, number, before, found) {
    while (!found && (getline line < file) > 0) {
        number++
        if (line == "mod tests {" && before ~ /^#\[cfg\(.*test/)
            found = number
        before = line
    }
    close(file)
    return found
}

function print_missed(file,    line, number) {
    while ((getline line < file) > 0) {
        number++
        if ((file, number) in ran && !ran[file, number])
            print file ":" number ": " line | sorted
    }
    close(file)
}

BEGIN {
    FS = "[:,]"
    sorted = "sort -t: -k1,1 -k2,2n > '" missed "'"
    printf "" | sorted
}

/^SF:/ {
    file = substr($0, 4)
    if (index(file, root) == 1)
        file = substr(file, length(root) + 1)
    if (!(file in tests))
        tests[file] = file !~ /^(hypervisor|abi)\/src\// || file ~ /\/tests(\/|\.rs$)/ ? 1 : first_of_tests(file)
}

# A line is run if it was in any program.
/^DA:/ && (!tests[file] || $2 < tests[file]) {
    if (!((file, $2) in ran))
        ran[file, $2] = 0
    if ($3 > 0)
        ran[file, $2] = 1
}

END {
    for (line in ran) {
        crate = line
        sub(/\/.*/, "", crate)
        lines[crate]++
        run[crate] += ran[line]
    }
    for (file in tests)
        print_missed(file)
    close(sorted)
    print "lines that no test runs: " missed
    split("hypervisor abi", crates, " ")
    for (i = 1; i in crates; i++) {
        crate = crates[i]
        # Of nothing, nothing was run: a mistake of the measurement.
        percent = lines[crate] ? 100 * run[crate] / lines[crate] : 0
        printf "%s: %d of %d lines, %.1f %%\n", crate, run[crate], lines[crate], int(10 * percent) / 10
        if (percent < least)
            failed = failed " " crate
    }
    if (failed) {
        print "coverage: less than " least " % of" failed > "/dev/stderr"
        exit 1
    }
}
