//! The service's own table, used as a call of the service uses it.

use std::{convert::Infallible, hint::black_box, marker::PhantomData};

use pviommu_hypervisor::{
    abi::{Bfn, DomId},
    addr::{Mfn, MfnRange},
    flush::{FlushRoom, PendingFlush, Released},
    format::{AmdV1, Format, LeafAttributes, VtdSecondStage},
    platform::{Access, PageKind, Pool, Run, TableFrames, TableRoot},
    table::{Beside, Edit, Maker, Stash, Stop, Table, TableStyle},
};

use super::{arena::Arena, candidate::Candidate, work::RUN};

const STYLE: TableStyle =
    TableStyle { attributes: LeafAttributes::empty(), publish: false, largest_leaf_level: 2 };

const DOMAIN: DomId = DomId(1);

/// A format, and what its table is called in the figures.
pub(crate) trait Named: Format {
    const NAME: &'static str;
}

impl Named for VtdSecondStage {
    const NAME: &'static str = "pviommu-vtd";
}

impl Named for AmdV1 {
    const NAME: &'static str = "pviommu-amdv1";
}

/// A table of four levels.
pub(crate) struct Ours<F> {
    arena: Arena,
    root: TableRoot,
    beside: Beside,
    room: FlushRoom,
    format: PhantomData<F>,
}

impl<F: Named> Ours<F> {
    pub(crate) fn new() -> Self {
        let arena = Arena::new(64);
        let frame = arena.alloc(DOMAIN, Pool::Open).unwrap();
        let root = TableRoot { frame, levels: 4 };
        let beside = Beside::new();
        beside.vacancy.set_fault::<F>();
        Self { arena, root, beside, room: FlushRoom::new(), format: PhantomData }
    }

    /// The table, with what an edit of it takes.
    fn parts(&mut self) -> (Table<'_, F, Arena>, &Arena, &mut FlushRoom) {
        let Self { arena, root, beside, room, .. } = self;
        (Table::new(arena, *root, STYLE, beside), arena, room)
    }

    /// One call that maps: what it built with is put aside, what it did is flushed.
    fn map(&mut self, bfn: u64, mfn: u64, pages: u64) {
        let frames = MfnRange::of_pages(Mfn(mfn), pages).unwrap();
        let access = Access::READ | Access::WRITE;
        let run = Run { frames, kind: PageKind::Ram, access };
        let (table, arena, room) = self.parts();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(room));
        loop {
            let mapped = table.map(Bfn(bfn), &[run], pages, Maker::Guest, &mut edit);
            match mapped.stop {
                None if mapped.pages == pages => break,
                Some(Stop::NeedTables(frames, pool)) => stock(arena, &mut edit, frames, pool),
                _ => unmappable(bfn),
            }
        }
        finish(arena, edit);
    }

    /// One call that unmaps: what it took out is flushed, then given back.
    fn unmap(&mut self, bfn: u64, pages: u64) {
        let (table, arena, room) = self.parts();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(room));
        let unmapped = table.unmap(Bfn(bfn), pages, pages, &mut edit);
        if unmapped.pages != pages {
            unmappable(bfn);
        }
        finish(arena, edit);
    }
}

#[cold]
fn stock(arena: &Arena, edit: &mut Edit<'_>, frames: u8, pool: Pool) {
    while edit.stash.len(pool) < usize::from(frames) {
        let frame = arena.alloc(DOMAIN, pool).expect("the arena is large enough");
        edit.stash.put(frame, pool).expect("a stash has room for what it asks for");
    }
}

#[cold]
fn unmappable(bfn: u64) -> ! {
    unreachable!("bus frame {bfn:#x} is not what the harness made it")
}

/// The flush itself costs nothing here; what it would be told, and what it releases, is looked at.
fn finish(arena: &Arena, edit: Edit<'_>) {
    let Edit { stash, mut pending, .. } = edit;
    while let Some(frame) = stash.take(Pool::Open) {
        arena.free(DOMAIN, frame, Pool::Open);
    }
    let flush = |what, added| {
        black_box(&what);
        black_box(&added);
        Ok::<(), Infallible>(())
    };
    let release = |released: Released<'_>| {
        for run in released.runs {
            black_box(run);
        }
        for frame in released.tables {
            arena.free(DOMAIN, *frame, Pool::Open);
        }
    };
    let Ok(()) = pending.complete(flush, |_, _| (), release);
}

impl<F: Named> Candidate for Ours<F> {
    const NAME: &'static str = F::NAME;

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.map(bfn, mfn, 1);
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.unmap(bfn, 1);
    }

    fn map_run(&mut self, bfn: u64, mfn: u64) {
        self.map(bfn, mfn, RUN);
    }

    fn unmap_run(&mut self, bfn: u64) {
        self.unmap(bfn, RUN);
    }

    fn lookup(&self, bfn: u64) -> Option<u64> {
        let table = Table::<F, _>::new(&self.arena, self.root, STYLE, &self.beside);
        let found = table.lookup(Bfn(bfn))?;
        // A large leaf is named by its first frame.
        Some(found.leaf.frame.0 + (bfn & (found.pages - 1)))
    }
}
