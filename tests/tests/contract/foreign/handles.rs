//! Which handle is given back for which page: many of them, in any order.

use pviommu_abi::{Batch, BatchElement, ContextId, FreeFlags, Gfn};
use pviommu_testbed::machine::{Dice, Step, When};

use super::kit::{BOTH, GRANTER, READ, end, grant_of, map_grant, run_as, table_frames, three};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, with},
    switch::kit::that_ends,
};

const MANY: u64 = 5000;

/// Grants of as many pages as the granter has, each with a reference.
fn grants(vm: &Vm<'_>) -> Vec<u64> {
    (0..64).map(|gfn| vm.bed.grant(GRANTER, Gfn(gfn), GUEST, false)).collect()
}

/// The bus frames: neighbours, and some in each of a few far tables.
fn places() -> Vec<u64> {
    (0..MANY).map(|i| if i % 8 == 0 { (1 << 30) + (i << 18) } else { 0x2_0000 + i }).collect()
}

fn map_all(vm: &Vm<'_>, context: ContextId, places: &[u64], grants: &[u64]) {
    for (round, part) in places.chunks(100).enumerate() {
        let of = |(i, bfn): (usize, &u64)| {
            let grant = grants[(round * 100 + i) % grants.len()];
            BatchElement { done: 0, ..grant_of(*bfn, grant, BOTH) }
        };
        let mut elements: Vec<_> = part.iter().enumerate().map(of).collect();
        let header = Batch { ctx_id: u32::from(context.0), owner: GRANTER, ..Batch::default() };
        assert_eq!(run_as(vm, header, &mut elements), 0);
        assert!(elements.iter().all(|element| element.status == 0), "{elements:?}");
    }
}

fn pins(vm: &Vm<'_>, grants: &[u64]) -> u64 {
    grants.iter().map(|grant| u64::from(vm.bed.board().grant_pins(GRANTER, *grant))).sum()
}

/// INV-21, INV-25: a wrong handle is a violation that the machine tells.
#[test]
fn each_page_is_given_back_with_its_own_handle_in_whatever_order() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let empty = table_frames(vm);
        let (grants, mut left) = (grants(vm), places());
        map_all(vm, context, &left, &grants);
        assert_eq!(pins(vm, &grants), MANY);
        assert!(left.iter().step_by(97).all(|bfn| vm.writes(DEVICE, *bfn)));
        let mut dice = Dice::new(7);
        while left.len() > 1000 {
            let bfn = left.swap_remove(dice.below(left.len()));
            assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
        }
        assert_eq!(pins(vm, &grants), 1000);
        // Where one was there comes another, or memory of its own.
        let again: Vec<u64> = places().into_iter().filter(|bfn| !left.contains(bfn)).collect();
        for (i, bfn) in (0..64).zip(&again) {
            if i % 2 == 0 {
                assert_eq!(vm.map(context, *bfn, i, 1, RW), (0, 1));
            } else {
                assert_eq!(map_grant(vm, context, *bfn, grants[5], READ), 0);
            }
        }
        for bfn in left.iter().chain(&again[..64]) {
            assert_eq!(vm.unmap(context, *bfn, 1), (0, 1));
        }
        assert_eq!(pins(vm, &grants), 0);
        assert_eq!(vm.bed.counters().references_live, 0);
        // Tables of handles are tables without entries, too.
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert_eq!(table_frames(vm), empty);
        end(vm);
    });
}

/// Behind more of them than one piece of a trim looks at.
#[test]
fn a_trim_finds_the_last_of_many_tables_of_handles() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let grants = grants(vm);
        let far = |table: u64| 0x2_0000 + (table << 9);
        let places: Vec<u64> = (0..40).map(far).collect();
        map_all(vm, context, &places, &grants);
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        let full = table_frames(vm);
        for bfn in &places[39..] {
            assert_eq!(vm.unmap(context, *bfn, 1), (0, 1));
        }
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert_eq!(table_frames(vm), full - 2, "the leaf table and that of its handles");
        assert!(places[..39].iter().all(|bfn| vm.writes(DEVICE, *bfn)));
        end(vm);
    });
}

#[test]
fn all_handles_go_with_the_context_and_with_the_domain_however_often_that_gives_way() {
    for (free, every) in [(true, 0), (false, 0), (true, 1), (false, 1)] {
        with(&three(), |vm| {
            let (context, second) = (vm.attached_context(), vm.context());
            let grants = grants(vm);
            map_all(vm, context, &places(), &grants);
            map_all(vm, second, &places()[..700], &grants);
            assert!(vm.writes(DEVICE, 0x2_0001));
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            if free {
                assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
                assert_eq!(pins(vm, &grants), 700);
                assert_eq!(vm.free(second, FreeFlags::empty()), 0);
                assert_eq!(table_frames(vm), 0);
            } else {
                assert_eq!(vm.bed.teardown(GUEST, 0), 0);
            }
            assert_eq!(pins(vm, &grants), 0);
            vm.bed.schedule().clear();
            end(vm);
        });
    }
}

/// When frames run out, those of handles that are not used any more are found.
#[test]
fn tables_of_handles_that_are_empty_make_room_for_others() {
    let mut config = three();
    config.domains[0].limits.default_map_frames = 0;
    with(&config, |vm| {
        assert_eq!(vm.init(4, 5), 0);
        let context = vm.alloc().unwrap();
        assert_eq!(vm.attach(DEVICE, context), 0);
        let grant = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        // Each takes tables of its own, and there are 32 frames: more than once round.
        for i in 0..40u64 {
            let stop = (Step::Invalidate, When::From(1));
            let map = || map_grant(vm, context, i << 18, grant, BOTH);
            assert_eq!(that_ends(vm, stop, map), 0, "{i}");
            assert!(vm.writes(DEVICE, i << 18));
            assert_eq!(vm.unmap(context, i << 18, 1), (0, 1));
        }
        end(vm);
    });
}

/// The range goes in one call that gives way; a page of the guest between two grants.
#[test]
fn a_long_unmap_over_foreign_and_own_pages_gives_all_of_them_back() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let grants = grants(vm);
        let foreign: Vec<u64> = (0..1200).filter(|i| i % 3 == 0).collect();
        map_all(vm, context, &foreign, &grants);
        for i in (0..1200).filter(|i| i % 3 != 0) {
            assert_eq!(vm.map(context, i, i % 64, 1, RW), (0, 1));
        }
        assert!((0..1200).step_by(11).all(|bfn| vm.writes(DEVICE, bfn)));
        vm.bed.schedule().set(Step::Yield, When::Every(1));
        assert_eq!(vm.unmap(context, 0, 1200), (0, 1200));
        vm.bed.schedule().clear();
        assert_eq!(pins(vm, &grants), 0);
        assert_eq!(vm.bed.counters().references_live, 0);
        end(vm);
    });
}
