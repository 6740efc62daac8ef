//! The concurrent pieces under loom: every interleaving of two CPUs on a tiny table.
//!
//! Run with `./ci.sh loom`. The table has two entries a level, so that one leaf table is full with
//! two pages and every race is between neighbours. A freed frame is filled with entries that map
//! [`POISON`]: whoever still reads it gives itself away.

#![expect(unsafe_code, reason = "the tests provide table frames")]
#![expect(clippy::indexing_slicing, reason = "a test fails by a panic")]

use loom::{sync::Arc, thread};
use pviommu_abi::{Bfn, DomId};

use crate::{
    Cpu,
    addr::{BfnRange, Mfn, MfnRange},
    context::Context,
    flush::{FlushRoom, PendingFlush},
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, Origin, TableSoft},
    machine::Gate,
    platform::{Access, AlikeRuns, PageKind, Pool, Run, TableFrames, TableRoot},
    sync::{AtomicU64, Ordering},
    table::{
        Beside, Cursor, Edit, MAX_KEPT_TABLES, Maker, Prune, Singles, Stash, Stop, Table,
        TableStyle,
    },
};

mod aside;
mod deferral;
mod foreign;
mod large;
mod races;
mod scratch;
mod splits;
mod uppers;

const POISON: Mfn = Mfn(0xdead);

/// One index bit a level: two entries a table.
struct Tiny;

const PRESENT: u64 = 1;
const TABLE: u64 = 2;

impl Format for Tiny {
    const INDEX_BITS: u32 = 1;
    const NEXT_FRAME: u64 = 1 << 16;
    const EMPTY: u64 = 0;

    fn is_present(raw: u64) -> bool {
        raw & PRESENT != 0
    }

    fn decode(raw: u64, _level: u8) -> Entry {
        let frame = Mfn(raw >> 16);
        if !Self::is_present(raw) {
            Entry::Empty
        } else if raw & TABLE != 0 {
            Entry::Table(frame)
        } else {
            let soft = LeafSoft::from_bits(Self::soft(raw));
            Entry::Leaf(Leaf { frame, access: Access::READ, soft })
        }
    }

    fn leaf(leaf: Leaf, _level: u8, _attributes: LeafAttributes) -> u64 {
        Self::with_soft(PRESENT | leaf.frame.0 << 16, leaf.soft.bits())
    }

    fn table(table: Mfn, _level: u8, soft: TableSoft) -> u64 {
        Self::with_soft(PRESENT | TABLE | table.0 << 16, soft.bits())
    }

    fn soft(raw: u64) -> u8 {
        u8::try_from((raw >> 8) & 0x7f).unwrap_or(0)
    }

    fn with_soft(raw: u64, soft: u8) -> u64 {
        (raw & !(0x7f << 8)) | u64::from(soft) << 8
    }

    fn attributes(_raw: u64) -> LeafAttributes {
        LeafAttributes::empty()
    }
}

/// Frames 0 to 6; frame 0 is the root of every test, and the tests hand out the others.
struct Arena {
    frames: [[AtomicU64; 2]; 7],
    bus: Option<AtomicU64>,
}

impl Arena {
    fn new(bus: Option<AtomicU64>) -> Self {
        let frame = |_| [AtomicU64::new(0), AtomicU64::new(0)];
        Self { frames: core::array::from_fn(frame), bus }
    }

