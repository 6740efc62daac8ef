//! The BFN allocator against a model that marks frames one by one.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnError};

const CAPACITY: usize = 24;
const FIRST: u64 = 0x80;
const LAST: u64 = 0x17f;

#[derive(Clone, Debug)]
enum Op {
    Allocate {
        pages: u64,
        align_lg2: u32,
        limit: u64,
    },
    /// Gives back the live allocation with this number, modulo how many there are.
    Free {
        which: usize,
    },
    /// Tries to give back a range the model may or may not know.
    FreeAnything {
        first: u64,
        pages: u64,
    },
    Reserve {
        first: u64,
        pages: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let limit = prop_oneof![Just(u64::MAX), 0..LAST + 0x10];
    prop_oneof![
        4 => (1..40_u64, 0..6_u32, limit)
            .prop_map(|(pages, align_lg2, limit)| Op::Allocate { pages, align_lg2, limit }),
        3 => any::<usize>().prop_map(|which| Op::Free { which }),
        1 => (FIRST..LAST, 0..4_u64).prop_map(|(first, pages)| Op::FreeAnything { first, pages }),
        1 => (FIRST - 8..LAST + 8, 1..12_u64)
            .prop_map(|(first, pages)| Op::Reserve { first, pages }),
    ]
}

#[derive(Default)]
struct Model {
    /// First frame and pages of what is handed out.
    live: BTreeMap<u64, u64>,
    reserved: BTreeSet<u64>,
}

impl Model {
    fn is_free(&self, frame: u64) -> bool {
        (FIRST..=LAST).contains(&frame)
            && !self.reserved.contains(&frame)
            && !self.live.iter().any(|(first, pages)| (*first..first + pages).contains(&frame))
    }

    /// The highest place that fits, by trying all of them.
    fn highest(&self, pages: u64, align: u64, limit: u64) -> Option<u64> {
        (FIRST..=LAST).rev().filter(|first| first % align == 0).find(|first| {
            (*first..first + pages).all(|frame| frame <= limit && self.is_free(frame))
        })
    }

