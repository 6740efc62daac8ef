//! The allocator against a model that marks frames one by one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnError, BfnRange, BfnStorage};

/// With the end of a zone in it, at 0x1000.
const FIRST: u64 = 0xf80;
const LAST: u64 = 0x107f;
const BORDER: u64 = 0x1000;
const CPUS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Allocate {
        cpu: usize,
        pages: u64,
        limit: u64,
    },
    Aligned {
        pages: u64,
        align_lg2: u32,
        limit: u64,
    },
    /// Gives back the live range with this number, modulo how many there are.
    Free {
        cpu: usize,
        which: usize,
    },
    Reserve {
        first: u64,
        pages: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let limit = || prop_oneof![4 => Just(u64::MAX), 1 => 0..LAST + 0x10, 1 => Just(BORDER - 1)];
    prop_oneof![
        6 => (0..CPUS + 1, prop_oneof![2 => Just(1), 1 => 1..40_u64, 1 => 60..100_u64], limit())
            .prop_map(|(cpu, pages, limit)| Op::Allocate { cpu, pages, limit }),
        1 => (1..40_u64, 0..6_u32, limit())
            .prop_map(|(pages, align_lg2, limit)| Op::Aligned { pages, align_lg2, limit }),
        5 => (0..CPUS + 1, any::<usize>()).prop_map(|(cpu, which)| Op::Free { cpu, which }),
        1 => (FIRST - 8..LAST + 8, 1..12_u64)
            .prop_map(|(first, pages)| Op::Reserve { first, pages }),
    ]
}

#[derive(Default)]
struct Model {
    live: Vec<BfnRange>,
    reserved: BTreeSet<u64>,
}

impl Model {
    fn is_free(&self, frame: u64) -> bool {
        (FIRST..=LAST).contains(&frame)
            && !self.reserved.contains(&frame)
            && !self.live.iter().any(|range| frames(range).contains(&frame))
    }

    /// Whether so many free frames follow each other on one side of the border.
    fn has_room(&self, pages: u64, align: u64, limit: u64) -> bool {
        (FIRST..=LAST).filter(|first| first % align == 0).any(|first| {
            let last = first + pages - 1;
            last <= limit
                && (first < BORDER) == (last < BORDER)
                && (first..=last).all(|frame| self.is_free(frame))
        })
    }

    /// Whether the frames that are really taken are those that are asked for and no more.
    fn is_exact(&self) -> bool {
        self.live.iter().all(|range| range.pages().is_power_of_two() || range.pages() > 64)
    }

    fn take(&mut self, range: BfnRange, pages: u64, align: u64, limit: u64) {
        assert_eq!((range.pages(), range.first().0 % align), (pages, 0));
        assert!(frames(&range).all(|frame| frame <= limit && self.is_free(frame)));
        self.live.push(range);
    }

    fn free_runs(&self) -> BTreeMap<u64, u64> {
        let mut runs: BTreeMap<u64, u64> = BTreeMap::new();
        for frame in (FIRST..=LAST).filter(|frame| self.is_free(*frame)) {
            match runs.last_entry() {
                Some(mut run) if run.key() + run.get() == frame && frame != BORDER => {
                    *run.get_mut() += 1;
                }
                _ => {
                    runs.insert(frame, 1);
                }
            }
        }
        runs
    }
}

fn frames(range: &BfnRange) -> std::ops::Range<u64> {
    range.first().0..range.first().0 + range.pages()
}

fn step(model: &mut Model, bfns: &BfnAllocator<'_>, op: &Op, capacity: usize) {
    let outcome = match *op {
        Op::Allocate { cpu, pages, limit } => {
            bfns.allocate(cpu, pages, Bfn(limit)).map(|range| model.take(range, pages, 1, limit))
        }
        Op::Aligned { pages, align_lg2, limit } => {
            let align = 1 << align_lg2;
            let range = bfns.allocate_aligned(pages, align, Bfn(limit));
            range.map(|range| model.take(range, pages, align, limit))
        }
        Op::Free { cpu, which } => {
            if !model.live.is_empty() {
                let range = model.live.swap_remove(which % model.live.len());
                bfns.free(cpu, range).unwrap();
            }
            Ok(())
        }
        Op::Reserve { first, pages } => {
            let frames = first..first + pages;
            let in_use =
                model.live.iter().any(|range| self::frames(range).any(|f| frames.contains(&f)));
            let outcome = bfns.add_reserved(Bfn(first), Bfn(first + pages - 1));
            match outcome {
                Ok(()) => assert!(!in_use, "reserved over an allocation"),
                Err(BfnError::InUse { .. }) => assert!(in_use || !model.is_exact()),
                _ => {}
            }
            outcome.map(|()| {
                model.reserved.extend(frames.filter(|frame| (FIRST..=LAST).contains(frame)));
            })
        }
    };
    match outcome {
        Ok(()) | Err(BfnError::InUse { .. }) => {}
        Err(BfnError::NoRoom { pages, align, limit }) => {
            assert!(!model.is_exact() || !model.has_room(pages, align, limit.0), "{op:?}");
        }
        Err(BfnError::TooManyRanges { capacity: told }) => assert_eq!(told, capacity),
        Err(error) => panic!("{error}"),
    }
    if model.is_exact() {
        assert_eq!(bfns.free_pages(), model.free_runs().values().sum::<u64>());
    }
}

fn agrees<const RANGES: usize>(ops: &[Op]) {
    let storage = BfnStorage::<RANGES, CPUS>::new();
    let bfns = BfnAllocator::new(Bfn(FIRST), Bfn(LAST), &storage).unwrap();
    let mut model = Model::default();
    for op in ops {
        step(&mut model, &bfns, op, RANGES);
    }

    // Once everything is given back, every frame that is not reserved can be had again, each run in
    // one piece.
    for (cpu, range) in model.live.drain(..).enumerate() {
        bfns.free(cpu % CPUS, range).unwrap();
    }
    let runs = model.free_runs();
    assert_eq!(bfns.free_pages(), runs.values().sum::<u64>());
    let mut sizes: Vec<u64> = runs.values().copied().collect();
    sizes.sort_unstable();
    // The longest first: none fits into another one's place.
    let again = |pages| bfns.allocate_aligned(pages, 1, Bfn(LAST)).unwrap();
    let ranges: Vec<_> = sizes.into_iter().rev().map(again).collect();
    assert_eq!(bfns.free_pages(), 0);
    assert!(ranges.iter().all(|range| runs.get(&range.first().0) == Some(&range.pages())));
}

proptest! {
    #[test]
    fn agrees_with_the_model(ops in proptest::collection::vec(op(), 1..160)) {
        agrees::<256>(&ops);
    }

    #[test]
    fn agrees_with_the_model_when_entries_run_out(
        ops in proptest::collection::vec(op(), 1..160),
    ) {
        agrees::<24>(&ops);
    }
}
