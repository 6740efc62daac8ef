//! A table, with what its operations take, and a device that walks it.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    marker::PhantomData,
    ops::RangeInclusive,
    rc::Rc,
};

use pviommu_hypervisor::{
    abi::DomId,
    addr::{BfnRange, Mfn},
    flush::{FlushRoom, PendingFlush, Released},
    format::{Format, LeafAttributes, pages_at},
    platform::{Invalidation, PageKind, Pool, TableFrames, TableRoot},
    sync::{AtomicU64, Ordering},
    table::{Beside, Edit, Stash, Stop, Table, TableStyle},
};

use super::arena::Arena;

const DOMAIN: DomId = DomId(1);
/// Frames for tables: the deepest table with all that the tests put into it.
const FRAMES: usize = 300;

mod looks;
mod maps;
mod once;

pub(crate) use once::pieces;

/// What a table is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    levels: u8,
    largest_leaf_level: u8,
    scratch: bool,
    snoops: bool,
    /// Frames at hand are one more than those that were asked for.
    spare: bool,
}

/// Each of the depths, over a scratch page or nothing, for walkers that snoop or do not.
pub(crate) fn every_kind(levels: RangeInclusive<u8>, largest: u8) -> impl Iterator<Item = Kind> {
    levels.flat_map(move |levels| {
        let largest_leaf_level = largest.min(levels - 1);
        [(false, true), (true, true), (false, false), (true, false)].map(|(scratch, snoops)| Kind {
            levels,
            largest_leaf_level,
            scratch,
            snoops,
            spare: scratch != snoops,
        })
    })
}

/// The table.
pub(crate) struct Rig<F> {
    pub(crate) arena: Rc<Arena>,
    pub(crate) kind: Kind,
    root: TableRoot,
    style: TableStyle,
    beside: Rc<Beside>,
    /// Pages that hold a reference.
    held: Cell<u64>,
    /// Handles that came back.
    handles: RefCell<Vec<u64>>,
    /// What units were told last.
    told: Cell<(Option<Invalidation>, Option<BfnRange>)>,
    /// Table frames of the empty table.
    own: usize,
    format: PhantomData<F>,
}

impl<F: Format> Rig<F> {
    /// An empty table.
    pub(crate) fn new(kind: Kind) -> Self {
        let arena = Rc::new(Arena::new(FRAMES, 1 << F::INDEX_BITS));
        // The background allows everything, and is coherent like all else.
        let attributes = LeafAttributes::SNOOP;
        let style = TableStyle {
            attributes,
            publish: !kind.snoops,
            largest_leaf_level: kind.largest_leaf_level,
        };
        let take = || arena.alloc(DOMAIN, Pool::Open).unwrap();
        let beside = Beside::new();
        let fill = |table, word| {
            let entries = arena.table(table);
            entries.iter().for_each(|entry| entry.store(word, Ordering::Relaxed));
            arena.publish(table, 0, entries.len() - 1);
        };
        if kind.scratch {
            let shared: Vec<Mfn> = (1..kind.levels).map(|_| take()).collect();
            beside.vacancy.set_scratch::<F>(Self::SCRATCH, &shared, attributes);
            (0..).zip(shared).for_each(|(level, table)| fill(table, beside.vacancy.word(level)));
        } else {
            beside.vacancy.set_fault::<F>();
        }
        let root = TableRoot { frame: take(), levels: kind.levels };
        fill(root.frame, beside.vacancy.word(kind.levels - 1));
        let own = arena.live();
        let (beside, format) = (Rc::new(beside), PhantomData);
        let (held, handles, told) = (Cell::new(0), RefCell::default(), Cell::default());
        Self { arena, kind, root, style, beside, held, handles, told, own, format }
    }

    /// The scratch page.
    pub(crate) const SCRATCH: Mfn = Mfn(0x5c);

    /// Bus frames that the table covers.
    pub(crate) fn pages(&self) -> u64 {
        pages_at::<F>(self.kind.levels)
    }

    /// Depth of the table.
    pub(crate) fn levels(&self) -> u8 {
        self.kind.levels
    }

    /// True if a scratch page is behind what is not mapped.
    pub(crate) fn has_scratch(&self) -> bool {
        self.kind.scratch
    }

    /// True if changes have to be published.
    pub(crate) fn publishes(&self) -> bool {
        self.style.publish
    }

    /// Levels of leaves that the table may have.
    pub(crate) fn leaf_levels(&self) -> RangeInclusive<u8> {
        0..=self.kind.largest_leaf_level
    }

    pub(crate) fn table(&self) -> Table<'_, F, Arena> {
        Table::new(&self.arena, self.root, self.style, &self.beside)
    }

    /// Does something to the table until it needs nothing more, and flushes.
    pub(crate) fn edit<R>(
        &self,
        mut act: impl FnMut(&Table<'_, F, Arena>, &mut Edit<'_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.once(0, |table, edit| {
            loop {
                match act(table, edit) {
                    Err(Stop::NeedTables(frames, pool)) => {
                        let spare = self.kind.spare && pool == Pool::Open;
                        self.stock(edit.stash, usize::from(frames) + usize::from(spare), pool);
                        assert!(edit.stash.len(pool) >= usize::from(frames));
                    }
                    Err(Stop::PendingFull) => self.flush(&mut edit.pending),
                    done => break done,
                }
            }
        })
    }

    /// Does something to the table with so many frames at hand, and flushes.
    pub(crate) fn once<R>(
        &self,
        frames: usize,
        act: impl FnOnce(&Table<'_, F, Arena>, &mut Edit<'_>) -> R,
    ) -> R {
        let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
        self.stock(&mut stash, frames, Pool::Open);
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let done = act(&self.table(), &mut edit);
        self.flush(&mut edit.pending);
        for pool in [Pool::Open, Pool::Reserved] {
            while let Some(frame) = edit.stash.take(pool) {
                let zeroed = |word: &AtomicU64| word.load(Ordering::Relaxed) == 0;
                assert!(self.arena.table(frame).iter().all(zeroed), "{:?}", self.kind);
                self.arena.free(DOMAIN, frame, pool);
            }
        }
        done
    }

    /// Puts frames of `pool` into the stash until there are so many, or no room.
    fn stock(&self, stash: &mut Stash, frames: usize, pool: Pool) {
        while stash.len(pool) < frames {
            let frame = self.arena.alloc(DOMAIN, pool).expect("frames enough");
            if stash.put(frame, pool).is_err() {
                return self.arena.free(DOMAIN, frame, pool);
            }
        }
    }

    fn flush(&self, pending: &mut PendingFlush<'_>) {
        let release = |released: Released<'_>| {
            let pages: u64 = released.runs.iter().map(|run| run.frames.pages()).sum();
            self.held.set(self.held.get() - pages);
            self.handles.borrow_mut().extend(released.runs.iter().filter_map(
                |run| match run.kind {
                    PageKind::Foreign(handle) => Some(handle.0),
                    _ => None,
                },
            ));
            released.tables.iter().for_each(|table| self.arena.free(DOMAIN, *table, Pool::Open));
            self.arena.unreserve(DOMAIN, released.unreserved);
        };
        let flush = |invalidation, sync| {
            self.told.set((invalidation, sync));
            Ok::<(), Infallible>(())
        };
        let leaked = |pages, tables| panic!("{pages} pages and {tables} tables are lost");
        let Ok(()) = pending.complete(flush, leaked, release);
    }
}
