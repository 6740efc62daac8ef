//! What is left of the tables when nothing is mapped any more.

use pviommu_hypervisor::{
    abi::Bfn,
    format::{Format, pages_at},
    platform::Access,
    table::{SplitPaid, Unmapped},
};

use super::rig::Rig;

const RW: Access = Access::READ.union(Access::WRITE);

/// So many mappings, each in an entry of its own of some level.
const MANY: u64 = 24;

/// The order in which they go.
const ORDERS: [fn(u64) -> u64; 3] = [|n| n, |n| MANY - 1 - n, |n| n * 7 % MANY];

/// How far they are from each other: next to each other, or in tables of their own up to some level.
fn distances<F: Format>(rig: &Rig<F>, level: u8) -> impl Iterator<Item = u64> {
    let top = rig.pages();
    (level..rig.levels()).map(pages_at::<F>).filter(move |pages| pages * MANY <= top)
}

pub(crate) fn few_tables_are_left_wherever_pages_were<F: Format>(rig: &mut Rig<F>) {
    for far in distances(rig, 1) {
        for order in ORDERS {
            for n in 0..MANY {
                assert_eq!(rig.map(n * far + n, n + 1, 1, RW), (1, None));
            }
            for n in (0..MANY).map(order) {
                rig.unmap(n * far + n, 1);
                rig.is_vacant(n * far + n);
            }
            rig.has_few_tables();
        }
        for n in 0..MANY {
            assert_eq!(rig.map(n * far, n + 1, 1, RW), (1, None));
        }
        let bfns: Vec<u64> = (0..MANY).map(|n| n * far).collect();
        // As many as certainly go before a flush.
        for bfns in bfns.chunks(4) {
            assert_eq!(rig.unmap_singles(bfns), [true; 4]);
        }
        rig.has_few_tables();
    }
    rig.is_empty();
}

pub(crate) fn few_tables_are_left_wherever_large_leaves_were<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        for far in distances(rig, level) {
            for order in ORDERS {
                for n in 0..MANY {
                    // No leaf goes where the tables of others are that are kept.
                    let _ = rig.map_leaf(n * far, level, n * pages, RW, SplitPaid::No);
                }
                for n in (0..MANY).map(order).filter(|n| rig.is_there(n * far)) {
                    // Half of them in two parts.
                    if n % 2 == 0 {
                        rig.unmap(n * far + pages / 2, pages / 2);
                        rig.unmap(n * far, pages / 2);
                    } else {
                        rig.unmap(n * far, pages);
                    }
                }
                rig.has_few_tables();
            }
        }
    }
    rig.is_empty();
}

/// Pages and large leaves of all distances, so that what was counted in one way becomes empty in another.
pub(crate) fn few_tables_are_left_of_pages_and_leaves_together<F: Format>(rig: &mut Rig<F>) {
    let small = pages_at::<F>(1);
    for far in distances(rig, 1) {
        for n in 0..MANY {
            // Of each three: a leaf that stays for a while, a page that goes at once, a page.
            match n % 3 {
                0 => drop(rig.map_leaf(n * far, 1, n * small, RW, SplitPaid::No)),
                _ => assert_eq!(rig.map(n * far, n + 1, 1, RW), (1, None)),
            }
            if n % 3 == 1 {
                rig.unmap(n * far, 1);
            }
        }
        for n in (0..MANY).rev().filter(|n| rig.is_there(n * far)) {
            rig.unmap(n * far, rig.leaf_of(n * far));
        }
        rig.has_few_tables();
    }
    rig.is_empty();
}

/// The next map at the same place takes no table.
pub(crate) fn the_tables_of_one_page_or_leaf_stay<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels() {
        let pages = pages_at::<F>(level);
        let map = || match level {
            0 => assert_eq!(rig.map(0, 1, 1, RW), (1, None)),
            _ => rig.map_leaf(0, level, 0, RW, SplitPaid::No).unwrap(),
        };
        map();
        let tables = rig.arena.live();
        for _ in 0..3 {
            rig.unmap(0, pages);
            assert_eq!(rig.arena.live(), tables, "leaves of {level} of {:?}", rig.kind);
            map();
        }
        rig.unmap(0, pages);
        rig.is_empty();
    }
}

/// By removals that wait for their flush, with which nothing else may go.
pub(crate) fn tables_that_had_to_stay_are_counted_until_they_go<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels() {
        let pages = pages_at::<F>(level);
        for far in distances(rig, level) {
            for n in 0..MANY {
                match level {
                    0 => assert_eq!(rig.map(n * far, n, 1, RW), (1, None)),
                    _ => rig.map_leaf(n * far, level, n * pages, RW, SplitPaid::No).unwrap(),
                }
            }
            let tables = rig.arena.live();
            for n in 0..MANY {
                let unmapped = rig.once(0, |table, edit| {
                    edit.keep_tables = true;
                    table.unmap(Bfn(n * far), pages, pages, edit)
                });
                assert_eq!(unmapped, Unmapped { pages, stop: None });
            }
            assert_eq!(rig.arena.live(), tables, "leaves of {level} of {:?}", rig.kind);
            rig.is_empty_but_for_tables();
        }
    }
}

/// So that the next map where a single page was takes no table, however many others there are.
pub(crate) fn tables_that_are_in_use_leave_room_for_others<F: Format>(rig: &mut Rig<F>) {
    let pages = pages_at::<F>(1);
    let a_page_leaves_its_table = |rig: &Rig<F>| {
        assert_eq!(rig.map(3 * pages, 1, 1, RW), (1, None));
        let tables = rig.arena.live();
        rig.unmap(3 * pages, 1);
        assert_eq!(rig.arena.live(), tables, "{:?}", rig.kind);
    };
    if *rig.leaf_levels().end() == 0 || rig.levels() < 3 {
        return;
    }
    let far = pages_at::<F>(2);
    let many = MANY.min(rig.pages() / far);
    // They were empty, and are used again.
    let map = |n| assert_eq!(rig.map_leaves(n * far, 1, &[0, pages]), Ok(2));
    (0..many).for_each(map);
    (0..many).for_each(|n| rig.unmap(n * far, 2 * pages));
    (0..many).for_each(map);
    a_page_leaves_its_table(rig);
    (0..many).for_each(|n| rig.unmap(n * far, 2 * pages));
    rig.is_empty();
    // Something is left in them.
    for n in 0..many {
        map(n);
        rig.unmap(n * far, pages);
    }
    a_page_leaves_its_table(rig);
    (0..many).for_each(|n| rig.unmap(n * far + pages, pages));
    rig.is_empty();
}
