//! The v7 subops as a driver written for the reference expects them: counts, padding, order of
//! checks, and the errno of each refusal.

use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};
use pviommu_abi::{
    AllocContext, AllocFlags, CapabilityFlags, ContextId, Errno, FreeContext, FreeFlags, MapFlags,
    PciDevice, Subop,
};
use pviommu_hypervisor::{Caller, Limits, Outcome, Width};
use pviommu_testbed::machine::{Config, Schedule, Step, When, limits};
use pviommu_testbed::vm::{map_argument, unmap_argument};

const NO_FLAGS: FreeFlags = FreeFlags::empty();

#[test]
fn the_drivers_probe_finds_what_it_asks_for() {
    with_guest(16, |vm| {
        let before = vm.capabilities();
        assert_eq!((before.max_ctx_no, before.pgsize_mask, before.max_pasid), (0, 0x1000, 0));
        assert_eq!(before.max_iova_addr, (1 << 48) - 1);
        assert_eq!(before.pad0, [0; 2]);
        // Exactly what is served: snooping is enforced, and the extensions there are.
        let extensions = CapabilityFlags::BATCH
            | CapabilityFlags::QUERY_RESERVED
            | CapabilityFlags::TAKE_OWNERSHIP
            | CapabilityFlags::LOOKUP
            | CapabilityFlags::QUERY_DEVICE
            | CapabilityFlags::READ_FAULTS
            | CapabilityFlags::QUERY_LIMITS
            | CapabilityFlags::ALLOC_CONTEXT_EXT;
        let v7 = CapabilityFlags::CACHE | CapabilityFlags::DEFERRED_FLUSH;
        assert_eq!(before.cap_flags, v7 | extensions);
        assert_eq!(vm.alloc(), Err(err(Errno::ENOSPC)));
        assert_eq!(vm.init(128, 12), 0);
        assert_eq!(vm.init(128, 12), err(Errno::EACCES));
        assert_eq!(vm.capabilities().max_ctx_no, 128);
        vm.end();
    });
}

/// D2, D3: what a guest asks for at init is bounded by policy, at every width.
#[test]
fn init_refuses_what_is_beyond_the_limits() {
    with_guest(16, |vm| {
        for contexts in [129, 0xffff, 0x1_0000, 0x1_0001, u32::MAX] {
            assert_eq!(vm.init(contexts, 12), err(Errno::E2BIG));
        }
        assert_eq!(vm.init(0, 12), err(Errno::EINVAL));
        for order in [13, 32, u32::MAX] {
            assert_eq!(vm.init(128, order), err(Errno::ENOMEM));
        }
        assert_eq!(vm.capabilities().max_ctx_no, 0, "a refused init changes nothing");
        vm.end();
    });
}

/// D1: init does nothing but init.
#[test]
fn init_does_not_open_a_context() {
    with_guest(16, |vm| {
        assert_eq!(vm.init(1, 4), 0);
        assert_eq!(vm.bed.counters().table_frames_live, 0);
        assert_eq!(vm.alloc(), Ok(ContextId(1)));
        assert_eq!(vm.alloc(), Err(err(Errno::ENOSPC)));
        vm.end();
    });
}

#[test]
fn a_context_lives_from_alloc_to_free() {
    with_guest(16, |vm| {
        let context = vm.context();
        assert_eq!(vm.attach(DEVICE, context), 0);
        assert_eq!(vm.map(context, 100, 0, 4, RW), (0, 4));
        assert!((0..4).all(|i| vm.lands_in(DEVICE, 100 + i, i)));
        assert_eq!(vm.free(context, NO_FLAGS), err(Errno::EBUSY));
        assert!(vm.lands_in(DEVICE, 100, 0), "a refused free changes nothing");
        assert_eq!(vm.free(context, FreeFlags::REATTACH_DEFAULT), 0);
        assert!(!vm.reads(DEVICE, 100));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert_eq!(vm.free(context, NO_FLAGS), err(Errno::ENOENT));
        assert_eq!(vm.map(context, 100, 0, 1, RW), (err(Errno::EINVAL), 0));
        assert_eq!(vm.attach(DEVICE, context), err(Errno::ENOENT));
        vm.end();
    });
}

