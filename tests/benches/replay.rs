//! The traces of real kernels on the whole stack: what they take of what cannot be timed here, and how long the
//! service has for them.
//!
//! Rows are traces; candidates say when unmaps are flushed and how many operations one hypercall has. `median_ns` is
//! the time in the service for each map or unmap, on the simulated machine, which is slow: what tells are the counts,
//! and they repeat exactly.

use std::{error::Error, fs, path::Path};

use clap::Parser;
use pviommu_testbed::{
    measure::Figure,
    replay::{self, Mode, Options, Summary},
    trace::Trace,
};
use serde::Serialize;

/// Counts what traces take.
#[derive(Parser)]
struct Arguments {
    /// The smallest trace only, and two sizes of batches.
    #[arg(long)]
    quick: bool,
    /// Print the figures as one JSON array.
    #[arg(long)]
    json: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One trace, replayed in one way.
#[derive(Serialize)]
struct Counted {
    #[serde(flatten)]
    figure: Figure,
    /// Maps and unmaps.
    ops: u64,
    hypercalls: u64,
    iotlb_flushes: u64,
    table_frames_peak: u64,
    /// Page references taken and given back: locked operations of an embedder that counts pages one by one.
    page_references: u64,
}

fn replay(trace: &Trace, mode: Mode, batch: u32, rounds: usize) -> Result<Counted, Box<dyn Error>> {
    let options = Options { mode, batch, ..Options::default() };
    let mut summary = Summary::default();
    let mut samples = Vec::new();
    for _ in 0..rounds {
        summary = replay::run(trace, &options, &mut |_| ())?;
        if !summary.is_clean() {
            return Err(format!("{}: {summary}", trace.name()).into());
        }
        samples.push(summary.ns_per_op);
    }
    let name = trace.name();
    let row = name.strip_suffix(".trace.gz").unwrap_or(name);
    let figure = Figure::new(row, &format!("{}-batch-{batch}", summary.mode), samples);
    let Summary { ops, hypercalls, iotlb_flushes, table_frames_peak, page_references, .. } =
        summary;
    Ok(Counted { figure, ops, hypercalls, iotlb_flushes, table_frames_peak, page_references })
}

fn print(counted: &[Counted]) {
    println!(
        "{:<26} {:<18} {:>8} {:>10} {:>10} {:>8} {:>10} {:>9}",
        "trace", "how", "ops", "hypercalls", "flushes", "tables", "references", "ns/op"
    );
    for one in counted {
        println!(
            "{:<26} {:<18} {:>8} {:>10} {:>10} {:>8} {:>10} {:>9.0}",
            one.figure.row,
            one.figure.candidate,
            one.ops,
            one.hypercalls,
            one.iotlb_flushes,
            one.table_frames_peak,
            one.page_references,
            one.figure.median_ns
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut paths: Vec<_> = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    paths.sort();
    let (batches, rounds): (&[u32], _) =
        if arguments.quick { (&[1, 128], 1) } else { (&[1, 16, 128], 3) };
    if arguments.quick {
        paths.truncate(1);
    }
    let mut counted = Vec::new();
    for path in &paths {
        let trace = Trace::open(path)?;
        for mode in [Mode::Strict, Mode::Lazy] {
            for batch in batches {
                counted.push(replay(&trace, mode, *batch, rounds)?);
            }
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&counted)?);
    } else {
        print(&counted);
    }
    Ok(())
}
