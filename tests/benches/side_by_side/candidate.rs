//! What a candidate must be able to do, and the proof that it does it.

use super::work::{RUN, Work};

/// A page table. Frames are numbers of 4 KiB frames; a call that cannot be served panics.
pub(crate) trait Candidate {
    /// Its name in the figures.
    const NAME: &'static str;

    /// Maps one page.
    fn map_one(&mut self, bfn: u64, mfn: u64);

    /// Unmaps one page.
    fn unmap_one(&mut self, bfn: u64);

    /// Maps [`RUN`] pages to frames that follow each other, by one call.
    fn map_run(&mut self, bfn: u64, mfn: u64);

    /// Unmaps [`RUN`] pages by one call.
    fn unmap_run(&mut self, bfn: u64);

    /// The frame that `bfn` leads to.
    fn lookup(&self, bfn: u64) -> Option<u64>;
}

/// Has every operation done once and looks at what came of it.
pub(crate) fn check<C: Candidate>(candidate: &mut C, work: &Work) {
    for &(bfn, mfn) in &work.singles {
        candidate.map_one(bfn, mfn);
    }
    for &(bfn, mfn) in &work.singles {
        assert_eq!(candidate.lookup(bfn), Some(mfn), "{}: {bfn:#x}", C::NAME);
    }
    assert_eq!(candidate.lookup(Work::unmapped()), None, "{}", C::NAME);
    for &(bfn, _) in &work.singles {
        candidate.unmap_one(bfn);
    }
    check_empty(candidate, work);

    for &(bfn, mfn) in &work.runs {
        candidate.map_run(bfn, mfn);
    }
    for &(bfn, mfn) in &work.runs {
        for i in 0..RUN {
            assert_eq!(candidate.lookup(bfn + i), Some(mfn + i), "{}: {bfn:#x} + {i}", C::NAME);
        }
    }
    for &(bfn, _) in &work.runs {
        candidate.unmap_run(bfn);
    }
    check_empty(candidate, work);
}

fn check_empty<C: Candidate>(candidate: &C, work: &Work) {
    for &bfn in &work.shuffled {
        assert_eq!(candidate.lookup(bfn), None, "{}: {bfn:#x}", C::NAME);
    }
}