#[test]
fn the_default_context_is_not_the_guests_to_edit() {
    with_guest(16, |vm| {
        assert_eq!(vm.init(4, 6), 0);
        assert_eq!(vm.map(ContextId(0), 100, 0, 1, RW), (err(Errno::EINVAL), 0));
        assert_eq!(vm.unmap(ContextId(0), 100, 1), (err(Errno::EINVAL), 0));
        assert_eq!(vm.free(ContextId(0), NO_FLAGS), err(Errno::EINVAL));
        assert_eq!(vm.attach(DEVICE, ContextId(0)), 0);
        vm.end();
    });
}

#[test]
fn counts_add_up_over_calls() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let mut map = map_argument(context, 100, 0, 1, RW);
        for i in 0..5 {
            (map.dfn.0, map.gfn.0) = (100 + i, i);
            assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), 0);
        }
        assert_eq!((map.mapped, map.nr_pages, map.dfn.0), (5, 1, 104));
        let mut unmap = unmap_argument(context, 100, 5);
        unmap.unmapped = 7;
        assert_eq!(vm.op(Subop::UNMAP_PAGES, &mut unmap), 0);
        assert_eq!((unmap.unmapped, unmap.nr_pages, unmap.dfn.0), (12, 5, 100));
        vm.end();
    });
}

/// INV-52: what the guest left in its padding is neither looked at nor changed.
#[test]
fn padding_is_the_guests_own() {
    with_guest(16, |vm| {
        vm.context();
        let mut alloc = AllocContext { pad0: [0xaa, 0x55], ..AllocContext::default() };
        assert_eq!(vm.op(Subop::ALLOC_CONTEXT, &mut alloc), 0);
        assert_eq!(alloc.pad0, [0xaa, 0x55]);
        let mut map = map_argument(alloc.ctx_no, 1, 1, 1, RW);
        map.pad0 = [0xaa; 6];
        assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), 0);
        assert_eq!(map.pad0, [0xaa; 6]);
        let mut unmap = unmap_argument(alloc.ctx_no, 1, 1);
        (unmap.pad0, unmap.pad1) = ([0xaa; 6], [0x55; 4]);
        assert_eq!(vm.op(Subop::UNMAP_PAGES, &mut unmap), 0);
        assert_eq!((unmap.pad0, unmap.pad1), ([0xaa; 6], [0x55; 4]));
        vm.end();
    });
}

#[test]
fn a_map_stops_at_the_first_error_and_keeps_what_it_has() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 105, 5, 1, RW), (0, 1));
        // A bus frame that is mapped.
        assert_eq!(vm.map(context, 102, 2, 8, RW), (err(Errno::EADDRINUSE), 3));
        assert!((102..106).all(|bfn| vm.lands_in(DEVICE, bfn, bfn - 100)));
        // A guest frame without backing: the guest ends at 16.
        assert_eq!(vm.map(context, 200, 14, 8, RW), (err(Errno::ENOENT), 2));
        assert!(vm.lands_in(DEVICE, 201, 15) && !vm.reads(DEVICE, 202));
        // On one page the page comes before the bus frame.
        assert_eq!(vm.map(context, 105, 16, 1, RW), (err(Errno::ENOENT), 0));
        assert_eq!(vm.unmap(context, 102, 5), (err(Errno::ENOENT), 4));
        vm.end();
    });
}

#[test]
fn what_is_wrong_with_a_request_is_found_before_a_page_is_mapped() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let top = (1 << 36) - 1;
        let cases = [
            (map_argument(ContextId(9), 1, 1, 1, RW), Errno::EINVAL),
            (map_argument(context, 1, 1, 1, MapFlags::empty()), Errno::EINVAL),
            (map_argument(context, 1, 1, 1, MapFlags::CACHE), Errno::EINVAL),
            (map_argument(context, top, 1, 2, RW), Errno::EINVAL),
            (map_argument(context, u64::MAX, 1, 1, RW), Errno::EINVAL),
            (map_argument(context, u64::MAX, 1, 2, RW), Errno::EINVAL),
            (map_argument(context, 1, u64::MAX, 2, RW), Errno::EINVAL),
            (map_argument(context, 1, u64::MAX, 1, RW), Errno::ENOENT),
            (map_argument(context, 0xfedff, 1, 2, RW), Errno::EADDRNOTAVAIL),
            (map_argument(context, 0xfeeff, 1, 1, RW), Errno::EADDRNOTAVAIL),
            (map_argument(context, 0xfee00 - 8, 1, 0x200, RW), Errno::EADDRNOTAVAIL),
        ];
        for (mut map, errno) in cases {
            assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), err(errno), "{map:?}");
            assert_eq!(map.mapped, 0);
        }
        for pgsize in [1, 2048, 8192, 0x20_0000, u32::MAX] {
            let mut map = map_argument(context, 1, 1, 1, RW);
            map.pgsize = pgsize;
            assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), err(Errno::EINVAL));
        }
        assert_eq!(vm.unmap(context, 0xfedff, 2), (err(Errno::EADDRNOTAVAIL), 0));
        assert_eq!(vm.unmap(context, u64::MAX, 2), (err(Errno::EINVAL), 0));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert_eq!(vm.map(context, top, 1, 1, RW), (0, 1), "the last bus frame is usable");
        vm.end();
    });
}

