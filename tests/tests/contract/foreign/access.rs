//! INV-26: what may only be read is never written by a device, whatever way it is mapped.

use pviommu_abi::{
    BatchElement, BatchOp, Bfn, ContextId, DomId, ElementFlags, Errno, Gfn, MapFlags, OwnershipMode,
};
use pviommu_hypervisor::{DefaultMap, platform::Access};
use pviommu_testbed::machine::FrameKind;

use super::kit::{BOTH, GRANTER, READ, WRITE, end, map_grant, run_one_of, three};
use crate::{
    batch_kit::{LIST, lay_list},
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::take,
};

/// A guest frame that is a foreign mapping.
const FOREIGN: u64 = 0x1_0000;

/// Tries every way to have a device write what is behind guest frame `gfn`; what it may do stays.
fn never_writes(vm: &Vm<'_>, context: ContextId, gfn: u64) {
    let refused = err(Errno::EPERM);
    assert_eq!(vm.map(context, 10, gfn, 1, MapFlags::READABLE), (0, 1));
    assert!(vm.reads(DEVICE, 10) && !vm.writes(DEVICE, 10));
    lay_list(vm, &[gfn, gfn]);
    let element = |op, flags, bfn, page, nr| BatchElement {
        op,
        flags,
        bfn: Bfn(bfn),
        page,
        nr,
        ..BatchElement::default()
    };
    for bfn in [10, 11] {
        for flags in [MapFlags::WRITEABLE, RW] {
            assert_eq!(vm.map(context, bfn, gfn, 1, flags), (refused, 0));
        }
        for flags in [WRITE, BOTH, BOTH | ElementFlags::NO_FLUSH] {
            for map in [
                element(BatchOp::MAP, flags, bfn, gfn, 1),
                element(BatchOp::MAP_LIST, flags, bfn, LIST, 2),
            ] {
                assert_eq!(run_one_of(vm, context, DomId::SELF, map), (refused, 0), "{map:?}");
            }
        }
    }
    // Mapped again to be read: neither more often nor with more access.
    let again = vm.map(context, 10, gfn, 1, MapFlags::READABLE);
    assert_eq!(again, (err(Errno::EADDRINUSE), 0));
    assert!(vm.reads(DEVICE, 10) && !vm.writes(DEVICE, 10) && vm.hits_background(DEVICE, 11));
    assert_eq!(vm.unmap(context, 10, 1), (0, 1));
}

#[test]
fn a_grant_to_read_is_never_written() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, true);
        for flags in [WRITE, BOTH] {
            assert_eq!(map_grant(vm, context, 10, granted, flags), err(Errno::EPERM));
        }
        assert_eq!(map_grant(vm, context, 10, granted, READ), 0);
        for flags in [WRITE, BOTH, READ] {
            let expected = if flags == READ { Errno::EADDRINUSE } else { Errno::EPERM };
            assert_eq!(map_grant(vm, context, 10, granted, flags), err(expected));
        }
        assert!(vm.reads(DEVICE, 10) && !vm.writes(DEVICE, 10));
        // The same page by two grants, one of which may be written.
        let writable = vm.bed.grant(GRANTER, Gfn(3), GUEST, false);
        assert_eq!(map_grant(vm, context, 11, writable, BOTH), 0);
        assert!(vm.writes(DEVICE, 11) && !vm.writes(DEVICE, 10));
        assert_eq!(vm.unmap(context, 11, 1), (0, 1));
        assert!(vm.reads(DEVICE, 10) && !vm.writes(DEVICE, 10));
        end(vm);
    });
}

#[test]
fn a_foreign_mapping_to_read_is_never_written() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN), (GRANTER, Gfn(5)), true), Ok(()));
        never_writes(vm, context, FOREIGN);
        assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(FOREIGN)), Ok(()));
        end(vm);
    });
}

#[test]
fn memory_that_the_guest_may_only_read_is_never_written() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.bed.set_access(GUEST, Gfn(7), Access::READ), Ok(()));
        never_writes(vm, context, 7);
        assert_eq!(vm.bed.board().set_page_kind(GUEST, Gfn(8), FrameKind::GuestTable), Ok(()));
        never_writes(vm, context, 8);
        end(vm);
    });
}

