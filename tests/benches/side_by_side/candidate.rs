//! What a candidate must be able to do, and the proof that it does it.

use std::hint::black_box;

use super::work::{LARGE_PAGES, RUN, TABLE, Work};

/// A page table. Frames are numbers of 4 KiB frames; a call that cannot be served panics.
pub(crate) trait Candidate {
    /// Its name in the figures.
    const NAME: &'static str;

    /// Whether it has calls for runs of pages whose frames are scattered.
    const MAPS_LISTS: bool = false;

    /// Maps one page.
    fn map_one(&mut self, bfn: u64, mfn: u64);

    /// Unmaps one page.
    fn unmap_one(&mut self, bfn: u64);

    /// Maps `pages` pages to frames that follow each other, by one call.
    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64);

    /// Unmaps `pages` pages by one call.
    fn unmap_run(&mut self, bfn: u64, pages: u64);

    /// Maps 2 MiB by one large leaf.
    fn map_large(&mut self, bfn: u64, mfn: u64);

    /// Unmaps 2 MiB that one large leaf maps.
    fn unmap_large(&mut self, bfn: u64);

    /// The frame that `bfn` leads to.
    fn lookup(&self, bfn: u64) -> Option<u64>;

    /// Maps pages one by one.
    fn map_ones(&mut self, pages: &[(u64, u64)]) {
        for &(bfn, mfn) in pages {
            self.map_one(bfn, mfn);
        }
    }

    /// Unmaps pages one by one.
    fn unmap_ones(&mut self, pages: &[(u64, u64)]) {
        for &(bfn, _) in pages {
            self.unmap_one(bfn);
        }
    }

    /// Looks pages up one by one; each answer is wanted.
    #[inline]
    fn lookup_ones(&self, bfns: impl Iterator<Item = u64>) {
        for bfn in bfns {
            black_box(self.lookup(bfn));
        }
    }

    /// Maps large leaves one by one.
    fn map_larges(&mut self, leaves: &[(u64, u64)]) {
        for &(bfn, mfn) in leaves {
            self.map_large(bfn, mfn);
        }
    }

    /// Unmaps large leaves one by one.
    fn unmap_larges(&mut self, leaves: &[(u64, u64)]) {
        for &(bfn, _) in leaves {
            self.unmap_large(bfn);
        }
    }

    /// Maps pages that follow each other to frames that do not, by one call.
    fn map_list(&mut self, _pages: &[(u64, u64)]) {
        unreachable!("{} has no such call", Self::NAME)
    }
}

/// Has every operation done once and looks at what came of it.
pub(crate) fn check<C: Candidate>(candidate: &mut C, work: &Work) {
    candidate.map_ones(&work.singles);
    for &(bfn, mfn) in &work.singles {
        assert_eq!(candidate.lookup(bfn), Some(mfn), "{}: {bfn:#x}", C::NAME);
    }
    assert_eq!(candidate.lookup(work.unmapped()), None, "{}", C::NAME);
    candidate.unmap_ones(&work.singles);
    check_empty(candidate, work);

    for pages in [RUN, TABLE] {
        for &(bfn, mfn) in work.runs(pages) {
            candidate.map_run(bfn, mfn, pages);
        }
        for &(bfn, mfn) in work.runs(pages) {
            for i in 0..pages {
                assert_eq!(candidate.lookup(bfn + i), Some(mfn + i), "{}: {bfn:#x} + {i}", C::NAME);
            }
        }
        for &(bfn, _) in work.runs(pages) {
            candidate.unmap_run(bfn, pages);
        }
        check_empty(candidate, work);
    }

    if C::MAPS_LISTS {
        for list in work.singles.chunks(RUN as usize) {
            candidate.map_list(list);
        }
        for &(bfn, mfn) in &work.singles {
            assert_eq!(candidate.lookup(bfn), Some(mfn), "{}: {bfn:#x}", C::NAME);
        }
        for list in work.singles.chunks(RUN as usize) {
            candidate.unmap_run(list[0].0, RUN);
        }
        check_empty(candidate, work);
    }

    candidate.map_larges(&work.large);
    for &(bfn, mfn) in &work.large {
        for i in [0, 1, LARGE_PAGES - 1] {
            assert_eq!(candidate.lookup(bfn + i), Some(mfn + i), "{}: {bfn:#x} + {i}", C::NAME);
        }
    }
    candidate.unmap_larges(&work.large);
    for &(bfn, _) in &work.large {
        assert_eq!(candidate.lookup(bfn), None, "{}: {bfn:#x}", C::NAME);
    }
}

fn check_empty<C: Candidate>(candidate: &C, work: &Work) {
    for &bfn in &work.shuffled {
        assert_eq!(candidate.lookup(bfn), None, "{}: {bfn:#x}", C::NAME);
    }
}
