//! Requests at the edges of the aperture and of numbers, and with nothing left.

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnError, BfnStorage};

const ALL: Bfn = Bfn(u64::MAX);

#[test]
fn edges_of_the_number_range() {
    let storage = BfnStorage::<32, 1>::new();
    let bfns = BfnAllocator::new(Bfn(1), ALL, &storage).unwrap();
    assert_eq!(bfns.free_pages(), u64::MAX);
    let top = bfns.allocate_aligned(1, 1, ALL).unwrap();
    assert_eq!(top.first(), ALL);
    let half = bfns.allocate_aligned(1, 1 << 63, ALL).unwrap();
    assert_eq!(half.first(), Bfn(1 << 63));
    let zone = bfns.allocate(0, (1 << 63) - 2, ALL).unwrap();
    assert_eq!(zone.first(), Bfn((1 << 63) + 1));
    assert!(matches!(bfns.allocate(0, u64::MAX, ALL), Err(BfnError::NoRoom { .. })));
    let refused = bfns.allocate_aligned(2, 1 << 63, ALL);
    assert!(matches!(refused, Err(BfnError::NoRoom { .. })));
    for range in [top, half, zone] {
        bfns.free(0, range).unwrap();
    }
    assert_eq!(bfns.add_reserved(Bfn(0x1000), ALL), Ok(()));
    assert_eq!(bfns.free_pages(), 0xfff);
    let bottom = bfns.allocate(0, 1, Bfn(2)).unwrap();
    assert_eq!(bottom.first(), Bfn(2));
}

#[test]
fn bad_requests_are_told() {
    let storage = BfnStorage::<8, 1>::new();
    let refused = BfnAllocator::new(Bfn(2), Bfn(1), &storage);
    assert_eq!(refused.unwrap_err(), BfnError::Empty { first: Bfn(2), last: Bfn(1) });
    let bfns = BfnAllocator::new(Bfn(1), Bfn(9), &storage).unwrap();
    let wrong = |pages, align| Err(BfnError::Request { pages, align });
    assert_eq!(bfns.allocate(0, 0, ALL), wrong(0, 1));
    assert_eq!(bfns.allocate_aligned(0, 1, ALL), wrong(0, 1));
    assert_eq!(bfns.allocate_aligned(1, 3, ALL), wrong(1, 3));
    assert_eq!(bfns.allocate_aligned(1, 0, ALL), wrong(1, 0));
    let no_room = |pages, limit| Err(BfnError::NoRoom { pages, align: 1, limit });
    assert_eq!(bfns.allocate(0, 10, ALL), no_room(10, Bfn(9)));
    assert_eq!(bfns.allocate(0, 1, Bfn(0)), no_room(1, Bfn(0)));
    let empty = BfnError::Empty { first: Bfn(5), last: Bfn(4) };
    assert_eq!(bfns.add_reserved(Bfn(5), Bfn(4)), Err(empty));
    assert_eq!(bfns.add_reserved(Bfn(20), Bfn(30)), Ok(()));
    assert_eq!(bfns.add_reserved(Bfn(0), Bfn(0)), Ok(()));
    assert_eq!(bfns.free_pages(), 9);
}

#[test]
fn no_room_changes_nothing_and_what_another_cpu_keeps_is_found() {
    let storage = BfnStorage::<64, 2>::new();
    let bfns = BfnAllocator::new(Bfn(0x100), Bfn(0x10f), &storage).unwrap();
    let mut ranges: Vec<_> = (0..16).map(|_| bfns.allocate(0, 1, ALL).unwrap()).collect();
    assert!(matches!(bfns.allocate(0, 1, ALL), Err(BfnError::NoRoom { .. })));
    assert!(matches!(bfns.allocate(1, 1, ALL), Err(BfnError::NoRoom { .. })));
    assert_eq!(bfns.free_pages(), 0);
    // One CPU gives back, the other one takes: as single pages, and all in one piece.
    bfns.free(0, ranges.pop().unwrap()).unwrap();
    ranges.push(bfns.allocate(1, 1, ALL).unwrap());
    for range in ranges {
        bfns.free(0, range).unwrap();
    }
    assert_eq!(bfns.allocate(1, 16, ALL).unwrap().first(), Bfn(0x100));
}

#[test]
fn a_small_range_is_found_where_its_size_rounded_up_is_not() {
    let storage = BfnStorage::<8, 1>::new();
    let bfns = BfnAllocator::new(Bfn(1), Bfn(0x21), &storage).unwrap();
    let range = bfns.allocate(0, 33, ALL).unwrap();
    assert_eq!((range.first(), range.pages()), (Bfn(1), 33));
    bfns.free(0, range).unwrap();
    assert_eq!(bfns.free_pages(), 33);
}
