//! Every way an element can fail: its status, its count, and nothing else.

use pviommu_abi::{BatchElement, BatchOp, Bfn, ElementFlags, Errno, Gfn};
use pviommu_hypervisor::{ReservedKind, addr::BfnRange};
use pviommu_testbed::machine::{Config, FrameKind, Step, When, reserved};

use crate::batch::kit::{
    LIST, READ_WRITE, RUN_ALL, element, flush, lay_list, lookup, map, map_list, run, run_one,
    skip_holes, statuses, unmap, unmap_later,
};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with, with_guest};
use pviommu_testbed::vm::REASONS;

const NONE: ElementFlags = ElementFlags::empty();
const TOP: u64 = (1 << 36) - 1;

/// Runs the elements, each of which must fail with its errno and do nothing.
fn are_refused(vm: &Vm<'_>, cases: &[(BatchElement, Errno)]) {
    let context = pviommu_abi::ContextId(1);
    let references = vm.bed.counters().references_live;
    for (element, errno) in cases {
        let before = *element;
        let mut elements = [*element];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 1));
        let [after] = elements;
        let expected = i32::try_from(err(*errno)).unwrap();
        assert_eq!((after.status, after.done), (expected, 0), "{element:?}");
        let inputs = |e: &BatchElement| (e.op, e.flags, e.bfn, e.page, e.nr);
        assert_eq!(inputs(&before), inputs(&after), "what came in stays as it was");
    }
    assert_eq!(vm.bed.counters().references_live, references);
}

#[test]
fn what_is_not_served_is_refused() {
    with_guest(64, |vm| {
        vm.attached_context();
        for op in [0, 7, 8, 0x100, 0x101, u16::MAX] {
            let cases = [
                (element(BatchOp(op), NONE, 1, 1, 1), Errno::EOPNOTSUPP),
                (element(BatchOp(op), READ_WRITE, 1, 1, 1), Errno::EOPNOTSUPP),
            ];
            are_refused(vm, &cases);
        }
        vm.end();
    });
}

/// INV-62: a flag that means nothing for an operation is refused, not ignored.
#[test]
fn every_flag_that_an_operation_does_not_know_is_refused() {
    with_guest(64, |vm| {
        vm.attached_context();
        let maps = ElementFlags::all() - ElementFlags::SKIP_HOLES;
        let unmaps = ElementFlags::NO_FLUSH | ElementFlags::SKIP_HOLES;
        let operations = [
            (map(100, 3, 1), READ_WRITE, maps),
            (map_list(100, LIST, 1), READ_WRITE, maps),
            (unmap(100, 1), NONE, unmaps),
            (flush(100, 1), NONE, NONE),
            (lookup(100), NONE, NONE),
        ];
        for (element, needed, known) in operations {
            for bit in 0..16 {
                let flag = ElementFlags::from_bits_retain(1 << bit);
                if !known.contains(flag) {
                    let flags = needed | flag;
                    are_refused(vm, &[(BatchElement { flags, ..element }, Errno::EINVAL)]);
                }
            }
        }
        // Neither read nor write.
        for flags in [NONE, ElementFlags::CACHE, ElementFlags::NO_FLUSH | ElementFlags::NOEXEC] {
            let cases = [map(100, 3, 1), map_list(100, LIST, 1)];
            are_refused(vm, &cases.map(|e| (BatchElement { flags, ..e }, Errno::EINVAL)));
        }
        vm.end();
    });
}

#[test]
fn what_is_wrong_with_an_element_is_found_before_a_page_is_touched() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        lay_list(vm, &[3, 4, 5]);
        assert_eq!(vm.map(context, 50, 3, 1, RW), (0, 1));
        let (invalid, reserved) = (Errno::EINVAL, Errno::EADDRNOTAVAIL);
        let mut cases = Vec::new();
        for (bfn, nr) in
            [(u64::MAX, 1), (u64::MAX, 2), (u64::MAX - 1, 3), (TOP, 2), (TOP + 1, 1), (50, 0)]
        {
            cases.extend([map(bfn, 3, nr), map_list(bfn, LIST, nr), unmap(bfn, nr)]);
            cases.extend([unmap_later(bfn, nr), skip_holes(bfn, nr), flush(bfn, nr)]);
        }
        cases.extend([lookup(TOP + 1), lookup(u64::MAX)]);
        cases.extend([0, 2, u32::MAX].map(|nr| BatchElement { nr, ..lookup(50) }));
        cases.extend([1, 50, u64::MAX].map(|page| BatchElement { page, ..unmap(50, 1) }));
        cases.extend([1, 50, u64::MAX].map(|page| BatchElement { page, ..flush(50, 1) }));
        // Guest frames that wrap.
        cases.extend([map(100, u64::MAX, 2), map(100, u64::MAX - 5, 7)]);
        let mut cases: Vec<_> = cases.into_iter().map(|element| (element, invalid)).collect();
        for (bfn, nr) in [(0xfedff, 2), (0xfeeff, 1), (0xfee00 - 8, 0x200), (1, 0xff000)] {
            let all = [
                map(bfn, 3, nr),
                map_list(bfn, LIST, nr),
                unmap(bfn, nr),
                unmap_later(bfn, nr),
                skip_holes(bfn, nr),
            ];
            cases.extend(all.map(|element| (element, reserved)));
        }
        are_refused(vm, &cases);
        assert!(vm.lands_in(DEVICE, 50, 3));
        vm.end();
    });
}

