//! What every candidate is asked to do.

/// Pages of the working set: eight leaf tables, as many as a context keeps when they are empty.
pub(crate) const PAGES: u64 = 4096;

/// Pages of one call in the rows of runs: half a leaf table, so that no candidate frees one.
pub(crate) const RUN: u64 = 256;

/// The first bus frame; not in the first table of any level.
const FIRST_BFN: u64 = (1 << 27) + (1 << 18) + (1 << 9);

/// The first machine frame. One off, so that a run of frames is never aligned like its bus frames.
const FIRST_MFN: u64 = (1 << 20) + 1;

/// Bus frames, and the machine frames they are to lead to.
pub(crate) struct Work {
    /// For the rows of single pages, in order of bus frames: no two neighbours follow each other.
    pub(crate) singles: Vec<(u64, u64)>,
    /// For the rows of runs: the first of each run.
    pub(crate) runs: Vec<(u64, u64)>,
    /// All bus frames in random order.
    pub(crate) shuffled: Vec<u64>,
}

impl Work {
    pub(crate) fn new() -> Self {
        // Odd factors permute the numbers below a power of two.
        let mixed = |i: u64, factor: u64| (i * factor + 11) % PAGES;
        let bfn = |i| FIRST_BFN + i;
        let singles = (0..PAGES).map(|i| (bfn(i), FIRST_MFN + 2 * mixed(i, 1583))).collect();
        let runs = (0..PAGES).step_by(RUN as usize).map(|i| (bfn(i), FIRST_MFN + i)).collect();
        Self { singles, runs, shuffled: shuffle((0..PAGES).map(bfn).collect()) }
    }

    /// A bus frame that is never mapped.
    pub(crate) fn unmapped() -> u64 {
        FIRST_BFN + PAGES
    }
}

/// Fisher and Yates, with a fixed seed: every run measures the same.
fn shuffle(mut bfns: Vec<u64>) -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..bfns.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = (state >> 33) as usize % (last + 1);
        bfns.swap(last, other);
    }
    bfns
}
