//! Has callgrind count, and compares with the figures that are checked in.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use super::operations;

/// How much more than its figure an operation may take, in hundredths.
const TOLERANCE: u64 = 5;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/icount/figures.txt")
}

/// Instructions of one operation, for each page, in hundredths.
fn count(name: &str, pages: u64) -> u64 {
    let me = std::env::current_exe().expect("this program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*operations::counted*")
        .arg(me)
        .args(["--run", name])
        .output()
        .expect("valgrind is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let instructions = collected.and_then(|(_, count)| count.trim().parse::<u64>().ok());
    match instructions.filter(|_| output.status.success()) {
        Some(instructions) if instructions > 0 => instructions * 100 / pages,
        _ => unreachable!("callgrind said nothing of {name}: {said}"),
    }
}

fn all() -> impl Iterator<Item = (&'static str, u64)> {
    operations::ALL.iter().map(|operation| (operation.name, count(operation.name, operation.pages)))
}

/// Writes the figures of now down.
pub(crate) fn write() -> ExitCode {
    let lines: String = all().map(|(name, figure)| format!("{name} {figure}\n")).collect();
    print!("{lines}");
    fs::write(path(), lines).expect("the figures can be written");
    ExitCode::SUCCESS
}

/// Compares with the figures written down, and fails if one has grown.
pub(crate) fn compare() -> ExitCode {
    let text = fs::read_to_string(path()).expect("the figures are checked in");
    let pair = |line: &str| {
        let (name, figure) = line.split_once(' ')?;
        Some((name.to_owned(), figure.parse::<u64>().ok()?))
    };
    let figures: BTreeMap<String, u64> = text.lines().filter_map(pair).collect();
    let mut grown = 0;
    println!("{:<28} {:>10} {:>10}", "instructions a page", "now", "figure");
    for (name, now) in all() {
        let figure = figures.get(name).copied().unwrap_or(0);
        let verdict = match () {
            () if now * 100 > figure * (100 + TOLERANCE) => "  grew",
            () if now * (100 + TOLERANCE) < figure * 100 => "  shrank: --write renews the figure",
            () => "",
        };
        grown += u32::from(verdict == "  grew");
        let told = |figure: u64| format!("{}.{:02}", figure / 100, figure % 100);
        println!("{name:<28} {:>10} {:>10}{verdict}", told(now), told(figure));
    }
    if grown > 0 {
        eprintln!("icount: {grown} operations take over {TOLERANCE} % more instructions");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