/// INV-30: what a device reserves is nobody's to map, unmap or pass over.
#[test]
fn what_an_attached_device_reserves_is_refused() {
    let mut config = Config::one_guest(64);
    let range = BfnRange::of_pages(Bfn(0x8_0000), 4).unwrap();
    config.devices[0].reserved = vec![reserved(range, ReservedKind::Direct)];
    with(&config.with_direct_ranges(), |vm| {
        vm.attached_context();
        lay_list(vm, &[3, 4, 5, 6, 7]);
        for (bfn, nr) in [(0x7_ffff, 2), (0x8_0003, 2), (0x8_0001, 1), (0x7_fff0, 0x40)] {
            let all =
                [map(bfn, 3, nr), map_list(bfn, LIST, nr), unmap(bfn, nr), skip_holes(bfn, nr)];
            are_refused(vm, &all.map(|element| (element, Errno::EADDRNOTAVAIL)));
        }
        vm.end();
    });
}

#[test]
fn an_element_keeps_what_it_has_done_before_its_error() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        vm.bed.board().set_page_kind(GUEST, Gfn(9), FrameKind::GuestTable).unwrap();
        let mut elements = [
            map(105, 3, 1),
            map(102, 3, 5),
            unmap(102, 8),
            map(200, 62, 4),
            map(300, 8, 3),
            map(400, 9, 1),
            element(BatchOp::MAP, ElementFlags::READ, 400, 9, 1),
            map(500, u64::MAX, 1),
            unmap(600, 1),
        ];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 9));
        let expected = [
            Ok(()),
            Err(Errno::EADDRINUSE),
            Err(Errno::ENOENT),
            Err(Errno::ENOENT),
            Err(Errno::EPERM),
            Err(Errno::EPERM),
            Ok(()),
            Err(Errno::ENOENT),
            Err(Errno::ENOENT),
        ];
        assert_eq!(statuses(&elements), expected);
        assert_eq!(elements.map(|element| element.done), [1, 3, 4, 2, 1, 0, 1, 0, 0]);
        assert!(vm.reads(DEVICE, 201) && vm.hits_background(DEVICE, 202));
        assert!(vm.reads(DEVICE, 400) && !vm.writes(DEVICE, 400), "read only");
        vm.end();
    });
}

#[test]
fn the_reason_a_page_is_refused_reaches_the_element() {
    with_guest(64, |vm| {
        let context = vm.context();
        let list: Vec<u64> = (0..32).map(|i| i * 7 % 32).collect();
        lay_list(vm, &list);
        for (reason, errno) in REASONS {
            for element in [map(5, 0, 32), map_list(5, LIST, 32)] {
                vm.bed.schedule().acquire_fails_with(reason);
                vm.bed.schedule().set(Step::AcquirePage, When::Nth(11));
                assert_eq!(run_one(vm, context, element), (err(errno), 10));
                assert_eq!(run_one(vm, context, unmap(5, 10)), (0, 10));
            }
        }
        vm.bed.schedule().clear();
        vm.end();
    });
}

#[test]
fn a_page_that_is_mapped_too_often_and_a_table_too_many_fail_their_element_only() {
    let mut config = Config::one_guest(64);
    config.max_references = 3;
    with(&config, |vm| {
        let context = vm.attached_context();
        let mut elements = [map(0, 7, 1), map(1, 7, 1), map(2, 7, 1), map(3, 7, 1), map(3, 8, 1)];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 5));
        assert_eq!(statuses(&elements)[3..], [Err(Errno::EBUSY), Ok(())]);
        vm.bed.schedule().set(Step::Alloc, When::From(1));
        let mut elements = [map(1 << 20, 9, 1), map(4, 9, 1), map(1 << 27, 9, 2)];
        assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, 3));
        let none = Err(Errno::ENOMEM);
        assert_eq!(statuses(&elements), [none, Ok(()), none]);
        assert_eq!(elements.map(|element| element.done), [0, 1, 0]);
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.counters().references_live, 5);
        vm.end();
    });
}

/// INV-51: no field of an element does harm, whatever it holds.
#[test]
fn numbers_at_their_ends_do_no_harm() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        let ends =
            [0, 1, u64::from(u32::MAX), 1 << 36, 1 << 52, u64::MAX / 8, u64::MAX - 1, u64::MAX];
        let flags = [NONE, READ_WRITE, ElementFlags::NO_FLUSH, ElementFlags::SKIP_HOLES];
        for op in 0..8 {
            for bfn in ends {
                for page in ends {
                    let counts = [0, 1, 2, 1 << 31, u32::MAX - 1, u32::MAX];
                    let each = counts.into_iter().flat_map(|nr| {
                        flags.map(|flags| element(BatchOp(op), flags, bfn, page, nr))
                    });
                    let mut elements: Vec<_> = each.collect();
                    let count = u32::try_from(elements.len()).unwrap();
                    assert_eq!(run(vm, context, RUN_ALL, &mut elements), (0, count));
                    for element in elements {
                        let known = Errno::from_ret(i64::from(element.status)).is_some();
                        assert!(element.status == 0 || known, "{element:?}");
                        assert!(element.done <= element.nr, "{element:?}");
                    }
                }
            }
        }
        vm.end();
    });
}
