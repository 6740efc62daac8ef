//! One storage, one allocator; one allocator, its own ranges.

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnError, BfnStorage};

const LAST: Bfn = Bfn(0xf_ffff);

/// What is lent for ever may be lent for less, and CPUs may share it.
const fn _shorter<'m>(bfns: &'m BfnAllocator<'static>) -> &'m (dyn Sync + 'm) {
    let shorter: &'m BfnAllocator<'m> = bfns;
    shorter
}

#[test]
fn a_storage_is_used_by_one_allocator_at_a_time() {
    static STORAGE: BfnStorage<32, 1> = BfnStorage::new();
    let bfns = BfnAllocator::new(Bfn(1), LAST, &STORAGE).unwrap();
    let second = BfnAllocator::new(Bfn(1), LAST, &STORAGE);
    assert_eq!(second.unwrap_err(), BfnError::StorageTaken);
    let range = bfns.allocate(0, 1, LAST).unwrap();
    let free = bfns.free_pages();
    drop(bfns);

    // Anew: nothing is taken, and the old range is worth nothing.
    let bfns = BfnAllocator::new(Bfn(1), LAST, &STORAGE).unwrap();
    assert_eq!(bfns.free_pages(), free + 1);
    let taken = bfns.allocate(0, 1, LAST).unwrap();
    assert_eq!(taken.first(), range.first());
    let refused = bfns.free(0, range).unwrap_err();
    assert_eq!(refused.cause, BfnError::NotOurs);
    assert_eq!(bfns.free_pages(), free);
    bfns.free(0, taken).unwrap();
}

#[test]
fn a_range_of_another_allocator_is_refused_and_nothing_changes() {
    let (one, other) = (BfnStorage::<32, 1>::new(), BfnStorage::<32, 1>::new());
    let one = BfnAllocator::new(Bfn(1), LAST, &one).unwrap();
    let other = BfnAllocator::new(Bfn(1), LAST, &other).unwrap();
    for pages in [1, 100] {
        let range = one.allocate(0, pages, LAST).unwrap();
        let _same = other.allocate(0, pages, LAST).unwrap();
        let free = other.free_pages();
        let refused = other.free(0, range).unwrap_err();
        assert_eq!((refused.cause, refused.range.pages()), (BfnError::NotOurs, pages));
        assert_eq!(other.free_pages(), free);
        // It is as good as before where it came from.
        one.free(0, refused.range).unwrap();
    }
}

#[test]
fn too_few_entries_are_an_error_that_changes_nothing() {
    // Zones end at 16 and 256 MiB, and at 1 GiB.
    let short = BfnStorage::<3, 1>::new();
    let refused = BfnAllocator::new(Bfn(1), LAST, &short);
    assert_eq!(refused.unwrap_err(), BfnError::TooManyRanges { capacity: 3 });
    // The claim is no longer held.
    let bfns = BfnAllocator::new(Bfn(1), Bfn(0xff), &short).unwrap();
    let full = Err(BfnError::TooManyRanges { capacity: 3 });
    let _kept = [0; 2].map(|_| bfns.allocate(0, 1, LAST).unwrap());
    let free = bfns.free_pages();
    assert_eq!(bfns.allocate(0, 1, LAST), full);
    assert_eq!(bfns.add_reserved(Bfn(0x10), Bfn(0x1f)), full.map(|_| ()));
    assert_eq!(bfns.free_pages(), free);
    // All that is left needs no entry.
    let rest = bfns.allocate(0, free, LAST).unwrap();
    assert_eq!((rest.first(), bfns.free_pages()), (Bfn(1), 0));
    assert!(matches!(bfns.allocate(0, 1, LAST), Err(BfnError::NoRoom { .. })));

    let none = BfnStorage::<0, 0>::new();
    let refused = BfnAllocator::new(Bfn(1), LAST, &none);
    assert_eq!(refused.unwrap_err(), BfnError::TooManyRanges { capacity: 0 });
}

#[test]
fn no_magazines_are_needed() {
    let storage = BfnStorage::<32, 0>::new();
    let bfns = BfnAllocator::new(Bfn(1), LAST, &storage).unwrap();
    let free = bfns.free_pages();
    let range = bfns.allocate(5, 3, LAST).unwrap();
    assert_eq!(bfns.free_pages(), free - 3);
    bfns.free(7, range).unwrap();
    assert_eq!(bfns.free_pages(), free);
}
