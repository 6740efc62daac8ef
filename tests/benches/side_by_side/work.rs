//! What every candidate is asked to do.

/// Pages of the working set that fits into a second-level cache: four leaf tables. With the four above of these and of
/// [`LARGE_LEAVES`], they are as many as a context keeps when they are empty.
pub(crate) const SMALL: u64 = 2048;

/// Pages of the one that does not: leaf tables of 4 MiB.
pub(crate) const BEYOND_L2: u64 = 1 << 19;

/// Pages of one call in the rows of runs: half a leaf table, so that no candidate frees one.
pub(crate) const RUN: u64 = 256;

/// Pages of one call in the other rows of runs: a whole leaf table.
pub(crate) const TABLE: u64 = 512;

/// Pages of a large leaf.
pub(crate) const LARGE_PAGES: u64 = 512;

/// Large leaves of the smaller working set: they fill two tables.
pub(crate) const LARGE_LEAVES: u64 = 1024;

/// The first bus frame; not in the first table of any level.
const FIRST_BFN: u64 = (1 << 27) + (1 << 18) + (1 << 9);

/// The first bus frame of large leaves, where no table of small ones ever is but the one that both are below.
const FIRST_LARGE: u64 = (1 << 27) + (1 << 26);

/// The first machine frame. One off, so that a run of frames is never aligned like its bus frames.
const FIRST_MFN: u64 = (1 << 20) + 1;

/// Bus frames, and the machine frames they are to lead to.
pub(crate) struct Work {
    /// Number of pages.
    pub(crate) pages: u64,
    /// For the rows of single pages, in order of bus frames: no two neighbours follow each other.
    pub(crate) singles: Vec<(u64, u64)>,
    /// For the rows of large leaves.
    pub(crate) large: Vec<(u64, u64)>,
    /// All bus frames in random order.
    pub(crate) shuffled: Vec<u64>,
    halves: Vec<(u64, u64)>,
    tables: Vec<(u64, u64)>,
}

impl Work {
    /// Work on so many pages, a power of two.
    pub(crate) fn new(pages: u64) -> Self {
        // Odd factors permute the numbers below a power of two.
        let mixed = |i: u64, factor: u64| (i * factor + 11) % pages;
        let bfn = |i| FIRST_BFN + i;
        let runs = |of: u64| (0..pages).step_by(of as usize).map(|i| (bfn(i), FIRST_MFN + i));
        let large = (pages / 8).max(LARGE_LEAVES);
        let large_frame = |i: u64| (1 << 24) + (i * 37 + 5) % large * LARGE_PAGES;
        Self {
            pages,
            singles: (0..pages).map(|i| (bfn(i), FIRST_MFN + 2 * mixed(i, 1583))).collect(),
            large: (0..large).map(|i| (FIRST_LARGE + i * LARGE_PAGES, large_frame(i))).collect(),
            shuffled: shuffle((0..pages).map(bfn).collect()),
            halves: runs(RUN).collect(),
            tables: runs(TABLE).collect(),
        }
    }

    /// For the rows of runs of so many pages: the first of each.
    pub(crate) fn runs(&self, pages: u64) -> &[(u64, u64)] {
        if pages == RUN { &self.halves } else { &self.tables }
    }

    /// A bus frame that is never mapped.
    pub(crate) fn unmapped(&self) -> u64 {
        FIRST_BFN + self.pages
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
