//! The service's own table, used as a call of the service uses it.
//!
//! What a call does once is done once a call here: pages of a run by one call, single pages as a batch does
//! them, 128 with one flush. What is done for each edit of the table is in each figure: the lock bit, and the
//! collection of what must be flushed and given back.

use std::{convert::Infallible, hint::black_box, marker::PhantomData};

use pviommu_hypervisor::{
    abi::{Bfn, DomId},
    addr::{Mfn, MfnRange},
    flush::{FlushRoom, PendingFlush, Released},
    format::{AmdV1, Format, LeafAttributes, VtdSecondStage},
    platform::{Access, AlikeRuns, PageKind, Pool, Run, Runs, TableFrames, TableRoot},
    table::{Beside, Edit, Maker, Singles, SplitPaid, Stash, Stop, Table, TableStyle},
};
use pviommu_testbed::cheap::Arena;

use super::{candidate::Candidate, work::LARGE_PAGES};

const STYLE: TableStyle =
    TableStyle { attributes: LeafAttributes::empty(), publish: false, largest_leaf_level: 2 };

const DOMAIN: DomId = DomId(1);

const ALL: Access = Access::all();

/// Single pages with one flush: a page of elements of a batch.
const BATCH: usize = 128;

/// Large leaves that go in at a time, and whose pages wait for one flush: 4096 pages.
const LARGES: usize = 8;

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
    list: Runs,
    format: PhantomData<F>,
}

/// The table as seen from inside, with what an edit of it takes.
struct Inside<'i, F> {
    table: Table<'i, F, Arena>,
    arena: &'i Arena,
}

fn run_of(mfn: u64, pages: u64) -> Run {
    let frames = MfnRange::of_pages(Mfn(mfn), pages).unwrap();
    Run { frames, kind: PageKind::Ram, access: ALL }
}

impl<F: Named> Ours<F> {
    /// An empty table; `frames` are enough for all that it will need.
    pub(crate) fn new(frames: usize) -> Self {
        let arena = Arena::new(frames);
        let frame = arena.alloc(DOMAIN, Pool::Open).unwrap();
        let root = TableRoot { frame, levels: 4 };
        let beside = Beside::new();
        beside.vacancy.set_fault::<F>();
        let (room, list) = (FlushRoom::new(), Runs::new());
        Self { arena, root, beside, room, list, format: PhantomData }
    }

    /// The table, as one who only reads enters it.
    #[inline]
    fn table(&self) -> Table<'_, F, Arena> {
        Table::new(&self.arena, self.root, STYLE, &self.beside)
    }

    /// One call: what it built with is put aside, what it did is flushed.
    #[inline]
    fn call(&mut self, act: impl FnOnce(&Inside<'_, F>, &mut Edit<'_>)) {
        let Self { arena, root, beside, room, .. } = self;
        let inside = Inside { table: Table::new(arena, *root, STYLE, beside), arena };
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(room));
        act(&inside, &mut edit);
        finish(arena, edit);
    }
}

