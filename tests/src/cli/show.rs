//! `pviommu show`: its options, its drawing, its output.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use pviommu_testbed::replay::{Options, Units};
use pviommu_testbed::show::{Picture, ShowError, Text, show, svg};
use pviommu_testbed::trace::Trace;

use super::Verdict;
use super::replay::{BUNDLED, Background, progress_bar};

/// The options of `show`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Trace to replay, plain or gzip, `-` for standard input [default: one that is built in]
    file: Option<PathBuf>,
    /// Stop after this many operations: lines M and U of the trace, from 1 on; 0 is before all
    /// [default: go to the end of the trace]
    #[arg(long, value_name = "OP")]
    at: Option<u64>,
    /// Draw a picture of it, too
    #[arg(long, value_name = "OUT.svg")]
    svg: Option<PathBuf>,
    /// List all ranges, however many
    #[arg(long)]
    all: bool,
    /// IOMMU units of the machine
    #[arg(long, value_enum, default_value_t = Units::Coherent)]
    unit: Units,
    /// What a bus address that nobody mapped hits
    #[arg(long, value_enum, default_value_t = Background::Scratch)]
    background: Background,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

/// Replays, reads the tables, and shows them.
pub(super) fn run(args: &Args) -> Result<Verdict, Box<dyn Error>> {
    let background = match args.background {
        Background::Fault => pviommu_hypervisor::Background::Fault,
        Background::Scratch => pviommu_hypervisor::Background::Scratch,
    };
    let options = Options { background, units: args.unit, ..Options::default() };
    let trace = match &args.file {
        Some(path) => Trace::open(path)?,
        None => Trace::read(BUNDLED.0, BUNDLED.1)?,
    };
    let bar = progress_bar(&trace);
    let shown = show(&trace, &options, args.at, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let (picture, summary) = shown?;
    // First, so that a path that is wrong leaves nothing on the standard output.
    if let Some(path) = &args.svg {
        std::fs::write(path, svg(&picture))
            .map_err(|error| ShowError::Unwritable { path: path.clone(), error })?;
    }
    match print(args, &picture) {
        // Who reads the first lines of a long list only has what he wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    for finding in &summary.findings {
        eprintln!("the replay went wrong: {finding}");
    }
    Ok(if summary.is_clean() { Verdict::Good } else { Verdict::Bad })
}

fn print(args: &Args, picture: &Picture) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = stdout.lock();
    if args.json {
        serde_json::to_writer(&mut out, picture)?;
        return writeln!(out);
    }
    write!(out, "{}", Text { picture, all: args.all, colour })?;
    match &args.svg {
        Some(path) => writeln!(out, "\ndrawn in {}", path.display()),
        None => Ok(()),
    }
}
