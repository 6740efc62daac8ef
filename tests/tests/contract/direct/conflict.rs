//! INV-30, INV-32: a guest and a device that want the same bus frames, in either order.

use pviommu_abi::{BatchOp, ContextId, DomId, Errno, OwnershipMode};
use pviommu_hypervisor::{
    DefaultMap, Reserved,
    platform::{Access, UnitFeatures},
};
use pviommu_testbed::machine::{DomainConfig, Work};

use super::kit::{ALL, DEVICES, READ_ONLY, SECOND, check, direct, machine};
use crate::{
    batch_kit::{
        LIST, READ_WRITE, RUN_ALL, element, lay_list, map, map_list, run, run_one, skip_holes,
        statuses, unmap, unmap_later,
    },
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::take,
};

const GRANTER: DomId = DomId(2);
const IN_USE: i64 = -98;
const RESERVED: i64 = -99;

/// The range of the first device, in two leaf tables.
fn range() -> Reserved {
    direct(0x81fe, 5, ALL)
}

#[test]
fn what_a_guest_has_mapped_keeps_a_device_away_at_every_position() {
    with(&machine(&[&[range()], &[]]), |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(SECOND, context), 0);
        let before = vm.bed.domain(GUEST).stats().table_frames;
        for first in 0x81f8..0x8208 {
            for pages in [1, 2, 7, 16] {
                assert_eq!(vm.map(context, first, 1, pages, RW), (0, pages));
                let meets = first <= 0x8202 && first + u64::from(pages) > 0x81fe;
                let expected = if meets { IN_USE } else { 0 };
                assert_eq!(vm.attach(DEVICE, context), expected, "{first:#x} {pages}");
                assert!(vm.lands_in(SECOND, first, 1), "what was there is untouched");
                check(vm, DEVICE, &range());
                assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
                assert_eq!(vm.unmap(context, first, pages), (0, pages));
            }
        }
        assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
        assert_eq!(vm.bed.domain(GUEST).stats().table_frames, before);
        vm.end();
    });
}

/// INV-32: it is known before anything is changed, also of ranges that nothing is in the way of.
#[test]
fn a_device_that_is_kept_away_has_changed_no_entry() {
    let ranges = [direct(0x7000, 3, ALL), range()];
    let mut config = machine(&[&ranges, &[]]);
    config.units[0].features.remove(UnitFeatures::COHERENT);
    with(&config, |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(SECOND, context), 0);
        for first in [0x7002, 0x8202] {
            assert_eq!(vm.map(context, first, 1, 1, RW), (0, 1));
            let work = vm.bed.board().work_of(|| {
                assert_eq!(vm.attach(DEVICE, context), IN_USE);
            });
            assert_eq!(work[Work::Entries as usize], 0, "{first:#x}");
            assert_eq!(vm.unmap(context, first, 1), (0, 1));
        }
        vm.end();
    });
}

#[test]
fn a_large_leaf_in_the_way_keeps_a_device_away_and_is_not_split() {
    let mut config = machine(&[&[range()], &[]]);
    let block = pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(512), 512).unwrap();
    config.domains[0].ram.push(block);
    config.domains[0].contiguous = vec![block];
    with(&config, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 0x8000, 512, 512, RW), (0, 512));
        let before = vm.bed.counters();
        assert_eq!(vm.attach(DEVICE, context), IN_USE);
        let after = vm.bed.counters();
        assert_eq!(before.table_frames_live, after.table_frames_live);
        assert_eq!(before.table_frames_reserved, after.table_frames_reserved);
        vm.end();
    });
}