impl<F: Named> Inside<'_, F> {
    #[inline]
    fn map(&self, bfn: u64, runs: AlikeRuns<'_>, pages: u64, edit: &mut Edit<'_>) {
        loop {
            let mapped = self.table.map(Bfn(bfn), runs, pages, Maker::Guest, edit);
            match mapped.stop {
                None if mapped.pages == pages => return,
                Some(Stop::NeedTables(frames, pool)) => stock(self.arena, edit, frames, pool),
                _ => unmappable(bfn),
            }
        }
    }

    /// As elements of a batch: what is not usual goes the way of a call of its own.
    #[inline]
    fn map_singles(&self, pages: &[(u64, u64)], edit: &mut Edit<'_>) {
        let mut left = pages.iter().map(|(bfn, mfn)| (Bfn(*bfn), Mfn(*mfn))).peekable();
        let words = self.table.leaf_words(PageKind::Ram, ALL, Maker::Guest);
        loop {
            let mut singles = Singles::new(&self.table);
            singles.map_each(&mut left, &words, &mut edit.pending);
            drop(singles);
            let Some((bfn, mfn)) = left.next() else { return };
            self.map(bfn.0, (&run_of(mfn.0, 1)).into(), 1, edit);
        }
    }

    #[inline]
    fn map_large(&self, leaves: &[(u64, u64)], edit: &mut Edit<'_>) {
        let mut frames = [run_of(0, LARGE_PAGES).frames; LARGES];
        for (run, (_, mfn)) in frames.iter_mut().zip(leaves) {
            *run = run_of(*mfn, LARGE_PAGES).frames;
        }
        let Run { kind, access, .. } = run_of(0, LARGE_PAGES);
        let mut left = leaves;
        while let [(bfn, _), ..] = left {
            let frames = &frames[leaves.len() - left.len()..leaves.len()];
            let runs = AlikeRuns { frames, kind, access };
            let (how, most) = ((Maker::Guest, SplitPaid::Yes), left.len() as u64);
            match self.table.map_large(Bfn(*bfn), 1, runs, most, how, edit) {
                Ok(mapped) => left = &left[mapped as usize..],
                Err(Stop::NeedTables(frames, pool)) => stock(self.arena, edit, frames, pool),
                Err(_) => unmappable(*bfn),
            }
        }
    }

    #[inline]
    fn unmap_singles(&self, pages: &[(u64, u64)], edit: &mut Edit<'_>) {
        let mut singles = Singles::new(&self.table);
        for &(bfn, _) in pages {
            if !singles.unmap(Bfn(bfn), edit) {
                unmappable(bfn);
            }
        }
    }

    #[inline]
    fn unmap(&self, bfn: u64, pages: u64, edit: &mut Edit<'_>) {
        let unmapped = self.table.unmap(Bfn(bfn), pages, pages, edit);
        if unmapped.pages != pages {
            unmappable(bfn);
        }
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

#[inline]
fn frame_of<F: Format>(table: &Table<'_, F, Arena>, bfn: u64) -> Option<u64> {
    let found = table.lookup(Bfn(bfn))?;
    // A large leaf is named by its first frame.
    Some(found.leaf.frame.0 + (bfn & (found.pages - 1)))
}

/// The flush itself costs nothing here; what it would be told, and what it releases, is looked at.
fn finish(arena: &Arena, edit: Edit<'_>) {
    let Edit { stash, mut pending, .. } = edit;
    while let Some(frame) = stash.take(Pool::Open) {
        TableFrames::free(arena, DOMAIN, frame, Pool::Open);
    }
    let flush = |what, added| {
        black_box(&what);
        black_box(&added);
        Ok::<(), Infallible>(())
    };
    let release = |released: Released<'_>| {
        for run in released.runs.iter() {
            black_box(&run);
        }
        for frame in released.tables {
            TableFrames::free(arena, DOMAIN, *frame, Pool::Open);
        }
    };
    let Ok(()) = pending.complete(flush, |_, _| (), release);
}

impl<F: Named> Candidate for Ours<F> {
    const NAME: &'static str = F::NAME;
    const MAPS_LISTS: bool = true;

    fn map_one(&mut self, bfn: u64, mfn: u64) {
        self.map_run(bfn, mfn, 1);
    }

    fn unmap_one(&mut self, bfn: u64) {
        self.unmap_run(bfn, 1);
    }

    fn map_ones(&mut self, pages: &[(u64, u64)]) {
        for batch in pages.chunks(BATCH) {
            self.call(|inside, edit| {
                inside.map_singles(batch, edit);
            });
        }
    }

    fn unmap_ones(&mut self, pages: &[(u64, u64)]) {
        for batch in pages.chunks(BATCH) {
            self.call(|inside, edit| {
                inside.unmap_singles(batch, edit);
            });
        }
    }

    fn map_run(&mut self, bfn: u64, mfn: u64, pages: u64) {
        self.call(|inside, edit| inside.map(bfn, (&run_of(mfn, pages)).into(), pages, edit));
    }

    fn unmap_run(&mut self, bfn: u64, pages: u64) {
        self.call(|inside, edit| inside.unmap(bfn, pages, edit));
    }

    fn map_list(&mut self, pages: &[(u64, u64)]) {
        let mut list = std::mem::take(&mut self.list);
        list.clear();
        let count = pages.len() as u64;
        let pushed = list.push_each(PageKind::Ram, ALL, pages.iter().map(|(_, mfn)| Mfn(*mfn)));
        assert_eq!(pushed, count, "a list has room for a piece");
        let runs = list.all_alike().expect("a piece is some pages");
        self.call(|inside, edit| inside.map(pages[0].0, runs, count, edit));
        self.list = list;
    }

    fn map_large(&mut self, bfn: u64, mfn: u64) {
        self.call(|inside, edit| inside.map_large(&[(bfn, mfn)], edit));
    }

    fn unmap_large(&mut self, bfn: u64) {
        self.unmap_run(bfn, LARGE_PAGES);
    }

    fn map_larges(&mut self, leaves: &[(u64, u64)]) {
        for batch in leaves.chunks(BATCH) {
            self.call(|inside, edit| {
                for piece in batch.chunks(LARGES) {
                    inside.map_large(piece, edit);
                }
            });
        }
    }

    fn unmap_larges(&mut self, leaves: &[(u64, u64)]) {
        for piece in leaves.chunks(LARGES) {
            self.unmap_run(piece[0].0, piece.len() as u64 * LARGE_PAGES);
        }
    }

    #[inline]
    fn lookup(&self, bfn: u64) -> Option<u64> {
        frame_of(&self.table(), bfn)
    }

    /// Inside once for all of them.
    #[inline]
    fn lookup_ones(&self, bfns: impl Iterator<Item = u64>) {
        let table = self.table();
        for bfn in bfns {
            black_box(frame_of(&table, bfn));
        }
    }
}