#[test]
fn no_pages_is_a_success_in_a_context_there_is() {
    with_guest(16, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, u64::MAX, u64::MAX, 0, MapFlags::empty()), (0, 0));
        assert_eq!(vm.unmap(context, u64::MAX, 0), (0, 0));
        assert_eq!(vm.map(ContextId(77), 1, 1, 0, RW), (err(Errno::EINVAL), 0));
        let mut map = map_argument(context, 1, 1, 1, RW);
        map.pgsize = 0;
        assert_eq!(vm.op(Subop::MAP_PAGES, &mut map), 0, "0 stands for 4096");
        vm.end();
    });
}

#[test]
fn access_is_what_was_asked_for() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, MapFlags::READABLE), (0, 1));
        assert_eq!(vm.map(context, 11, 2, 1, MapFlags::WRITEABLE), (0, 1));
        assert_eq!(vm.map(context, 12, 1, 1, RW | MapFlags::CACHE), (0, 1), "a frame, twice");
        let seen: Vec<_> =
            (10..13).map(|bfn| (vm.reads(DEVICE, bfn), vm.writes(DEVICE, bfn))).collect();
        assert_eq!(seen, [(true, false), (false, true), (true, true)]);
        vm.end();
    });
}

#[test]
fn unknown_flags_are_counted_and_ignored_or_refused() {
    let unknown = RW | MapFlags::from_bits_retain(1 << 9);
    with_guest(16, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 1, 1, 1, unknown | MapFlags::NO_FLUSH), (0, 1));
        assert_eq!(vm.bed.domain(GUEST).stats().unknown_flags, 1);
        vm.end();
    });
    let mut config = Config::one_guest(16);
    config.domains[0].limits.unknown_flags = pviommu_hypervisor::domain::UnknownFlags::Refuse;
    with(&config, |vm| {
        let context = vm.context();
        assert_eq!(vm.map(context, 1, 1, 1, unknown), (err(Errno::EINVAL), 0));
        assert_eq!(vm.map(context, 1, 1, 1, RW), (0, 1));
        let alloc_flags = AllocFlags::from_bits_retain(1 << 9);
        let mut alloc = AllocContext { alloc_flags, ..AllocContext::default() };
        assert_eq!(vm.op(Subop::ALLOC_CONTEXT, &mut alloc), err(Errno::EINVAL));
        let free_flags = FreeFlags::from_bits_retain(1 << 9);
        let mut free = FreeContext { ctx_no: context, free_flags, ..FreeContext::default() };
        assert_eq!(vm.op(Subop::FREE_CONTEXT, &mut free), err(Errno::EINVAL));
        vm.end();
    });
}

/// What a call has done is written into its argument, and nothing if it has done nothing.
#[test]
fn the_argument_of_a_call_that_did_nothing_is_not_written() {
    with_guest(16, |vm| {
        let context = vm.attached_context();
        let board = vm.bed.board();
        board.record_copies(true);
        assert_eq!(vm.map(context, 1 << 40, 1, 1, RW), (err(Errno::EINVAL), 0));
        assert_eq!(vm.map(context, 1, 1000, 1, RW).1, 0);
        assert!(board.take_copies().iter().all(|it| !it.out));
        assert_eq!(vm.map(context, 1, 1, 1, RW), (0, 1));
        assert!(board.take_copies().iter().any(|it| it.out));
        board.record_copies(false);
        vm.end();
    });
}

