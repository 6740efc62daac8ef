//! What is seen of a table: by a device, by a look-up, and of its frames.

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn},
    format::{Format, LeafAttributes},
    platform::{Access, Invalidation},
    table::{KeptTables, MAX_KEPT_TABLES, Prune},
};

use super::{Rig, once::pieces};
use crate::{
    arena::Arena,
    device::{Found, walk},
};

impl<F: Format> Rig<F> {
    /// Pages of the leaf that `bfn` is in.
    pub(crate) fn leaf_of(&self, bfn: u64) -> u64 {
        self.table().lookup(Bfn(bfn)).unwrap().pages
    }

    /// What units were told last: what to invalidate, and what was added.
    pub(crate) fn told(&self) -> (Option<Invalidation>, Option<BfnRange>) {
        self.told.get()
    }

    /// What a device gets at `bfn` now. It knows no leaves that are larger than those of the table's style.
    pub(crate) fn device(&self, bfn: u64) -> Found {
        walk::<F>(&self.arena, (self.root, self.kind.largest_leaf_level), self.kind.snoops, bfn)
    }

    /// The same for somebody who watches while the table is worked on, with a walker that snoops or
    /// one that does not.
    pub(crate) fn watcher(&self) -> impl Fn(&Arena, bool, u64) -> Found + use<F> {
        let root = (self.root, self.kind.largest_leaf_level);
        move |arena, snoops, bfn| walk::<F>(arena, root, snoops, bfn)
    }

    /// Asserts that `bfn` leads to the frame `mfn`, for the device and for a look-up.
    pub(crate) fn is_mapped(&self, bfn: u64, mfn: u64, access: Access) {
        let kind = self.kind;
        let (leaf, attributes) = self.device(bfn).unwrap_or_else(|| panic!("{bfn:#x}: {kind:?}"));
        assert_eq!((leaf.frame, leaf.access), (Mfn(mfn), access), "{bfn:#x} of {kind:?}");
        assert_eq!(attributes, LeafAttributes::SNOOP, "{bfn:#x} of {kind:?}");
        let found = self.table().lookup(Bfn(bfn)).unwrap();
        assert_eq!(found.leaf.frame.0 + (bfn & (found.pages - 1)), mfn, "{bfn:#x} of {kind:?}");
        assert_eq!(found.leaf.access, access);
    }

    /// Asserts that `bfn` hits the background.
    pub(crate) fn is_vacant(&self, bfn: u64) {
        let hits = self.device(bfn).map(|(leaf, _)| (leaf.frame, leaf.access));
        let background = (Self::SCRATCH, Access::READ | Access::WRITE);
        let expected = self.kind.scratch.then_some(background);
        assert_eq!(hits, expected, "{bfn:#x} of {:?}", self.kind);
        assert_eq!(self.table().lookup(Bfn(bfn)), None, "{bfn:#x} of {:?}", self.kind);
    }

    /// True if `bfn` is mapped.
    pub(crate) fn is_there(&self, bfn: u64) -> bool {
        self.table().lookup(Bfn(bfn)).is_some()
    }

    /// Asserts that not more than a few tables are left of what was mapped.
    pub(crate) fn has_few_tables(&self) {
        let left = self.arena.live() - self.own;
        let most = usize::try_from(MAX_KEPT_TABLES).unwrap();
        assert!(left <= most, "{left} tables are left of {:?}", self.kind);
    }

    /// Asserts that nothing is left, once empty tables are given back.
    pub(crate) fn is_empty(&self) {
        pieces(|from| self.prune_handles(Prune::EmptyTables, from));
        self.has_few_tables();
        self.is_empty_but_for_tables();
    }

    /// The same if more tables may be left than few.
    pub(crate) fn is_empty_but_for_tables(&self) {
        pieces(|from| self.prune(Prune::EmptyTables, from, u64::MAX));
        assert_eq!(self.held.get(), 0, "references of {:?}", self.kind);
        assert_eq!(self.arena.live(), self.own, "table frames of {:?}", self.kind);
        assert_eq!(self.arena.reserved(), 0, "reserved frames of {:?}", self.kind);
        let counted = |kept: &KeptTables| format!("{kept:?}");
        assert_eq!(counted(&self.beside.kept), counted(&KeptTables::default()), "{:?}", self.kind);
    }
}