/// Every way a guest has to edit, at every position.
#[test]
fn where_a_device_is_a_guest_edits_nothing_of_its_range() {
    let mut config = machine(&[&[range()]]);
    config.domains.push(DomainConfig {
        id: GRANTER,
        ram: config.domains[0].ram.clone(),
        ..DomainConfig::default()
    });
    with(&config, |vm| {
        let context = vm.attached_context();
        lay_list(vm, &[1, 2, 3, 4, 5, 6, 7, 8]);
        for first in 0x81f8..0x8208u64 {
            for pages in [1u32, 3, 8] {
                let meets = first <= 0x8202 && first + u64::from(pages) > 0x81fe;
                let all = i64::from(pages);
                let refuse = |ok: (i64, i64)| if meets { (RESERVED, 0) } else { ok };
                let wide = |(status, count): (i64, u32)| (status, i64::from(count));
                for add in [map(first, 1, pages), map_list(first, LIST, pages)] {
                    assert_eq!(wide(run_one(vm, context, add)), refuse((0, all)), "{add:?}");
                    for remove in [unmap(first, pages), unmap_later(first, pages)] {
                        assert_eq!(wide(run_one(vm, context, remove)), refuse((0, all)));
                        let again = run_one(vm, context, map(first, 1, pages));
                        assert_eq!(wide(again), refuse((0, all)));
                    }
                    let skip = skip_holes(first, pages);
                    assert_eq!(wide(run_one(vm, context, skip)), refuse((0, all)), "{skip:?}");
                }
                assert_eq!(wide(vm.map(context, first, 1, pages, RW)), refuse((0, all)));
                assert_eq!(wide(vm.unmap(context, first, pages)), refuse((0, all)));
                check(vm, DEVICE, &range());
            }
            let granted = vm.bed.grant(GRANTER, pviommu_abi::Gfn(3), GUEST, false);
            let grant = element(BatchOp::MAP_GRANT, READ_WRITE, first, granted, 1);
            let (status, _) = owned_by(vm, context, GRANTER, grant);
            let meets = (0x81fe..=0x8202).contains(&first);
            assert_eq!(status, if meets { RESERVED } else { 0 });
            if !meets {
                assert_eq!(vm.unmap(context, first, 1), (0, 1));
            }
            assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()), "nothing was pinned");
        }
        // One after the other, of one batch, each by itself.
        let mut batch = [map(0x81fd, 1, 1), map(0x81fd, 1, 2), map(0x8203, 1, 1), unmap(0x8202, 2)];
        assert_eq!(run(vm, context, RUN_ALL, &mut batch), (0, 4));
        let refused = Err(Errno::EADDRNOTAVAIL);
        assert_eq!(statuses(&batch), [Ok(()), refused, Ok(()), refused]);
        assert_eq!(vm.bed.counters().references_live, 2);
        vm.end();
    });
}

fn owned_by(
    vm: &Vm<'_>,
    context: ContextId,
    owner: DomId,
    element: pviommu_abi::BatchElement,
) -> (i64, u32) {
    crate::foreign::kit::run_one_of(vm, context, owner, element)
}

/// A conflict of two devices is found before anything is changed.
#[test]
fn devices_that_do_not_mean_the_same_do_not_meet() {
    let first = direct(0x8000, 8, ALL);
    let others = [
        direct(0x8000, 8, READ_ONLY),
        direct(0x8000, 8, Access::WRITE),
        direct(0x8000, 7, ALL),
        direct(0x8001, 7, ALL),
        direct(0x7fff, 2, ALL),
        direct(0x8007, 1, ALL),
        direct(0x7000, 0x2000, ALL),
    ];
    for other in others {
        // The conflict is in the second of its ranges, or the first.
        for ranges in [[direct(0x9000, 2, ALL), other], [other, direct(0x9000, 2, ALL)]] {
            with(&machine(&[&[first], &ranges, &[]]), |vm| {
                let context = vm.attached_context();
                assert_eq!(vm.attach(SECOND, context), IN_USE);
                check(vm, DEVICE, &first);
                ranges.iter().for_each(|range| check(vm, SECOND, range));
                // Nothing stays of the ranges that met nothing.
                assert_eq!(vm.map(context, 0x9000, 1, 2, RW), (0, 2));
                assert_eq!(vm.unmap(context, 0x9000, 2), (0, 2));
                assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
                assert_eq!(vm.attach(SECOND, context), 0);
                assert_eq!(vm.attach(DEVICE, context), IN_USE);
                ranges.iter().for_each(|range| check(vm, SECOND, range));
                vm.end();
            });
        }
    }
}

/// A context knows a bounded number of ranges, and says so.
#[test]
fn more_ranges_than_a_context_knows_are_refused_as_a_whole() {
    let many: Vec<Reserved> = (0..20).map(|i| direct(0x8000 + 2 * i, 1, ALL)).collect();
    let more: Vec<Reserved> = (0..20).map(|i| direct(0x9000 + 2 * i, 1, ALL)).collect();
    with(&machine(&[&many, &more]), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.attach(SECOND, context), err(Errno::ENOSPC));
        assert_eq!(vm.map(context, 0x9000, 1, 40, RW), (0, 40), "nothing of it stays");
        many.iter().for_each(|range| check(vm, DEVICE, range));
        more.iter().for_each(|range| check(vm, SECOND, range));
        vm.end();
    });
}

