//! `pviommu replay`: its options, its progress bar, its output.

use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use pviommu_testbed::machine;
use pviommu_testbed::replay::{self, Level, Mode, Options, Summary, Units};
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
    /// Which lines of the trace are replayed
    #[arg(long, value_enum, default_value_t = Of::Iommu)]
    level: Of,
    /// IOMMU units of the machine
    #[arg(long, value_enum, default_value_t = Units::Mixed)]
    unit: Units,
    /// What a bus address that nobody mapped hits
    #[arg(long, value_enum, default_value_t = Background::Scratch)]
    background: Background,
    /// Most operations of one hypercall; 1: the calls of RFC v7, one for each operation
    ///
    /// Above 1 the operations of a domain wait for one batch, up to the end of a batch of maps
    /// (P), the flush of an unmap, or whatever else needs them done. Above 128 it takes several
    /// hypercalls, since a batch is one page. At level dma the driver makes its own batches.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Flush before each unmap returns [default: as the trace was recorded]
    #[arg(long, conflicts_with = "lazy")]
    strict: bool,
    /// Unmap without a flush, and flush later [default: as the trace was recorded]
    ///
    /// The flush of a domain that had a flush queue comes where the trace has it (A, S); of others
    /// at A and after 256 unmaps. The service flushes by itself at its limit of pages, and before
    /// a map returns of what waits. At level dma the driver flushes within its own bounds.
    #[arg(long)]
    lazy: bool,
    /// Keep up to so many mappings of each device alive after their unmap; at level dma only
    ///
    /// At most 4096. Buffers of the same pages and direction are mapped again without a hypercall.
    #[arg(long, value_name = "N", conflicts_with_all = ["strict", "lazy"], value_parser = kept)]
    reuse: Option<NonZeroUsize>,
    /// Map pages that another domain grants, and foreign pages, now and then; at level dma only
    ///
    /// They are unmapped at once, whatever the mode is. Their hypercalls are counted as all others.
    #[arg(long)]
    shares: bool,
    /// Have units read the tables as they were when their write buffer was last flushed; takes up to
    /// a hundred times as long
    #[arg(long)]
    harsh: bool,
    /// Break the machine on purpose: the checks must notice, and the exit status be 1
    #[arg(long = "break", value_enum, value_name = "HOW")]
    sabotage: Option<Break>,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
}

/// Most mappings that can be kept for a device.
const MOST_KEPT: usize = 4096;

fn kept(text: &str) -> Result<NonZeroUsize, String> {
    let kept = text.parse().ok().filter(|kept: &NonZeroUsize| kept.get() <= MOST_KEPT);
    kept.ok_or_else(|| format!("expected 1 to {MOST_KEPT}"))
}

/// Which lines of the trace are replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Of {
    /// Maps and unmaps of the kernel, as they are recorded
    Iommu,
    /// What drivers asked the DMA API for, by that of the guest driver
    Dma,
}

impl From<Of> for Level {
    fn from(level: Of) -> Self {
        match level {
            Of::Iommu => Self::Iommu,
            Of::Dma => Self::Dma,
        }
    }
}

/// What a bus address that nobody mapped hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Background {
    /// A scratch page: the access succeeds and does no harm
    Scratch,
    /// Nothing: the access faults
    Fault,
}

impl From<Background> for pviommu_hypervisor::Background {
    fn from(background: Background) -> Self {
        match background {
            Background::Scratch => Self::Scratch,
            Background::Fault => Self::Fault,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Break {
    /// Invalidations are reported done and not done
    SkipFlush,
    /// Pages are given back before the invalidation
    EarlyRelease,
    /// Only the first page of a range is checked when its pages are acquired
    FirstPageOnly,
    /// Invalidations spare what leads to a scratch page; not with --background fault
    KeepStaleScratch,
    /// Invalidations of tables forget leaves only; not with --background fault
    LeafOnlyOnScratch,
}

impl From<Break> for machine::Break {
    fn from(how: Break) -> Self {
        match how {
            Break::SkipFlush => Self::SkipFlush,
            Break::EarlyRelease => Self::EarlyRelease,
            Break::FirstPageOnly => Self::FirstPageOnly,
            Break::KeepStaleScratch => Self::KeepStaleScratch,
            Break::LeafOnlyOnScratch => Self::LeafOnlyOnScratch,
        }
    }
}

impl Args {
    fn options(&self) -> Options {
        let mode = match (self.reuse, self.strict, self.lazy) {
            (Some(kept), ..) => Mode::Reuse(kept),
            (None, true, _) => Mode::Strict,
            (None, false, true) => Mode::Lazy,
            (None, false, false) => Mode::AsRecorded,
        };
        let usual = Options::default();
        let harshness = if self.harsh { machine::Harshness::ALL } else { usual.harshness };
        Options {
            level: self.level.into(),
            sabotage: self.sabotage.map(machine::Break::from),
            background: self.background.into(),
            batch: self.batch,
            mode,
            shares: self.shares,
            units: self.unit,
            harshness,
            ..usual
        }
    }
}

/// Replays, and says what was found.
pub(super) fn run(args: &Args) -> Result<Verdict, Box<dyn Error>> {
    let options = args.options();
    let trace = match &args.file {
        Some(path) => Trace::open(path)?,
        None => Trace::read(BUNDLED.0, BUNDLED.1)?,
    };
    let bar = progress_bar(&trace);
    let result = replay::run(&trace, &options, &mut |done| bar.set_position(done as u64));
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