/// A page that can be written is followed by one that cannot: nothing spills over.
#[test]
fn a_range_stops_at_the_page_that_may_not_be_written() {
    with(&three(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN), (GRANTER, Gfn(5)), false), Ok(()));
        assert_eq!(vm.bed.map_foreign(GUEST, Gfn(FOREIGN + 1), (GRANTER, Gfn(6)), true), Ok(()));
        assert_eq!(vm.map(context, 10, FOREIGN, 2, RW), (err(Errno::EPERM), 1));
        assert!(vm.writes(DEVICE, 10) && vm.hits_background(DEVICE, 11));
        assert_eq!(vm.bed.board().foreign_pins(GUEST, Gfn(FOREIGN)), 1);
        assert_eq!(vm.bed.board().foreign_pins(GUEST, Gfn(FOREIGN + 1)), 0);
        assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(FOREIGN)), Err(Errno::EBUSY), "it is mapped");
        assert_eq!(vm.unmap(context, 10, 1), (0, 1));
        for gfn in [FOREIGN, FOREIGN + 1] {
            assert_eq!(vm.bed.unmap_foreign(GUEST, Gfn(gfn)), Ok(()));
        }
        end(vm);
    });
}

/// Over a map that gives way: what comes is as it may be, and what goes is given back.
#[test]
fn what_is_kept_gives_way_to_a_page_that_may_only_be_read_and_back() {
    let config = three().with_default_map(DefaultMap::Guest);
    with(&config, |vm| {
        let granted = vm.bed.grant(GRANTER, Gfn(3), GUEST, true);
        assert_eq!(take(vm, OwnershipMode::KEEP), 0);
        let context = ContextId::DEFAULT;
        let before = vm.bed.counters().references_live;
        assert!(vm.lands_in(DEVICE, 20, 20));
        assert_eq!(map_grant(vm, context, 20, granted, BOTH), err(Errno::EPERM));
        assert!(vm.lands_in(DEVICE, 20, 20), "it is still there");
        assert_eq!(map_grant(vm, context, 20, granted, READ), 0);
        assert!(vm.reads(DEVICE, 20) && !vm.writes(DEVICE, 20));
        assert_eq!(vm.bed.counters().references_live, before, "one has gone, one has come");
        assert_eq!(vm.map(context, 20, 5, 1, RW), (err(Errno::EADDRINUSE), 0));
        assert!(!vm.writes(DEVICE, 20));
        assert_eq!(vm.unmap(context, 20, 1), (0, 1));
        assert_eq!(vm.map(context, 20, 5, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 20, 5));
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
        end(vm);
    });
}

/// The initial map holds foreign pages, too; each gives way to another.
#[test]
fn foreign_pages_of_the_initial_map_are_given_back_when_they_give_way() {
    let config = three();
    with(&config, |vm| {
        for gfn in 0..3 {
            let mapped = vm.bed.map_foreign(GUEST, Gfn(FOREIGN + gfn), (GRANTER, Gfn(gfn)), true);
            assert_eq!(mapped, Ok(()));
        }
        assert_eq!(vm.init(4, 8), 0);
        assert_eq!(vm.bed.set_default(GUEST, DefaultMap::Guest), Ok(()));
        let pins = |gfn: u64| vm.bed.board().foreign_pins(GUEST, Gfn(gfn));
        for gfn in FOREIGN..FOREIGN + 3 {
            let there = vm.reads(DEVICE, gfn);
            assert_eq!(pins(gfn), u32::from(there), "{gfn:#x}");
            assert!(!vm.writes(DEVICE, gfn));
        }
        assert_eq!(take(vm, OwnershipMode::KEEP), 0);
        let granted = vm.bed.grant(GRANTER, Gfn(9), GUEST, false);
        assert_eq!(map_grant(vm, ContextId::DEFAULT, FOREIGN, granted, BOTH), 0);
        assert_eq!(vm.map(ContextId::DEFAULT, FOREIGN + 1, 5, 1, RW), (0, 1));
        assert!(vm.writes(DEVICE, FOREIGN) && vm.lands_in(DEVICE, FOREIGN + 1, 5));
        assert_eq!((pins(FOREIGN), pins(FOREIGN + 1)), (0, 0));
        assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
        assert_eq!(vm.bed.end_grant(GRANTER, granted), Ok(()));
        assert_eq!(vm.bed.teardown(GUEST, 0), 0);
        assert!((0..3).all(|i| pins(FOREIGN + i) == 0));
        end(vm);
    });
}