/// An initial entry gives way, page by page, and what is around it stays.
#[test]
fn the_map_a_domain_starts_with_gives_way_and_the_rest_of_it_stays() {
    for block in [false, true] {
        let mut config = machine(&[&[direct(0x1fe, 4, ALL)], &[]]);
        let ram = pviommu_hypervisor::addr::GfnRange::of_pages(pviommu_abi::Gfn(0), 1024).unwrap();
        config.domains[0].ram = vec![ram];
        config.domains[0].contiguous = if block { vec![ram] } else { Vec::new() };
        config.devices[0].unowned = true;
        with(&config.with_default_map(DefaultMap::Guest), |vm| {
            assert!(vm.lands_in(SECOND, 0x1ff, 0x1ff));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
            check(vm, DEVICE, &direct(0x1fe, 4, ALL));
            for bfn in (0..0x1fe).chain(0x202..0x400).step_by(7) {
                assert!(vm.lands_in(DEVICE, bfn, bfn) && vm.lands_in(SECOND, bfn, bfn), "{bfn:#x}");
            }
            assert_eq!(vm.bed.counters().references_live, 1020);
            // The guest takes it over as it is, and it stays reserved.
            assert_eq!(take(vm, OwnershipMode::KEEP), 0);
            assert_eq!(vm.map(ContextId::DEFAULT, 0x1fd, 1, 2, RW), (RESERVED, 0));
            assert_eq!(vm.unmap(ContextId::DEFAULT, 0x201, 2), (RESERVED, 0));
            assert_eq!(vm.unmap(ContextId::DEFAULT, 0x202, 2), (0, 2));
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            assert!(vm.hits_background(SECOND, 0x1ff), "the initial entry does not come back");
            assert_eq!(vm.map(ContextId::DEFAULT, 0x1fe, 1, 4, RW), (0, 4));
            assert!(vm.lands_in(SECOND, 0x1ff, 2));
            vm.end();
        });
    }
}

/// In a maintained map it does not give way: the guest has memory there.
#[test]
fn memory_in_a_maintained_map_keeps_a_device_away() {
    let mut config = machine(&[&[direct(0x3e, 4, ALL)], &[]]);
    config.devices[0].unowned = true;
    with(&config.with_default_map(DefaultMap::IdentityGfn), |vm| {
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::EADDRINUSE));
        check(vm, DEVICE, &direct(0x3e, 4, ALL));
        for gfn in [0x3e, 0x3f] {
            assert!(vm.lands_in(SECOND, gfn, gfn), "untouched");
            assert!(vm.bed.balloon_out(GUEST, pviommu_abi::Gfn(gfn)).is_ok());
        }
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        check(vm, DEVICE, &direct(0x3e, 4, ALL));
        let refused = vm.bed.populate(GUEST, pviommu_abi::Gfn(0x3e));
        assert_eq!(refused, Err(Errno::EADDRNOTAVAIL));
        check(vm, DEVICE, &direct(0x3e, 4, ALL));
        vm.end();
    });
}

/// A device moves on to a context only if it may: it stays where it was, with all it had.
#[test]
fn a_context_that_is_freed_keeps_a_device_that_cannot_go_to_the_default_one() {
    with(&machine(&[&[range()], &[]]), |vm| {
        assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
        let context = vm.attached_context();
        assert_eq!(vm.map(ContextId::DEFAULT, 0x8200, 1, 1, RW), (0, 1));
        assert_eq!(vm.map(context, 10, 3, 1, RW), (0, 1));
        let free = || vm.free(context, pviommu_abi::FreeFlags::REATTACH_DEFAULT);
        assert_eq!(free(), IN_USE);
        assert!(vm.lands_in(DEVICE, 10, 3), "it is still there");
        assert_eq!(vm.map(context, 11, 4, 1, RW), (0, 1), "and can be used");
        assert_eq!(vm.unmap(ContextId::DEFAULT, 0x8200, 1), (0, 1));
        assert_eq!(free(), 0);
        DEVICES[..2].iter().for_each(|device| assert!(!vm.reads(*device, 10)));
        vm.end();
    });
}
