//! Calls of RFC v7, of all sizes, and batches.

use pviommu_abi::{Bfn, ContextId, Gfn, MapFlags, MapPages, UnmapPages};
use pviommu_hypervisor::Background;
use pviommu_testbed::{
    cheap::{Options, Pin, World},
    measure::{Case, timed},
};

use super::batches;

/// Pages of the working set: eight leaf tables, two more than stay when they are empty.
pub(crate) const PAGES: u64 = 4096;

/// Bus frames of it: the first is the first of a table.
pub(crate) const FIRST_BFN: u64 = 1 << 20;

/// Pages of one call.
const SIZES: [u64; 4] = [1, 16, 256, 4096];

/// One guest that makes calls.
pub(crate) struct Calls {
    pub(crate) world: World,
    background: Background,
    pin: &'static str,
}

/// The argument of a call that maps.
pub(crate) fn map(context: u16, page: u64, pages: u64) -> MapPages {
    MapPages {
        ctx_no: ContextId(context),
        gfn: Gfn(page),
        dfn: Bfn(FIRST_BFN + page),
        map_flags: MapFlags::READABLE | MapFlags::WRITEABLE,
        nr_pages: u32::try_from(pages).unwrap(),
        ..MapPages::default()
    }
}

/// The argument of the call that undoes it.
pub(crate) fn unmap(context: u16, page: u64, pages: u64) -> UnmapPages {
    UnmapPages {
        ctx_no: ContextId(context),
        dfn: Bfn(FIRST_BFN + page),
        nr_pages: u32::try_from(pages).unwrap(),
        ..UnmapPages::default()
    }
}

impl Calls {
    pub(crate) fn new(background: Background, pin: Pin) -> Self {
        let world = World::with_contexts(&Options { background, pin, ..Options::default() });
        let pin = match pin {
            Pin::Range => "pin-range",
            Pin::Locked => "pin-locked",
        };
        let calls = Self { world, background, pin };
        for size in SIZES {
            calls.map_all(size);
            calls.check(PAGES);
            calls.unmap_all(size);
            calls.check(0);
        }
        batches::check(&calls.world);
        calls
    }

    fn check(&self, pages: u64) {
        assert_eq!(self.world.platform().pages.held(), pages);
    }

    pub(crate) fn map_all(&self, size: u64) {
        for page in (0..PAGES).step_by(size as usize) {
            self.world.map(0, &map(1, page, size));
        }
    }

    pub(crate) fn unmap_all(&self, size: u64) {
        for page in (0..PAGES).step_by(size as usize) {
            self.world.unmap(0, &unmap(1, page, size));
        }
    }
}

impl Case for Calls {
    fn name(&self) -> String {
        match self.background {
            Background::Fault => "fault".to_owned(),
            Background::Scratch => "scratch".to_owned(),
        }
    }

    fn rows(&self) -> Vec<String> {
        let of_size = |size| [format!("map_pages-{size}"), format!("unmap_pages-{size}")];
        let rows = SIZES.iter().flat_map(of_size).chain(batches::rows());
        rows.map(|row| format!("{row}-{}", self.pin)).collect()
    }

    fn pass(&mut self) -> Vec<f64> {
        let mut times = Vec::new();
        for size in SIZES {
            times.push(timed(|| self.map_all(size)) / PAGES as f64);
            times.push(timed(|| self.unmap_all(size)) / PAGES as f64);
        }
        batches::pass(&self.world, &mut times);
        times
    }
}
