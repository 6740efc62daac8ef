//! `aarch64-paging`: four levels in the stage 2 format.
//!
//! The table is never marked active, which is what the crate does least for: no look at the
//! entries before a change, no invalidation.

use aarch64_paging::{
    Mapping,
    descriptor::{PhysicalAddress, Stage2Attributes},
    idmap::IdTranslation,
    paging::{Constraints, MemoryRegion, Stage2},
};

use super::{candidate::Candidate, work::LARGE_PAGES};

pub(crate) struct Aarch64Paging(Mapping<IdTranslation<Stage2Attributes>, Stage2>);

impl Aarch64Paging {
    pub(crate) fn new() -> Self {
        Self(Mapping::new(IdTranslation::new(), 0, Stage2))
    }

    fn change(&mut self, bfn: u64, mfn: u64, pages: u64, flags: Stage2Attributes) {
        let frame = PhysicalAddress((mfn << 12) as usize);
        self.0.map_range(&region(bfn, pages), frame, flags, Constraints::empty()).unwrap();
    }
}

fn region(bfn: u64, pages: u64) -> MemoryRegion {
    MemoryRegion::new((bfn << 12) as usize, ((bfn + pages) << 12) as usize)
}

fn mapped() -> Stage2Attributes {
    Stage2Attributes::VALID
        | Stage2Attributes::ACCESS_FLAG
        | Stage2Attributes::S2AP_ACCESS_RW
        | Stage2Attributes::MEMATTR_NORMAL_INNER_WB
        | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB
}

impl Candidate for Aarch64Paging {
    const NAME: &'static str = "aarch64-paging";

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.change(bfn, mfn, 1, mapped());
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.change(bfn, 0, 1, Stage2Attributes::empty());
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        self.change(bfn, mfn, pages, mapped());
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.change(bfn, 0, pages, Stage2Attributes::empty());
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.change(bfn, mfn, LARGE_PAGES, mapped());
    }

    fn unmap_large(&mut self, bfn: u64) {
        self.change(bfn, 0, LARGE_PAGES, Stage2Attributes::empty());
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        let mut found = None;
        self.0
            .walk_range(&region(bfn, 1), &mut |_, descriptor, level| {
                let frame = descriptor.output_address().0 as u64 >> 12;
                let frame = if level == 2 { frame + bfn % LARGE_PAGES } else { frame };
                found = descriptor.is_valid().then_some(frame);
                Ok(())
            })
            .unwrap();
        found
    }
}
