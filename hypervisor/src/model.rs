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
    addr::{Mfn, MfnRange},
    context::Context,
    flush::{FlushRoom, PendingFlush},
    format::{Entry, Format, Leaf, LeafAttributes, LeafSoft, Origin, TableSoft},
    machine::Gate,
    platform::{Access, PageKind, Pool, Run, TableFrames, TableRoot},
    sync::{AtomicU64, Ordering},
    table::{Cursor, Edit, KeptTables, MAX_KEPT_TABLES, Prune, Stash, Stop, Table, TableStyle},
};

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

    fn table(table: Mfn, soft: TableSoft) -> u64 {
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

/// Frames 0 to 5; frame 0 is the root of every test, and the tests hand out the others.
struct Arena([[AtomicU64; 2]; 6]);

impl Arena {
    fn new() -> Self {
        Self(core::array::from_fn(|_| [AtomicU64::new(0), AtomicU64::new(0)]))
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
        &self.0[usize::try_from(frame.0).unwrap()]
    }
}

/// What two CPUs share.
struct Shared {
    arena: Arena,
    kept: KeptTables,
    cpus: [Cpu; 2],
    levels: u8,
}

impl Shared {
    fn new(levels: u8) -> Arc<Self> {
        let cpus = [Cpu::new(), Cpu::new()];
        Arc::new(Self { arena: Arena::new(), kept: KeptTables::new(), cpus, levels })
    }

    fn table(&self) -> Table<'_, Tiny, Arena> {
        let root = TableRoot { frame: Mfn(0), levels: self.levels };
        let style = TableStyle { attributes: LeafAttributes::empty(), publish: false };
        Table::new(&self.arena, root, style, &self.kept)
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
        let mapped = self.table().map(Bfn(bfn), &[run], pages, Origin::Guest, &mut edit);
        (mapped.pages, mapped.stop, stash)
    }

    /// Unmaps `pages` pages at `bfn`: pages unmapped, references to release, tables to free.
    fn unmap(&self, bfn: u64, pages: u64) -> (u64, u64, Vec<Mfn>) {
        let mut room = FlushRoom::new();
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room));
        let unmapped = self.table().unmap(Bfn(bfn), pages, pages, &mut edit);
        let done = edit.pending.complete(|_, _| Ok::<_, ()>(()), |_, _| {}).unwrap();
        let references = done.runs.iter().map(|run| run.frames.pages()).sum();
        (unmapped.pages, references, done.tables.to_vec())
    }

    fn frame(&self, bfn: u64) -> Option<u64> {
        self.table().lookup(Bfn(bfn)).map(|found| found.leaf.frame.0)
    }
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

#[test]
fn loom_one_of_two_maps_of_one_page_wins() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(1, 9, 1, &[1]);
        let (a, b) = race(&shared, |s| s.map(0, 10, 1, &[]).0, |s| s.map(0, 20, 1, &[]).0);
        assert_eq!(a + b, 1);
        assert_eq!(shared.frame(0), Some(if a == 1 { 10 } else { 20 }));
        assert_eq!(shared.frame(1), Some(9));
    });
}

/// INV-21: the reference of a page is given back once.
#[test]
fn loom_one_of_two_unmaps_of_one_page_gets_its_reference() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 2, &[1]);
        let (a, b) = race(&shared, |s| s.unmap(0, 1), |s| s.unmap(0, 1));
        assert_eq!((a.0 + b.0, a.1 + b.1), (1, 1));
        assert_eq!((shared.frame(0), shared.frame(1)), (None, Some(11)));
    });
}