/// INV-62: what is not announced is refused, and changes nothing.
#[test]
fn subops_that_are_not_built_answer_that_they_are_not_supported() {
    with_guest(16, |vm| {
        vm.context();
        let others = (9..13).chain(14..0x40).chain([0x48, 0xffff, u32::MAX]);
        for subop in others {
            let status = vm.guest.call(u64::from(subop), 0x1000);
            assert_eq!(status, err(Errno::EOPNOTSUPP), "subop {subop:#x}");
        }
        let mut alloc =
            AllocContext { alloc_flags: AllocFlags::IDENTITY, ..AllocContext::default() };
        assert_eq!(vm.op(Subop::ALLOC_CONTEXT, &mut alloc), err(Errno::EOPNOTSUPP));
        assert_eq!(vm.guest.call(0, u64::MAX), 0, "noop ignores its argument");
        vm.end();
    });
}

#[test]
fn a_bad_pointer_is_a_fault_and_changes_nothing() {
    with_guest(16, |vm| {
        vm.context();
        for subop in 1..9 {
            for arg in [0x7fff_0000_0000, u64::MAX, u64::MAX - 7, 1 << 63] {
                assert_eq!(vm.guest.call(subop, arg), err(Errno::EFAULT), "subop {subop}");
            }
        }
        vm.end();
    });
}

/// INV-56: a result that cannot be told does not hide why the call failed.
#[test]
fn the_first_error_is_the_one_that_is_told() {
    with_guest(16, |vm| {
        let context = vm.context();
        vm.bed.schedule().set(Step::CopyOut, When::From(1));
        assert_eq!(vm.map(context, 0, 14, 4, RW).0, err(Errno::ENOENT));
        assert_eq!(vm.map(context, 0, 14, 2, RW).0, err(Errno::EADDRINUSE));
        assert_eq!(vm.unmap(context, 0, 3).0, err(Errno::ENOENT));
        assert_eq!(
            vm.unmap(context, 0, 3).0,
            err(Errno::ENOENT),
            "nothing is written, so no fault"
        );
        assert_eq!(vm.map(context, 5, 5, 1, RW).0, err(Errno::EFAULT));
        vm.bed.schedule().clear();
        vm.end();
    });
}

/// INV-53: a context that the guest was never told of is not kept.
#[test]
fn a_context_whose_number_cannot_be_told_is_freed_again() {
    with_guest(16, |vm| {
        vm.context();
        let before = vm.bed.counters().table_frames_live;
        let schedule: &Schedule = vm.bed.schedule();
        schedule.set(Step::CopyOut, When::Nth(1));
        assert_eq!(vm.alloc(), Err(err(Errno::EFAULT)));
        assert_eq!(vm.bed.counters().table_frames_live, before);
        assert_eq!(vm.alloc(), Ok(ContextId(2)), "the number is free");
        vm.end();
    });
}

#[test]
fn a_caller_of_32_bits_is_refused() {
    with_guest(16, |vm| {
        let caller = Caller { cpu: 0, width: Width::Bits32 };
        let outcome = vm.bed.iommu().iommu_op(vm.bed.domain(GUEST), caller, 0, 0);
        assert_eq!(outcome, Outcome::Done(err(Errno::EOPNOTSUPP)));
    });
}

#[test]
fn a_domain_without_contexts_is_told_that_there_is_no_iommu() {
    let mut config = Config::one_guest(16);
    config.domains[0].limits = Limits { max_contexts: 0, ..limits() };
    with(&config, |vm: &Vm<'_>| {
        for subop in 0..8 {
            assert_eq!(vm.guest.call(subop, 0), err(Errno::ENODEV));
        }
    });
}

#[test]
fn a_device_that_is_not_the_domains_is_not_there() {
    with_guest(16, |vm| {
        let context = vm.context();
        let other = PciDevice { seg: 0, bus: 9, devfn: 0 };
        assert_eq!(vm.attach(other, context), err(Errno::ENODEV));
        assert_eq!(vm.attach(other, ContextId(77)), err(Errno::ENODEV), "the device comes first");
        assert_eq!(vm.attach(DEVICE, ContextId(77)), err(Errno::ENOENT));
        assert_eq!(vm.attach(DEVICE, context), 0);
        assert_eq!(vm.attach(DEVICE, context), 0, "the same again is fine");
        vm.end();
    });
}