    /// Orders nothing.
    fn meet(&self) {
        if let Some(bus) = &self.bus {
            bus.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: `table` is the same memory for ever, and the tests hand each frame out once.
unsafe impl TableFrames for Arena {
    fn alloc(&self, _: DomId, _: Pool) -> Option<Mfn> {
        None
    }

    fn free(&self, _: DomId, frame: Mfn, _: Pool) {
        let soft = LeafSoft::new(Origin::Guest);
        let leaf = Leaf { frame: POISON, access: Access::READ, soft };
        for entry in self.table(frame) {
            entry.store(Tiny::leaf(leaf, 0, LeafAttributes::empty()), Ordering::Relaxed);
        }
    }

    fn reserve(&self, _: DomId, _: u32) -> bool {
        false
    }

    fn unreserve(&self, _: DomId, _: u32) {}

    fn table(&self, frame: Mfn) -> &[AtomicU64] {
        &self.frames[usize::try_from(frame.0).unwrap()]
    }

    fn first_table(&self, _: MfnRange) -> Option<Mfn> {
        None
    }

    fn publish(&self, _: Mfn, _: usize, _: usize) {
        self.meet();
    }
}

/// What two CPUs share.
struct Shared {
    arena: Arena,
    beside: Beside,
    cpus: [Cpu; 2],
    levels: u8,
}

/// What every bus frame that is not mapped leads to, where there is a scratch page.
const SCRATCH: u64 = 0x5c;

impl Shared {
    fn new(levels: u8) -> Arc<Self> {
        Self::with_bus(levels, None)
    }

    /// The same, for a model of devices that walk the table.
    fn with_devices(levels: u8) -> Arc<Self> {
        Self::with_bus(levels, Some(AtomicU64::new(0)))
    }

    fn with_bus(levels: u8, bus: Option<AtomicU64>) -> Arc<Self> {
        let cpus = [Cpu::new(), Cpu::new()];
        let beside = Beside::new();
        beside.vacancy.set_fault::<Tiny>();
        Arc::new(Self { arena: Arena::new(bus), beside, cpus, levels })
    }

    /// The same with a scratch page, and frames 4 and 5 for its shared tables.
    fn with_scratch(levels: u8) -> Arc<Self> {
        let shared = Self::new(levels);
        let tables = [Mfn(4), Mfn(5)];
        let used = &tables[..usize::from(levels - 1)];
        shared.beside.vacancy.set_scratch::<Tiny>(Mfn(SCRATCH), used, LeafAttributes::empty());
        for (level, table) in (0u8..).zip(used) {
            for entry in shared.arena.table(*table) {
                entry.store(shared.beside.vacancy.word(level), Ordering::Relaxed);
            }
        }
        for entry in shared.arena.table(Mfn(0)) {
            entry.store(shared.beside.vacancy.word(levels - 1), Ordering::Relaxed);
        }
        shared
    }

    /// Where a device that walks the table now gets to.
    ///
    /// loom tries a store before and after the latest access of the word only, and a CPU that loads
    /// an entry before it changes it hides the load of a device: a model that is about devices has
    /// both meet on a word of their own, at every change.
    fn walk(&self, bfn: u64) -> Option<u64> {
        let mut table = Mfn(0);
        for level in (0..self.levels).rev() {
            let index = usize::try_from((bfn >> level) & 1).unwrap();
            self.arena.meet();
            match Tiny::decode(self.arena.table(table)[index].load(Ordering::Acquire), level) {
                Entry::Table(next) => table = next,
                Entry::Leaf(leaf) => return Some(leaf.frame.0),
                Entry::Empty => return None,
            }
        }
        None
    }

    fn table(&self) -> Table<'_, Tiny, Arena> {
        let root = TableRoot { frame: Mfn(0), levels: self.levels };
        let attributes = LeafAttributes::empty();
        let style =
            TableStyle { attributes, publish: self.arena.bus.is_some(), largest_leaf_level: 0 };
        Table::new(&self.arena, root, style, &self.beside)
    }

    fn gate(&self, cpu: usize) -> Gate<'_> {
        Gate { cpus: &self.cpus, own: &self.cpus[cpu] }
    }

    /// Maps `pages` pages at `bfn` to frames from `frame` on, with tables from `stash`.
    fn map(&self, bfn: u64, frame: u64, pages: u64, tables: &[u64]) -> (u64, Option<Stop>, Stash) {
        let mut stash = Stash::new();
        for table in tables {
            stash.put(Mfn(*table), Pool::Open).unwrap();
        }
        let mut room = FlushRoom::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let frames = MfnRange::of_pages(Mfn(frame), pages).unwrap();
        let run = Run { frames, kind: PageKind::Ram, access: Access::READ };
        let mapped = self.table().map(Bfn(bfn), (&run).into(), pages, Maker::Guest, &mut edit);
        (mapped.pages, mapped.stop, stash)
    }

    /// Unmaps `pages` pages at `bfn`: pages unmapped, references to release, tables to free.
    fn unmap(&self, bfn: u64, pages: u64) -> (u64, u64, Vec<Mfn>) {
        let mut room = FlushRoom::new();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let unmapped = self.table().unmap(Bfn(bfn), pages, pages, &mut edit);
        let (references, tables) = complete(edit.pending);
        (unmapped.pages, references, tables)
    }

    /// Maps single pages with one lock for all of a leaf table, to frames from `frame` on; how many.
    fn map_singles(&self, bfns: &[u64], frame: u64) -> u64 {
        let mut room = FlushRoom::new();
        let mut pending = PendingFlush::new(&mut room);
        let table = self.table();
        let words = table.leaf_words(PageKind::Ram, Access::READ, Maker::Guest);
        let mut singles = Singles::new(&table);
        let mut mapped = 0;
        for (bfn, frame) in bfns.iter().zip(frame..) {
            let mut page = core::iter::once((Bfn(*bfn), Mfn(frame))).peekable();
            mapped += singles.map_each(&mut page, &words, &mut pending) as u64;
        }
        mapped
    }

    /// Unmaps single pages with one lock for all of a leaf table; how many, and references to release.
    fn unmap_singles(&self, bfns: &[u64]) -> (u64, u64) {
        let mut room = FlushRoom::new();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let table = self.table();
        let mut singles = Singles::new(&table);
        let mut unmapped = 0;
        for bfn in bfns {
            unmapped += u64::from(singles.unmap(Bfn(*bfn), &mut edit));
        }
        drop(singles);
        (unmapped, complete(edit.pending).0)
    }

    fn frame(&self, bfn: u64) -> Option<u64> {
        self.table().lookup(Bfn(bfn)).map(|found| found.leaf.frame.0)
    }
}

/// Pages and tables that are released after the flush.
fn complete(mut pending: PendingFlush<'_>) -> (u64, Vec<Mfn>) {
    let mut released = (0, Vec::new());
    let flushed = pending.complete(
        |_, _| Ok::<_, ()>(()),
        |_, _| {},
        |done| {
            released.0 = done.runs.iter().map(|run| run.frames.pages()).sum();
            released.1 = done.tables.to_vec();
        },
    );
    flushed.unwrap();
    released
}

/// Runs `first` on CPU 0 and `second` on CPU 1, and returns what both said.
fn race<A: Send + 'static, B>(
    shared: &Arc<Shared>,
    first: impl FnOnce(&Shared) -> A + Send + 'static,
    second: impl FnOnce(&Shared) -> B,
) -> (A, B) {
    let other = Arc::clone(shared);
    let handle = thread::spawn(move || first(&other));
    let second = second(shared);
    (handle.join().unwrap(), second)
}
