//! The service's table next to published crates and to two floors, in one process.
//!
//! Candidates take turns round by round, so that what disturbs the machine disturbs all of them.
//! Figures are nanoseconds per 4 KiB page, per 2 MiB in the rows `2m`; only ratios of one run mean anything.
//!
//! Tables are warm. The working set fits into a second-level cache, that of the rows `-large` does not. No large
//! page can form where small ones are asked for: pages mapped one at a time are scattered, and runs start one frame
//! off. Ours does what a call of the service does: it takes and releases the lock bit, and collects what must
//! be flushed and given back; large leaves that follow each other go in and out eight at a time, as those of one call do. The others keep no account of pages, and all but the checked floor assume that
//! nobody else writes the table.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a candidate that refuses a mapping has no figure"
)]

#[path = "side_by_side/aarch64.rs"]
mod aarch64;
#[path = "side_by_side/candidate.rs"]
mod candidate;
#[path = "side_by_side/checked_floor.rs"]
mod checked_floor;
#[path = "side_by_side/intervals.rs"]
mod intervals;
#[path = "side_by_side/iotlb.rs"]
mod iotlb;
#[path = "side_by_side/multiarch.rs"]
mod multiarch;
#[path = "side_by_side/ours.rs"]
mod ours;
#[path = "side_by_side/raw_floor.rs"]
mod raw_floor;
#[path = "side_by_side/rounds.rs"]
mod rounds;
#[path = "side_by_side/work.rs"]
mod work;
#[path = "side_by_side/x86.rs"]
mod x86;

use clap::Parser;
use pviommu_hypervisor::format::{AmdV1, VtdSecondStage};
use pviommu_testbed::measure::{self, Case, Effort, Figure};

use candidate::Candidate;
use rounds::Passes;
use work::{BEYOND_L2, SMALL, Work};

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

/// All candidates on one working set.
fn measure(work: &Work, effort: Effort) -> Vec<Figure> {
    let tables = work.pages / 512 + work.large.len() as u64 / 512 + 64;
    let frames = usize::try_from(tables).unwrap();
    let mut vtd = checked(ours::Ours::<VtdSecondStage>::new(frames), work);
    let mut amd = checked(ours::Ours::<AmdV1>::new(frames), work);
    let mut multiarch = checked(multiarch::Multiarch::new(), work);
    let mut aarch64 = checked(aarch64::Aarch64Paging::new(), work);
    let mut x86 = checked(x86::X86::new(), work);
    let mut iotlb = checked(iotlb::VmMemory::new(), work);
    let mut intervals = checked(intervals::Intervals::new(), work);
    let mut raw = checked(raw_floor::RawFloor::new(work), work);
    let mut floor = checked(checked_floor::CheckedFloor::new(frames), work);
    let mut cases: [&mut dyn Case; 9] = [
        &mut vtd,
        &mut amd,
        &mut multiarch,
        &mut aarch64,
        &mut x86,
        &mut iotlb,
        &mut intervals,
        &mut raw,
        &mut floor,
    ];
    measure::take_turns(&mut cases, effort)
}

fn checked<C: Candidate>(mut candidate: C, work: &Work) -> Passes<'_, C> {
    candidate::check(&mut candidate, work);
    Passes { candidate, work }
}

fn main() {
    let arguments = Arguments::parse();
    let (small, large, beyond) = if arguments.quick {
        (Effort { rounds: 7, passes: 5 }, Effort { rounds: 1, passes: 1 }, BEYOND_L2 / 4)
    } else {
        (Effort { rounds: 41, passes: 16 }, Effort { rounds: 7, passes: 1 }, BEYOND_L2)
    };
    let mut figures = measure(&Work::new(SMALL), small);
    figures.extend(measure(&Work::new(beyond), large));
    if arguments.json {
        println!("{}", measure::json(&figures));
    } else {
        print!("{}", measure::table(&figures));
    }
}
