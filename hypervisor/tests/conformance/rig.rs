//! A table, with what its operations take, and a device that walks it.

use std::{cell::Cell, convert::Infallible, marker::PhantomData, ops::RangeInclusive, rc::Rc};

use pviommu_hypervisor::{
    abi::{Bfn, DomId},
    addr::{BfnRange, Mfn, MfnRange},
    flush::{FlushRoom, PendingFlush, Released},
    format::{Format, LeafAttributes, pages_at},
    platform::{Access, AlikeRuns, PageKind, Pool, Run, TableFrames, TableRoot},
    sync::Ordering,
    table::{
        Beside, Cursor, Edit, KeptTables, MAX_KEPT_TABLES, Maker, Paint, Prune, Pruned, Singles,
        SplitPaid, Stash, Stop, Table, TableStyle, split_cost,
    },
};

use super::{
    arena::Arena,
    device::{Found, walk},
};

const DOMAIN: DomId = DomId(1);
/// Frames for tables: the deepest table with all that the tests put into it.
const FRAMES: usize = 300;

/// What a table is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    levels: u8,
    largest_leaf_level: u8,
    scratch: bool,
    snoops: bool,
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
        })
    })
}

/// The table.
pub(crate) struct Rig<F> {
    pub(crate) arena: Rc<Arena>,
    pub(crate) kind: Kind,
    root: TableRoot,
    style: TableStyle,
    beside: Beside,
    /// Pages that hold a reference.
    held: Cell<u64>,
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
        Self { arena, kind, root, style, beside, held: Cell::new(0), own, format: PhantomData }
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

