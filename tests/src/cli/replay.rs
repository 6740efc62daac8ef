//! `pviommu replay`: its options, its progress bar, its output.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use pviommu_testbed::machine;
use pviommu_testbed::replay::{self, Options, Summary};
use pviommu_testbed::trace::Trace;

use super::Verdict;

/// What is replayed when no file is given: disks, USB, and devices that come and go.
pub(super) const BUNDLED: (&str, &[u8]) =
    ("d5-usb-ahci-hotplug.trace.gz", include_bytes!("../../traces/d5-usb-ahci-hotplug.trace.gz"));

/// The options of `replay`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Trace to replay, plain or gzip, `-` for standard input [default: one that is built in]
    file: Option<PathBuf>,
    /// Kind of IOMMU in the machine
    #[arg(long, value_enum, default_value_t = Unit::Vtd)]
    unit: Unit,
    /// What a bus address that nobody mapped hits
    #[arg(long, value_enum, default_value_t = Background::Fault)]
    background: Background,
    /// Most operations of one hypercall (more than 1 is not built yet)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Invalidate before each unmap returns (the default)
    #[arg(long, conflicts_with = "lazy")]
    strict: bool,
    /// Put invalidations off (not built yet)
    #[arg(long)]
    lazy: bool,
    /// Break the machine on purpose: the checks must notice, and the exit status be 1
    #[arg(long = "break", value_enum, value_name = "HOW")]
    sabotage: Option<Break>,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Unit {
    /// Intel VT-d
    Vtd,
    /// AMD-Vi (not built yet)
    Amdvi,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Background {
    /// A scratch page (not built yet)
    Scratch,
    /// Nothing: the access faults
    Fault,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Break {
    /// Invalidations are reported done and not done
    SkipFlush,
    /// Pages are given back before the invalidation
    EarlyRelease,
    /// Only the first page of a range is checked when its pages are acquired
    FirstPageOnly,
}

impl Args {
    /// The first option that is known and not built yet, with what there is instead.
    fn not_built(&self) -> Option<String> {
        let missing = |option: &str, there: &str| {
            Some(format!("{option} is not built yet; expected {there}"))
        };
        match self {
            Self { unit: Unit::Amdvi, .. } => missing("--unit amdvi", "--unit vtd"),
            Self { background: Background::Scratch, .. } => {
                missing("--background scratch", "--background fault")
            }
            Self { batch: 2.., .. } => missing(&format!("--batch {}", self.batch), "--batch 1"),
            Self { lazy: true, .. } => missing("--lazy", "--strict"),
            _ => None,
        }
    }

    fn options(&self) -> Options {
        let sabotage = self.sabotage.map(|how| match how {
            Break::SkipFlush => machine::Break::SkipFlush,
            Break::EarlyRelease => machine::Break::EarlyRelease,
            Break::FirstPageOnly => machine::Break::FirstPageOnly,
        });
        Options { sabotage, ..Options::default() }
    }
}

/// Replays, and says what was found.
pub(super) fn run(args: &Args) -> Result<Verdict, Box<dyn Error>> {
    if let Some(missing) = args.not_built() {
        return Err(missing.into());
    }
    let trace = match &args.file {
        Some(path) => Trace::open(path)?,
        None => Trace::read(BUNDLED.0, BUNDLED.1)?,
    };
    let bar = progress_bar(&trace);
    let result = replay::run(&trace, &args.options(), &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let summary = result?;
    print(&trace, &summary, args.json)?;
    Ok(if summary.is_clean() { Verdict::Good } else { Verdict::Bad })
}

/// A bar on the standard error; hidden where that is no terminal.
pub(super) fn progress_bar(trace: &Trace) -> ProgressBar {
    let bar = ProgressBar::new(trace.events.len() as u64);
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} events, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_message(trace.name().to_owned());
    bar
}

fn print(trace: &Trace, summary: &Summary, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, summary)?;
        return writeln!(out);
    }
    if !trace.header.what.is_empty() {
        writeln!(out, "{}: {}", trace.name(), trace.header.what)?;
    }
    writeln!(out, "{summary}")
}
