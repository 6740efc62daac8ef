//! What devices reach, and what is left to them.

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnError, BfnStorage};

/// The last frame that a device with so many address bits reaches.
fn limit(bits: u32) -> Bfn {
    Bfn(u64::MAX >> (64 - bits) >> 12)
}

#[test]
fn no_range_is_above_the_mask_and_none_is_lower_than_it_must_be() {
    for pages in [1, 3, 64, 65] {
        let storage = BfnStorage::<512, 1>::new();
        let bfns = BfnAllocator::new(Bfn(1), limit(48), &storage).unwrap();
        for bits in [64, 48, 44, 40, 36, 32, 30, 28, 24] {
            let range = bfns.allocate(0, pages, limit(bits)).unwrap();
            let last = range.first().0 + pages - 1;
            assert!(last <= limit(bits).0, "{bits} bits: {last:#x}");
            assert!(last > limit(bits.min(48)).0 - 1024, "{bits} bits: {last:#x}");
            bfns.free(0, range).unwrap();
        }
        // Whatever is at hand, these do not take what others need.
        for _ in 0..100 {
            let _kept = bfns.allocate(0, pages, limit(64)).unwrap();
        }
        let low = bfns.allocate(0, pages, limit(30)).unwrap();
        assert!(low.first().0 > limit(30).0 - 1024);
    }
}

#[test]
fn masks_between_zones_are_respected() {
    let storage = BfnStorage::<512, 1>::new();
    let bfns = BfnAllocator::new(Bfn(1), limit(48), &storage).unwrap();
    let mut taken = Vec::new();
    // High ones first, which a lower mask must not be given.
    for bits in (14..=64).rev() {
        for pages in [1, 2, 2, 1] {
            let range = bfns.allocate(0, pages, limit(bits));
            let range = match (bits, range) {
                (20.., range) => range.unwrap(),
                // A few frames, which run out.
                (_, Ok(range)) => range,
                (_, Err(error)) => {
                    assert!(matches!(error, BfnError::NoRoom { .. }));
                    continue;
                }
            };
            assert!(range.first().0 + range.pages() - 1 <= limit(bits).0, "{bits} bits");
            taken.push(range);
        }
        // Some are at hand when the next lower mask asks.
        bfns.free(0, taken.remove(0)).unwrap();
    }
}

#[test]
fn devices_with_long_addresses_leave_the_low_ones_alone() {
    let storage = BfnStorage::<4096, 1>::new();
    let bfns = BfnAllocator::new(Bfn(1), Bfn(0x10_0fff), &storage).unwrap();
    // All above 4 GiB is used up before anything below is.
    let high: Vec<_> = (0..64).map(|_| bfns.allocate(0, 64, limit(64)).unwrap()).collect();
    assert!(high.iter().all(|range| range.first() > limit(32)));
    let low = bfns.allocate(0, 64, limit(64)).unwrap();
    assert!(low.first() <= limit(32) && low.first() > limit(30));
    // It goes back to where devices with 32 bits find it.
    let first = low.first();
    bfns.free(0, low).unwrap();
    assert_eq!(bfns.allocate(0, 64, limit(32)).unwrap().first(), first);
}

#[test]
fn reserved_ranges_are_never_handed_out() {
    let storage = BfnStorage::<256, 2>::new();
    let bfns = BfnAllocator::new(Bfn(1), Bfn(0xff), &storage).unwrap();
    // Magazines that are filled are not in the way.
    let range = bfns.allocate(1, 1, limit(64)).unwrap();
    bfns.free(1, range).unwrap();
    bfns.add_reserved(Bfn(0xe0), Bfn(0xff)).unwrap();
    bfns.add_reserved(Bfn(0x40), Bfn(0x4f)).unwrap();
    // Overlapping one, and joining both.
    bfns.add_reserved(Bfn(0x48), Bfn(0xe8)).unwrap();
    bfns.add_reserved(Bfn(0x60), Bfn(0x61)).unwrap();
    assert_eq!(bfns.free_pages(), 0x3f);
    let ranges: Vec<_> = (0..0x3f).map(|n| bfns.allocate(n % 2, 1, limit(64)).unwrap()).collect();
    assert!(ranges.iter().all(|range| (1..0x40).contains(&range.first().0)));
    assert!(matches!(bfns.allocate(0, 1, limit(64)), Err(BfnError::NoRoom { .. })));

    let taken = ranges.first().unwrap().first();
    let in_use = BfnError::InUse { first: taken, last: taken };
    assert_eq!(bfns.add_reserved(taken, taken), Err(in_use));
}
