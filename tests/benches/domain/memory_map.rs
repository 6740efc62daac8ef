//! The memory map of a machine with 512 GiB and 200 holes.

use pviommu_abi::Bfn;
use pviommu_hypervisor::{
    addr::BfnRange,
    platform::{Access, InitialRun},
};

/// Pages of 512 GiB.
pub(crate) const PAGES: u64 = 1 << 27;

const HOLES: u64 = 200;

/// The runs between the holes, in order. Holes lie all over, are aligned to nothing, and have from one page to some
/// MiB.
pub(crate) fn with_holes() -> Vec<InitialRun> {
    let mut runs = Vec::new();
    let mut next = 0;
    for hole in 1..=HOLES {
        let first = hole * (PAGES / (HOLES + 1)) + hole * 7919 % 509;
        let pages = 1 + hole * 31 % 2000;
        runs.push(run(next, first - 1));
        next = first + pages;
    }
    runs.push(run(next, PAGES - 1));
    runs
}

fn run(first: u64, last: u64) -> InitialRun {
    InitialRun { bfns: BfnRange::new(Bfn(first), Bfn(last)).unwrap(), access: Access::all() }
}
