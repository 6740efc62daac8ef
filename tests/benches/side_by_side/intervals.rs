//! What back ends of virtual machine monitors keep instead of a table: intervals in a `BTreeMap`.

use std::collections::BTreeMap;

use super::{candidate::Candidate, work::LARGE_PAGES};

/// By their first bus frame: the last one, and the first machine frame.
pub(crate) struct Intervals(BTreeMap<u64, (u64, u64)>);

impl Intervals {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }
}

impl Candidate for Intervals {
    const NAME: &'static str = "btreemap";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.map_run(bfn, mfn, 1);
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.unmap_run(bfn, 1);
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        let last = bfn.checked_add(pages - 1).unwrap();
        let before = self.0.range(..=last).next_back();
        assert!(before.is_none_or(|(_, (end, _))| *end < bfn), "{bfn:#x} is mapped");
        self.0.insert(bfn, (last, mfn));
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        let (last, _) = self.0.remove(&bfn).unwrap();
        assert_eq!(last, bfn + pages - 1, "a part of an interval");
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.map_run(bfn, mfn, LARGE_PAGES);
    }

    fn unmap_large(&mut self, bfn: u64) {
        self.unmap_run(bfn, LARGE_PAGES);
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let (first, (last, mfn)) = self.0.range(..=bfn).next_back()?;
        (bfn <= *last).then(|| mfn + (bfn - first))
    }
}