    fn table(&self) -> Table<'_, F, Arena> {
        Table::new(&self.arena, self.root, self.style, &self.beside)
    }

    /// Does something to the table until it needs nothing more, and flushes.
    fn edit<R>(
        &self,
        mut act: impl FnMut(&Table<'_, F, Arena>, &mut Edit<'_>) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        let (mut stash, mut room) = (Stash::new(), FlushRoom::new());
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let done = loop {
            match act(&self.table(), &mut edit) {
                Err(Stop::NeedTables(frames, pool)) => {
                    while edit.stash.len(pool) < usize::from(frames) {
                        let frame = self.arena.alloc(DOMAIN, pool).expect("frames enough");
                        edit.stash.put(frame, pool).unwrap();
                    }
                }
                Err(Stop::PendingFull) => self.flush(&mut edit.pending),
                done => break done,
            }
        };
        self.flush(&mut edit.pending);
        for pool in [Pool::Open, Pool::Reserved] {
            while let Some(frame) = edit.stash.take(pool) {
                self.arena.free(DOMAIN, frame, pool);
            }
        }
        done
    }

    fn flush(&self, pending: &mut PendingFlush<'_>) {
        let release = |released: Released<'_>| {
            let pages: u64 = released.runs.iter().map(|run| run.frames.pages()).sum();
            self.held.set(self.held.get() - pages);
            released.tables.iter().for_each(|table| self.arena.free(DOMAIN, *table, Pool::Open));
            self.arena.unreserve(DOMAIN, released.unreserved);
        };
        let Ok(()) = pending.complete(|_, _| Ok::<(), Infallible>(()), |_, _| (), release);
    }

    fn run(mfn: u64, pages: u64, access: Access) -> Run {
        Run { frames: MfnRange::of_pages(Mfn(mfn), pages).unwrap(), kind: PageKind::Ram, access }
    }

    /// Maps `pages` pages from `bfn` on to frames from `mfn` on: how many, and why not more.
    pub(crate) fn map(
        &self,
        bfn: u64,
        mfn: u64,
        pages: u64,
        access: Access,
    ) -> (u64, Option<Stop>) {
        let mut done = 0;
        let stop = self.edit(|table, edit| {
            while done < pages {
                let run = Self::run(mfn + done, pages - done, access);
                let mapped =
                    table.map(Bfn(bfn + done), (&run).into(), pages - done, Maker::Guest, edit);
                done += mapped.pages;
                self.held.set(self.held.get() + mapped.pages);
                mapped.stop.map_or(Ok(()), Err)?;
            }
            Ok(())
        });
        (done, stop.err())
    }

    /// Maps pages one by one, with the leaf table of the last one locked: which of them.
    pub(crate) fn map_singles(&self, pages: &[(u64, u64)], access: Access) -> Vec<bool> {
        let mapped = self.edit(|table, edit| {
            let words = table.leaf_words(PageKind::Ram, access, Maker::Guest);
            let mut singles = Singles::new(table);
            let mut left = pages.iter().map(|(bfn, mfn)| (Bfn(*bfn), Mfn(*mfn))).peekable();
            let mut mapped = Vec::new();
            loop {
                let stored = singles.map_each(&mut left, &words, &mut edit.pending);
                mapped.extend(std::iter::repeat_n(true, stored));
                // What it left is what was not as usual.
                if left.next().is_none() {
                    return Ok(mapped);
                }
                mapped.push(false);
            }
        });
        let mapped = mapped.unwrap();
        self.held.set(self.held.get() + mapped.iter().filter(|done| **done).count() as u64);
        mapped
    }

    /// Unmaps pages likewise: which of them.
    pub(crate) fn unmap_singles(&self, bfns: &[u64]) -> Vec<bool> {
        let unmapped = self.edit(|table, edit| {
            let mut singles = Singles::new(table);
            Ok(bfns.iter().map(|bfn| singles.unmap(Bfn(*bfn), edit)).collect())
        });
        unmapped.unwrap()
    }

    /// Maps a leaf of `level` (1 or above).
    pub(crate) fn map_leaf(
        &self,
        bfn: u64,
        level: u8,
        mfn: u64,
        access: Access,
        paid: SplitPaid,
    ) -> Result<(), Stop> {
        let pages = pages_at::<F>(level);
        let run = Self::run(mfn, pages, access);
        let frames = if paid == SplitPaid::Yes { split_cost::<F>(level) } else { 0 };
        self.arena.reserve(DOMAIN, frames);
        let mapped = self.edit(|table, edit| {
            table.map_large(Bfn(bfn), level, AlikeRuns::from(&run), 1, (Maker::Guest, paid), edit)
        });
        match mapped {
            Ok(_) => self.held.set(self.held.get() + pages),
            Err(_) => self.arena.unreserve(DOMAIN, frames),
        }
        mapped.map(|leaves| assert_eq!(leaves, 1))
    }

    /// Maps leaves of `level` (1 or above) that follow each other, by one call: how many.
    pub(crate) fn map_leaves(&self, bfn: u64, level: u8, mfns: &[u64]) -> Result<u64, Stop> {
        let pages = pages_at::<F>(level);
        let frames = |mfn: &u64| MfnRange::of_pages(Mfn(*mfn), pages).unwrap();
        let frames: Vec<_> = mfns.iter().map(frames).collect();
        let access = Access::READ | Access::WRITE;
        let runs = AlikeRuns { frames: &frames, kind: PageKind::Ram, access };
        let how = (Maker::Guest, SplitPaid::No);
        let most = mfns.len() as u64;
        let mapped =
            self.edit(|table, edit| table.map_large(Bfn(bfn), level, runs, most, how, edit))?;
        self.held.set(self.held.get() + mapped * pages);
        Ok(mapped)
    }

    /// Fills bus frames with frames of the same numbers, `most` leaves a call.
    pub(crate) fn fill(&self, first: u64, pages: u64, most: u64) -> Result<(), Stop> {
        let mut done = 0;
        self.edit(|table, edit| {
            while done < pages {
                let run = Self::run(first + done, pages - done, Access::READ | Access::WRITE);
                let filled = table.fill(Bfn(first + done), &run, Maker::HostMap, most, edit)?;
                assert!((1..=most).contains(&filled.leaves));
                done += filled.pages;
            }
            Ok(())
        })
    }

    /// Pages of the leaf that `bfn` is in.
    pub(crate) fn leaf_of(&self, bfn: u64) -> u64 {
        self.table().lookup(Bfn(bfn)).unwrap().pages
    }

    /// Paints the bus frames `first..=last`.
    pub(crate) fn paint(&self, first: u64, last: u64, paint: Paint) {
        let range = BfnRange::new(Bfn(first), Bfn(last)).unwrap();
        self.edit(|table, edit| table.paint(range, paint, edit)).unwrap();
    }

    /// Unmaps `pages` pages, all of them mapped.
    pub(crate) fn unmap(&self, bfn: u64, pages: u64) {
        let mut done = 0;
        let stop = self.edit(|table, edit| {
            while done < pages {
                let unmapped = table.unmap(Bfn(bfn + done), pages - done, pages - done, edit);
                done += unmapped.pages;
                unmapped.stop.map_or(Ok(()), Err)?;
            }
            Ok(())
        });
        assert_eq!((done, stop), (pages, Ok(())), "unmap of {pages} pages at {bfn:#x}");
    }

    /// What a device gets at `bfn` now.
    pub(crate) fn device(&self, bfn: u64) -> Found {
        walk::<F>(&self.arena, self.root, self.kind.snoops, bfn)
    }

    /// The same for somebody who watches while the table is worked on, with a walker that snoops or
    /// one that does not.
    pub(crate) fn watcher(&self) -> impl Fn(&Arena, bool, u64) -> Found + use<F> {
        let root = self.root;
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
        self.has_few_tables();
        let mut from = Cursor::default();
        loop {
            let pruned = self.edit(|table, edit| {
                Ok(table.prune(Prune::EmptyTables, from, u64::MAX, &mut edit.pending))
            });
            match pruned.unwrap() {
                Pruned::More(next) => from = next,
                Pruned::Finished => break,
            }
        }
        assert_eq!(self.held.get(), 0, "references of {:?}", self.kind);
        assert_eq!(self.arena.live(), self.own, "table frames of {:?}", self.kind);
        assert_eq!(self.arena.reserved(), 0, "reserved frames of {:?}", self.kind);
        let counted = |kept: &KeptTables| format!("{kept:?}");
        assert_eq!(counted(&self.beside.kept), counted(&KeptTables::default()), "{:?}", self.kind);
    }
}
