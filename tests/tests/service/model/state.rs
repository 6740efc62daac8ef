//! What must be mapped where: the model of the random sequences.

use std::collections::{BTreeMap, BTreeSet};

use pviommu_abi::{Background as Wire, ElementFlags, Errno};
use pviommu_testbed::{iommu::Direction, machine::Reach};

use crate::kit::{DEVICE, GUEST, Vm, err, over_scratch};

/// Guest frames: 2 GiB, of which the second GiB follows on in the machine.
pub(crate) const GUEST_PAGES: u64 = 2 << 18;
pub(crate) const CONTIGUOUS: u64 = 1 << 18;
pub(crate) const TOP: u64 = (1 << 36) - 1;

/// One operation, as an element of a batch or a call of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Map {
        bfn: u64,
        gfn: u64,
        pages: u32,
        access: ElementFlags,
    },
    /// Each guest frame `step` after the one before.
    List {
        bfn: u64,
        gfn: u64,
        step: u64,
        pages: u32,
        access: ElementFlags,
    },
    Unmap {
        bfn: u64,
        pages: u32,
        later: bool,
        skip_holes: bool,
    },
    /// No pages: the whole context.
    Flush {
        bfn: u64,
        pages: u32,
    },
    Lookup {
        bfn: u64,
    },
}

/// Status and count of an operation, and what a lookup finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) status: i64,
    pub(crate) done: u32,
    pub(crate) found: Option<(u64, ElementFlags)>,
}

/// One context.
pub(crate) struct Space {
    background: Wire,
    aperture: (u64, u64),
    maps: BTreeMap<u64, (u64, ElementFlags)>,
    /// Unmapped without a flush, and not flushed since for sure.
    unflushed: BTreeSet<u64>,
    /// How many pages were unmapped so at a bus frame and are not given back for sure.
    put_off: BTreeMap<u64, u64>,
}

impl Space {
    pub(crate) fn new(background: Wire, aperture: (u64, u64)) -> Self {
        let usual = if over_scratch() { Wire::SCRATCH } else { Wire::FAULT };
        let background = if background == Wire::DEFAULT { usual } else { background };
        let aperture = if aperture == (0, 0) { (0, TOP) } else { aperture };
        Self {
            background,
            aperture,
            maps: BTreeMap::new(),
            unflushed: BTreeSet::new(),
            put_off: BTreeMap::new(),
        }
    }

    fn holds(&self, bfn: u64, pages: u32) -> bool {
        bfn >= self.aperture.0 && bfn + u64::from(pages) - 1 <= self.aperture.1
    }

    /// What it must answer.
    pub(crate) fn apply(&mut self, piece: Piece) -> Answer {
        let (bfn, pages) = piece.range();
        let whole = matches!(piece, Piece::Flush { pages: 0, .. });
        if !whole && !self.holds(bfn, pages) {
            return Answer { status: err(Errno::EINVAL), done: 0, found: None };
        }
        let mut found = None;
        let (errno, done) = match piece {
            Piece::Map { gfn, access, .. } => self.map(bfn, pages, access, |i| gfn + i),
            Piece::List { gfn, step, access, .. } => {
                self.map(bfn, pages, access, |i| gfn + i * step)
            }
            Piece::Unmap { later, skip_holes, .. } => self.unmap(bfn, pages, later, skip_holes),
            Piece::Flush { .. } => {
                self.flush(bfn, pages);
                (None, pages)
            }
            Piece::Lookup { .. } => {
                found = self.maps.get(&bfn).copied();
                (found.is_none().then_some(Errno::ENOENT), u32::from(found.is_some()))
            }
        };
        Answer { status: errno.map_or(0, err), done, found }
    }

    fn map(
        &mut self,
        bfn: u64,
        pages: u32,
        access: ElementFlags,
        gfn: impl Fn(u64) -> u64,
    ) -> (Option<Errno>, u32) {
        for page in 0..pages {
            let (at, gfn) = (bfn + u64::from(page), gfn(u64::from(page)));
            if gfn >= GUEST_PAGES {
                return (Some(Errno::ENOENT), page);
            }
            if self.maps.contains_key(&at) {
                return (Some(Errno::EADDRINUSE), page);
            }
            self.maps.insert(at, (gfn, access));
            // Flushed before the map returned, and given back some time.
            self.unflushed.remove(&at);
        }
        (None, pages)
    }