#[test]
fn loom_a_map_and_an_unmap_in_one_leaf_table_do_not_disturb_each_other() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 1, &[1]);
        let (mapped, unmapped) = race(&shared, |s| s.map(1, 20, 1, &[]).0, |s| s.unmap(0, 1));
        assert_eq!((mapped, unmapped.0, unmapped.1), (1, 1, 1));
        assert_eq!((shared.frame(0), shared.frame(1)), (None, Some(20)));
        assert_eq!(shared.kept.count(), 0);
        // The record still names an entry that is present: unmapping it empties the table.
        assert_eq!(shared.unmap(1, 1).1, 1);
        assert_eq!(shared.kept.count(), 1);
    });
}

#[test]
fn loom_tables_for_neighbours_are_linked_once() {
    loom::model(|| {
        let shared = Shared::new(3);
        let (a, b) = race(&shared, |s| s.map(0, 10, 1, &[1, 2]), |s| s.map(2, 20, 1, &[3, 4]));
        // Who lost a race has its frames back and may ask again.
        for (bfn, frame, (pages, stop, mut stash)) in [(0, 10, a), (2, 20, b)] {
            if pages == 0 {
                assert_eq!(stop, Some(Stop::NeedTables(2, Pool::Open)));
                let mut left = Vec::new();
                while let Some(frame) = stash.take(Pool::Open) {
                    left.push(frame.0);
                }
                assert_eq!(left.len(), 2);
                assert_eq!(shared.map(bfn, frame, 1, &left).0, 1);
            }
        }
        assert_eq!((shared.frame(0), shared.frame(2)), (Some(10), Some(20)));
        assert_eq!((shared.frame(1), shared.frame(3)), (None, None));
    });
}

/// INV-07: a leaf table is freed only after every CPU that may read it has left.
#[test]
fn loom_a_freed_leaf_table_is_not_read_from_inside() {
    loom::model(|| {
        let shared = Shared::new(2);
        shared.map(0, 10, 1, &[1]);
        (0..MAX_KEPT_TABLES).for_each(|_| shared.kept.keep_anyway());
        let reader = |s: &Shared| {
            let _inside = s.gate(0).enter();
            s.frame(0)
        };
        let (seen, ()) = race(&shared, reader, |s| {
            let inside = s.gate(1).enter();
            let (_, _, tables) = s.unmap(0, 1);
            drop(inside);
            assert_eq!(tables, [Mfn(1)]);
            s.gate(1).wait_for_others();
            s.arena.free(DomId(1), Mfn(1), Pool::Open);
        });
        assert!(matches!(seen, None | Some(10)), "read a freed table: {seen:x?}");
    });
}

/// A pass that needs the table for itself has it: what it unlinks, nobody fills meanwhile.
#[test]
fn loom_a_trim_does_not_lose_a_map() {
    loom::model(|| {
        let shared = Shared::new(2);
        let context = Arc::new(Context::new());
        context.open(TableRoot { frame: Mfn(0), levels: 2 });
        shared.map(0, 10, 1, &[1]);
        shared.unmap(0, 1);
        assert_eq!(shared.kept.count(), 1);
        let epoch = context.facts().epoch;
        let mapper = Arc::clone(&context);
        let map = move |s: &Shared| match mapper.enter(s.gate(0), epoch) {
            Ok(_inside) => Some(s.map(0, 20, 1, &[2]).0),
            Err(_) => None,
        };
        let (mapped, ()) = race(&shared, map, |s| {
            let mut room = FlushRoom::new();
            let mut pending = PendingFlush::new(&mut room);
            context.exclusively(s.gate(1), || {
                let _ = s.table().prune(Prune::EmptyTables, Cursor::default(), 256, &mut pending);
            });
            let done = pending.complete(|_, _| Ok::<_, ()>(()), |_, _| {}).unwrap();
            s.gate(1).wait_for_others();
            for table in done.tables {
                s.arena.free(DomId(1), *table, Pool::Open);
            }
        });
        match mapped {
            Some(pages) => assert_eq!((pages, shared.frame(0)), (1, Some(20))),
            None => assert_eq!(shared.frame(0), None),
        }
        assert_eq!(shared.kept.count(), 0);
    });
}
