//! How often a call must ask whether to give way.

use super::{
    edits::{Edit, Target},
    run::Run,
    told::Numbers,
};
use crate::machine::Step;

/// Pages of a large leaf, and pages by small ones between two looks.
const LARGE: u64 = 0x200;
const BETWEEN: usize = 256;

/// Looks that were made before an edit, and which of its pages are in small leaves for certain.
#[derive(Debug)]
pub(super) struct Looks {
    before: u64,
    small: Vec<bool>,
}

impl Run<'_> {
    fn looks(&self) -> u64 {
        self.bed.schedule().calls(Step::Yield)
    }

    pub(super) fn count_looks(&self, at: Target, edit: Edit) -> Looks {
        let few = at.pages as usize <= BETWEEN;
        let pages = (0..if few { 0 } else { u64::from(at.pages) }).map(|i| at.bfn + i);
        let small = pages.map(|bfn| match edit {
            Edit::Map { gfn, .. } => at.bfn % LARGE != gfn % LARGE,
            _ => self.is_small(at, bfn),
        });
        Looks { before: self.looks(), small: small.collect() }
    }

    /// INV-54: after an edit, that it was asked at least every 256 pages whether to give way.
    pub(super) fn check_looks(&self, looks: &Looks, (status, of_element, done): Numbers) {
        let done = usize::try_from(done).unwrap();
        let small = looks.small.iter().take(done).filter(|small| **small).count();
        let least = small.saturating_sub(1) / BETWEEN;
        let looked = self.looks() - looks.before;
        let told = (status, of_element, done);
        assert!(looked >= least as u64, "{looked} looks in {small} small leaves: {told:?}");
    }

    /// True if something is mapped at a bus frame, and that by no large leaf.
    fn is_small(&self, at: Target, bfn: u64) -> bool {
        let frame = |bfn| self.world.get(at.dom, at.ctx, bfn).map(|it| it.frame);
        let first = bfn / LARGE * LARGE;
        let [begin, end] = [first, first + LARGE - 1].map(frame);
        let large = begin.zip(end).is_some_and(|(begin, end)| {
            begin % LARGE == 0 && end.checked_sub(begin) == Some(LARGE - 1)
        });
        frame(bfn).is_some() && !large
    }
}
