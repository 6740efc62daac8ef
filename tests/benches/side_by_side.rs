//! The service's table next to two published page-table crates, in one process.
//!
//! Candidates take turns round by round, so that what disturbs the machine disturbs all of them.
//! Figures are nanoseconds per 4 KiB page; only ratios of one run mean anything.
//!
//! Tables are warm and fit into a second-level cache. No large page can form: pages mapped one at
//! a time are scattered, and runs start one frame off. Ours does what a call of the service does:
//! it takes and releases the lock bit, and collects what must be flushed and given back.
//! The others keep no account of pages, and assume that nobody else writes the table.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a candidate that refuses a mapping has no figure"
)]

#[path = "side_by_side/aarch64.rs"]
mod aarch64;
#[path = "side_by_side/arena.rs"]
mod arena;
#[path = "side_by_side/candidate.rs"]
mod candidate;
#[path = "side_by_side/multiarch.rs"]
mod multiarch;
#[path = "side_by_side/ours.rs"]
mod ours;
#[path = "side_by_side/report.rs"]
mod report;
#[path = "side_by_side/rounds.rs"]
mod rounds;
#[path = "side_by_side/work.rs"]
mod work;

use clap::Parser;
use pviommu_hypervisor::format::{AmdV1, VtdSecondStage};

use aarch64::Aarch64Paging;
use multiarch::Multiarch;
use ours::Ours;
use rounds::{Effort, Round};
use work::Work;

/// Measures page-table implementations side by side.
#[derive(Parser)]
struct Arguments {
    /// Fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// Print the figures as one JSON array.
    #[arg(long)]
    json: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let work = Work::new();
    let mut vtd = Ours::<VtdSecondStage>::new();
    let mut amd = Ours::<AmdV1>::new();
    let mut multiarch = Multiarch::new();
    let mut aarch64 = Aarch64Paging::new();
    candidate::check(&mut vtd, &work);
    candidate::check(&mut amd, &work);
    candidate::check(&mut multiarch, &work);
    candidate::check(&mut aarch64, &work);

    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let mut candidates: [&mut dyn Round; 4] = [&mut vtd, &mut amd, &mut multiarch, &mut aarch64];
    let figures = rounds::measure(&mut candidates, &work, effort);
    if arguments.json {
        println!("{}", report::json(&figures));
    } else {
        print!("{}", report::table(&figures));
    }
}
