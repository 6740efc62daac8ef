//! Many CPUs, one allocator.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use pviommu_abi::Bfn;
use pviommu_guest::{BfnAllocator, BfnRange, BfnStorage};

const THREADS: usize = 4;
const FIRST: u64 = 0xf_fc00;
const LAST: u64 = 0x10_03ff;

/// Marks each frame with its owner, and finds each marked as it was.
struct Owners(Vec<AtomicU32>);

impl Owners {
    fn change(&self, range: &BfnRange, from: u32, to: u32) {
        for frame in range.first().0..range.first().0 + range.pages() {
            let index = usize::try_from(frame - FIRST).unwrap();
            let owner = self.0.get(index).expect("it is in the aperture");
            assert_eq!(owner.swap(to, Ordering::Relaxed), from, "frame {frame:#x}");
        }
    }
}

/// Steps of a sequence of numbers that looks like chance.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn work(cpu: usize, bfns: &BfnAllocator<'_>, owners: &Owners) {
    let me = u32::try_from(cpu).unwrap() + 1;
    let mut seed = me.into();
    let mut mine = Vec::new();
    for _ in 0..20_000 {
        let limit = if next(&mut seed) & 1 == 0 { 0xf_ffff } else { u64::MAX };
        let pages = [1, 1, 2, 3, 8, 17, 64, 100].get(next(&mut seed) as usize % 8).copied();
        if mine.len() < 12
            && let Ok(range) = bfns.allocate(cpu, pages.unwrap(), Bfn(limit))
        {
            assert!(range.first().0 + range.pages() - 1 <= limit);
            owners.change(&range, 0, me);
            mine.push(range);
        } else if !mine.is_empty() {
            let range = mine.swap_remove(next(&mut seed) as usize % mine.len());
            owners.change(&range, me, 0);
            // Not always where it came from.
            let cpu = if next(&mut seed) & 7 == 0 { cpu + 1 } else { cpu };
            bfns.free(cpu, range).unwrap();
        }
    }
    for range in mine {
        owners.change(&range, me, 0);
        bfns.free(cpu, range).unwrap();
    }
}

#[test]
fn no_frame_is_handed_out_twice() {
    // Fewer magazines than threads, and too few frames for all.
    let storage = BfnStorage::<2048, 3>::new();
    let bfns = BfnAllocator::new(Bfn(FIRST), Bfn(LAST), &storage).unwrap();
    let owners = Owners((FIRST..=LAST).map(|_| AtomicU32::new(0)).collect());
    thread::scope(|scope| {
        for cpu in 0..THREADS {
            let (bfns, owners) = (&bfns, &owners);
            scope.spawn(move || work(cpu, bfns, owners));
        }
        // Reserving empties magazines while they are used; outside, it reserves nothing.
        for _ in 0..1000 {
            bfns.add_reserved(Bfn(LAST + 1), Bfn(LAST + 2)).unwrap();
            thread::yield_now();
        }
    });
    // Nothing is lost: both zones can be had as a whole.
    assert_eq!(bfns.free_pages(), LAST - FIRST + 1);
    let high = bfns.allocate(0, 0x400, Bfn(LAST)).unwrap();
    let low = bfns.allocate(0, 0x400, Bfn(LAST)).unwrap();
    assert_eq!((low.first(), high.first()), (Bfn(FIRST), Bfn(0x10_0000)));
}
