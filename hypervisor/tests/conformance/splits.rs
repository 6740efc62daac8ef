//! A large leaf is taken apart while devices go through it.

use std::{cell::Cell, rc::Rc};

use pviommu_hypervisor::{
    abi::Bfn,
    addr::Mfn,
    format::{Format, LeafSoft, pages_at},
    platform::{Access, Pool},
    table::{SplitPaid, Stop, Unmapped, split_cost},
};

use super::rig::Rig;

const RO: Access = Access::READ;

/// INV-06, INV-02: looked at whenever something is published, as those units see it that snoop and as
/// those do that do not.
pub(crate) fn a_split_keeps_every_page_at_every_instant<F: Format + 'static>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        let (bfn, mfn) = (2 * pages % rig.pages(), 0x40 * pages);
        let gone = pages / 2 + 1;
        rig.map_leaf(bfn, level, mfn, RO, SplitPaid::No).unwrap();
        let soft = rig.device(bfn).unwrap().0.soft;

        let seen = Rc::new(Cell::new(0u32));
        let (device, count) = (rig.watcher(), seen.clone());
        // A watcher of pages that stay: neighbours of the one that goes, and some far away.
        let pages_that_stay = [0, 1, gone - 1, gone + 1, pages - 1].map(|page| page % pages);
        rig.arena.watch(Some(Box::new(move |arena| {
            for page in pages_that_stay.into_iter().filter(|page| *page != gone) {
                // By what was stored, and by what was published of it.
                for snoops in [true, false] {
                    let (leaf, _) = device(arena, snoops, bfn + page).expect("it stays mapped");
                    assert_eq!((leaf.frame, leaf.access), (Mfn(mfn + page), RO), "page {page}");
                }
                count.set(count.get() + 1);
            }
        })));
        rig.unmap(bfn + gone, 1);
        rig.arena.watch(None);
        let watched = seen.get() > 0;
        assert_eq!(watched, rig.publishes(), "a walker that snoops needs nothing published");

        rig.is_vacant(bfn + gone);
        for page in (0..pages).step_by(usize::try_from(pages / 64).unwrap()).chain([pages - 1]) {
            if page != gone {
                rig.is_mapped(bfn + page, mfn + page, RO);
                assert_eq!(rig.device(bfn + page).unwrap().0.soft, soft, "its record");
            }
        }
        rig.unmap(bfn, gone);
        rig.unmap(bfn + gone + 1, pages - gone - 1);
        rig.is_empty();
    }
}

/// And what was not needed is given up.
pub(crate) fn a_split_that_was_paid_for_takes_what_was_reserved<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        rig.map_leaf(0, level, 0, RO, SplitPaid::Yes).unwrap();
        let cost = rig.arena.reserved();
        assert_eq!(cost, split_cost::<F>(level));
        let paid = |soft: LeafSoft| soft.split_paid();
        assert!(paid(rig.device(0).unwrap().0.soft));
        // Down to one page: one table a level.
        rig.unmap(pages - 1, 1);
        assert_eq!(rig.arena.reserved(), cost - u32::from(level));
        assert!(!paid(rig.device(pages - 2).unwrap().0.soft), "a page is not split");
        rig.unmap(0, pages - 1);
        rig.is_empty();
    }
}

/// A unit may have the table cached, and the leaf beside it would be a second translation.
pub(crate) fn no_leaf_is_formed_where_tables_are<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        assert_eq!(rig.map(pages - 1, 9, 1, RO), (1, None));
        let formed = rig.map_leaf(0, level, 0, RO, SplitPaid::No);
        assert_eq!(formed, Err(Stop::NotALeaf));
        rig.is_mapped(pages - 1, 9, RO);
        rig.is_vacant(0);
        rig.unmap(pages - 1, 1);
        rig.is_empty();
    }
}

/// What it takes to have the hypervisor's removals not fail for memory.
pub(crate) fn a_leaf_that_cannot_be_split_goes_as_a_whole_if_it_may<F: Format>(rig: &mut Rig<F>) {
    for level in rig.leaf_levels().skip(1) {
        let pages = pages_at::<F>(level);
        rig.map_leaf(0, level, 0, RO, SplitPaid::No).unwrap();
        let stopped = Some(Stop::NeedTables(1, Pool::Open));
        assert_eq!(rig.unmap_once(1, 1), (0, stopped));
        rig.is_mapped(1, 1, RO);
        let unmapped = rig.once(0, |table, edit| {
            edit.whole_leaves = true;
            table.unmap(Bfn(1), 1, 1, edit)
        });
        assert_eq!(unmapped, Unmapped { pages: 1, stop: None });
        rig.is_vacant(0);
        rig.is_vacant(pages - 1);
        rig.is_empty();
    }
}
