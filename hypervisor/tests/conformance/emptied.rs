//! What is left of the tables when nothing is mapped any more.

use pviommu_hypervisor::{
    format::{Format, pages_at},
    platform::Access,
    table::SplitPaid,
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
