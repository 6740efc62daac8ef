//! The page about performance: runs the other benches and writes `docs/performance.md` with its plots.
//!
//! `-- --figures FILE...` takes figures that were printed with `--json` instead of measuring.

#![expect(clippy::expect_used, reason = "without figures there is no page")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use clap::Parser;
use pviommu_hypervisor::Background;
use pviommu_testbed::{
    machine::UnitKind,
    measure::{self, Figure},
};

/// Writes the page about performance.
#[derive(Parser)]
struct Arguments {
    /// Files with figures, as `--json` prints them.
    #[arg(long, num_args = 1..)]
    figures: Vec<PathBuf>,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The benches whose figures have targets.
const BENCHES: [&str; 3] = ["side_by_side", "hypercall", "domain"];

fn run(bench: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "-p", "pviommu-testbed", "--bench", bench, "--", "--json"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "{bench} failed");
    String::from_utf8(output.stdout).expect("figures are text")
}

fn first_line_of(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.to_owned())
}

/// This machine, in a line.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("an unknown CPU", |it| it.1);
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let compiler = first_line_of("rustc", "-V").unwrap_or_default();
    format!("{model}, {cpus} CPUs, {compiler}, thin LTO, one codegen unit")
}

fn main() {
    let arguments = Arguments::parse();
    let texts: Vec<String> = if arguments.figures.is_empty() {
        BENCHES.map(run).into()
    } else {
        let read = |file| fs::read_to_string(file).expect("the file can be read");
        arguments.figures.iter().map(read).collect()
    };
    let parse = |text: &String| serde_json::from_str(text).expect("figures as --json prints them");
    let figures: Vec<Figure> = texts.iter().flat_map::<Vec<Figure>, _>(parse).collect();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = here.join("../docs");
    let notes = include_str!("page/notes.md");
    let counts = measure::memory_counts(UnitKind::Vtd, Background::Fault);
    let page = measure::page(&figures, &counts, &machine(), notes);
    fs::write(docs.join("performance.md"), page).expect("the page can be written");
    for (file, title, rows) in measure::PLOTS {
        let plot = measure::plot(title, &figures, rows);
        fs::write(docs.join(file), plot).expect("the plot can be written");
    }
    println!("docs/performance.md is written");
}