    fn unmap(
        &mut self,
        bfn: u64,
        pages: u32,
        later: bool,
        skip_holes: bool,
    ) -> (Option<Errno>, u32) {
        for page in 0..pages {
            let at = bfn + u64::from(page);
            match self.maps.remove(&at) {
                Some(_) if later => {
                    self.unflushed.insert(at);
                    *self.put_off.entry(at).or_default() += 1;
                }
                Some(_) => {}
                None if skip_holes => {}
                None => return (Some(Errno::ENOENT), page),
            }
        }
        (None, pages)
    }

    fn flush(&mut self, bfn: u64, pages: u32) {
        let range = bfn..bfn + u64::from(pages);
        self.unflushed.retain(|at| pages > 0 && !range.contains(at));
        self.put_off.retain(|at, _| pages > 0 && !range.contains(at));
    }
}

impl Piece {
    pub(crate) fn range(self) -> (u64, u32) {
        match self {
            Self::Map { bfn, pages, .. }
            | Self::List { bfn, pages, .. }
            | Self::Unmap { bfn, pages, .. }
            | Self::Flush { bfn, pages } => (bfn, pages),
            Self::Lookup { bfn } => (bfn, 1),
        }
    }
}

pub(crate) struct Model {
    pub(crate) spaces: [Space; 2],
    pub(crate) attached: Option<usize>,
}

impl Model {
    pub(crate) fn new() -> Self {
        let space = || Space::new(Wire::DEFAULT, (0, 0));
        Self { spaces: [space(), space()], attached: None }
    }

    /// Everything that waited was flushed.
    pub(crate) fn nothing_waits(&mut self) {
        for space in &mut self.spaces {
            space.flush(0, 0);
        }
    }

    /// What is mapped is held, and what waits for a flush; and no more waits than was put off.
    pub(crate) fn check_references(&self, vm: &Vm<'_>) {
        let mapped: u64 = self.spaces.iter().map(|space| space.maps.len() as u64).sum();
        let put_off: u64 = self.spaces.iter().flat_map(|space| space.put_off.values()).sum();
        let waiting = u64::from(vm.bed.domain(GUEST).stats().deferred_pages);
        assert!(waiting <= put_off, "{waiting} pages wait, at most {put_off} may");
        assert_eq!(vm.bed.counters().references_live, mapped + waiting);
    }

    /// Has the device try around the edges of a range.
    pub(crate) fn check(&self, vm: &Vm<'_>, bfn: u64, pages: u32) {
        let last = bfn + u64::from(pages.max(1)) - 1;
        let middle = bfn + u64::from(pages) / 2;
        for at in
            [bfn.saturating_sub(1), bfn, bfn + 1, middle, last.saturating_sub(1), last, last + 1]
        {
            self.check_one(vm, at);
        }
    }

    fn check_one(&self, vm: &Vm<'_>, at: u64) {
        let hits = [Direction::Read, Direction::Write].map(|way| vm.hits(DEVICE, at, way));
        let Some(space) = self.attached.map(|context| &self.spaces[context]) else {
            assert_eq!(hits, [None; 2], "no context, bfn {at:#x}");
            return;
        };
        if let Some((gfn, access)) = space.maps.get(&at) {
            let held = |flag| access.contains(flag).then_some(Reach::Held);
            let expected = [held(ElementFlags::READ), held(ElementFlags::WRITE)];
            assert_eq!(hits, expected, "mapped, bfn {at:#x}");
            let writes = access.contains(ElementFlags::WRITE);
            assert_eq!(vm.lands_in(DEVICE, at, *gfn), writes, "bfn {at:#x}");
            return;
        }
        let scratch = space.background == Wire::SCRATCH && space.holds(at, 1);
        let background = scratch.then_some(Reach::Scratch);
        for hit in hits {
            // What was there may still be cached, and is held then.
            let old = space.unflushed.contains(&at) && matches!(hit, Some(Reach::Held) | None);
            assert!(hit == background || old, "{hit:?} instead of {background:?}, bfn {at:#x}");
        }
    }
}
