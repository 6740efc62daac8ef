//! What the other figures are compared with.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use aarch64_paging::{
    Mapping,
    descriptor::{PhysicalAddress, Stage2Attributes},
    idmap::IdTranslation,
    paging::{Constraints, MemoryRegion, Stage2},
};
use pviommu_testbed::measure::{Case, timed};

use super::calls::{FIRST_BFN, PAGES};

/// Pages of one range.
const RUN: u64 = 256;

/// One locked increment of a word that nobody else has, and the table of a published crate, bare.
pub(crate) struct Yardsticks {
    word: AtomicU64,
    table: Mapping<IdTranslation<Stage2Attributes>, Stage2>,
}

impl Yardsticks {
    pub(crate) fn new() -> Self {
        let table = Mapping::new(IdTranslation::new(), 0, Stage2);
        Self { word: AtomicU64::new(0), table }
    }

    fn change(&mut self, flags: Stage2Attributes) {
        for page in (0..PAGES).step_by(RUN as usize) {
            let first = ((FIRST_BFN + page) << 12) as usize;
            let region = MemoryRegion::new(first, first + (RUN << 12) as usize);
            // One off, so that no large leaf forms.
            let frame = PhysicalAddress(first + 4096);
            self.table.map_range(&region, frame, flags, Constraints::empty()).unwrap();
        }
    }
}

impl Case for Yardsticks {
    fn name(&self) -> String {
        "yardstick".to_owned()
    }

    fn rows(&self) -> Vec<String> {
        ["locked-increment", "aarch64-paging-map-256", "aarch64-paging-unmap-256"]
            .map(str::to_owned)
            .to_vec()
    }

    fn pass(&mut self) -> Vec<f64> {
        let locked = timed(|| {
            for _ in 0..PAGES {
                black_box(&self.word).fetch_add(1, Ordering::AcqRel);
            }
        });
        let mapped = Stage2Attributes::VALID
            | Stage2Attributes::ACCESS_FLAG
            | Stage2Attributes::S2AP_ACCESS_RW
            | Stage2Attributes::MEMATTR_NORMAL_INNER_WB
            | Stage2Attributes::MEMATTR_NORMAL_OUTER_WB;
        let map = timed(|| self.change(mapped));
        let unmap = timed(|| self.change(Stage2Attributes::empty()));
        [locked, map, unmap].map(|time| time / PAGES as f64).to_vec()
    }
}