    fn free_pages(&self) -> u64 {
        (FIRST..=LAST).map(|frame| u64::from(self.is_free(frame))).sum()
    }
}

fn step(model: &mut Model, bfns: &mut BfnAllocator<CAPACITY>, op: &Op) {
    match *op {
        Op::Allocate { pages, align_lg2, limit } => {
            let align = 1 << align_lg2;
            match bfns.allocate(pages, align, Bfn(limit)) {
                Ok(first) => {
                    assert_eq!(Some(first.0), model.highest(pages, align, limit));
                    model.live.insert(first.0, pages);
                }
                Err(BfnError::NoRoom { .. }) => {
                    assert_eq!(model.highest(pages, align, limit), None);
                }
                Err(BfnError::TooManyRanges { capacity }) => assert_eq!(capacity, CAPACITY),
                Err(error) => panic!("{error}"),
            }
        }
        Op::Free { which } => {
            let count = model.live.len();
            if let Some((first, pages)) = model.live.iter().nth(which % count.max(1)) {
                let (first, pages) = (*first, *pages);
                bfns.free(Bfn(first), pages).unwrap();
                assert!(bfns.free(Bfn(first), pages).is_err(), "given back twice");
                model.live.remove(&first);
            }
        }
        Op::FreeAnything { first, pages } => {
            let known = model.live.get(&first) == Some(&pages);
            assert_eq!(bfns.free(Bfn(first), pages).is_ok(), known);
            if known {
                model.live.remove(&first);
            }
        }
        Op::Reserve { first, pages } => {
            let frames = first..first + pages;
            let in_use = frames.clone().any(|frame| {
                (FIRST..=LAST).contains(&frame)
                    && !model.is_free(frame)
                    && !model.reserved.contains(&frame)
            });
            match bfns.add_reserved(Bfn(first), Bfn(first + pages - 1)) {
                Ok(()) => {
                    assert!(!in_use, "reserved over an allocation");
                    model.reserved.extend(frames.filter(|frame| (FIRST..=LAST).contains(frame)));
                }
                Err(BfnError::InUse { .. }) => assert!(in_use),
                Err(BfnError::TooManyRanges { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(bfns.free_pages(), model.free_pages());
}

proptest! {
    #[test]
    fn agrees_with_the_model(ops in proptest::collection::vec(op(), 1..120)) {
        let mut model = Model::default();
        let mut bfns = BfnAllocator::<CAPACITY>::new(Bfn(FIRST), Bfn(LAST)).unwrap();
        for op in &ops {
            step(&mut model, &mut bfns, op);
        }

        // Once everything is given back, every frame that is not reserved can be had again.
        for (first, pages) in std::mem::take(&mut model.live) {
            bfns.free(Bfn(first), pages).unwrap();
        }
        assert_eq!(bfns.free_pages(), model.free_pages());
        let mut runs = Vec::new();
        for frame in (FIRST..=LAST).filter(|frame| model.is_free(*frame)) {
            match runs.last_mut() {
                Some((first, pages)) if *first + *pages == frame => *pages += 1,
                _ => runs.push((frame, 1)),
            }
        }
        // Highest first; with all above it taken, each run is the answer in one piece.
        for (first, pages) in runs.into_iter().rev() {
            match bfns.allocate(pages, 1, Bfn(first + pages - 1)) {
                Ok(bfn) => assert_eq!(bfn, Bfn(first)),
                Err(error) => assert!(matches!(error, BfnError::TooManyRanges { .. })),
            }
        }
    }
}

#[test]
fn edges_of_the_number_range() {
    let mut bfns = BfnAllocator::<4>::new(Bfn(0), Bfn(u64::MAX)).unwrap();
    assert_eq!(bfns.allocate(1, 1, Bfn(u64::MAX)), Ok(Bfn(u64::MAX)));
    assert_eq!(bfns.allocate(u64::MAX, 1, Bfn(u64::MAX)), Ok(Bfn(0)));
    assert_eq!(bfns.free_pages(), 0);
    assert!(matches!(bfns.allocate(1, 1, Bfn(u64::MAX)), Err(BfnError::NoRoom { .. })));
    assert!(matches!(bfns.free(Bfn(u64::MAX), u64::MAX), Err(BfnError::NotAllocated { .. })));
    bfns.free(Bfn(0), u64::MAX).unwrap();
    bfns.free(Bfn(u64::MAX), 1).unwrap();
    assert_eq!(bfns.allocate(1, 1 << 63, Bfn(u64::MAX)), Ok(Bfn(1 << 63)));
    assert_eq!(bfns.allocate(1, 1, Bfn(0)), Ok(Bfn(0)));
}

#[test]
fn bad_requests_are_told() {
    assert!(matches!(BfnAllocator::<4>::new(Bfn(2), Bfn(1)), Err(BfnError::Empty { .. })));
    let mut bfns = BfnAllocator::<1>::new(Bfn(1), Bfn(9)).unwrap();
    assert!(matches!(bfns.allocate(0, 1, Bfn(9)), Err(BfnError::Request { .. })));
    assert!(matches!(bfns.allocate(1, 3, Bfn(9)), Err(BfnError::Request { .. })));
    assert!(matches!(bfns.allocate(1, 0, Bfn(9)), Err(BfnError::Request { .. })));
    assert!(matches!(bfns.allocate(10, 1, Bfn(9)), Err(BfnError::NoRoom { .. })));
    assert!(matches!(bfns.free(Bfn(1), 0), Err(BfnError::NotAllocated { .. })));
    assert!(matches!(bfns.add_reserved(Bfn(5), Bfn(4)), Err(BfnError::Empty { .. })));
    assert_eq!(bfns.add_reserved(Bfn(20), Bfn(30)), Ok(()));
    assert_eq!(bfns.allocate(2, 1, Bfn(9)), Ok(Bfn(8)));
    assert_eq!(bfns.allocate(2, 1, Bfn(9)), Err(BfnError::TooManyRanges { capacity: 1 }));
    let none = BfnAllocator::<0>::new(Bfn(1), Bfn(9)).unwrap().allocate(1, 1, Bfn(9));
    assert_eq!(none, Err(BfnError::TooManyRanges { capacity: 0 }));
}
