//! Direct ranges where a guest may map nothing, and at the end of what a unit translates.

use pviommu_abi::{AllocContextExt, Bfn, ContextId, Subop};
use pviommu_hypervisor::SetupError;
use pviommu_testbed::machine::try_run;

use super::kit::{ALL, READ_ONLY, SECOND, THIRD, check, direct, machine};
use crate::kit::{DEVICE, RW, Vm, with};

fn narrow(vm: &Vm<'_>, first: u64, last: u64) -> ContextId {
    assert_eq!(vm.init(8, 10), 0);
    let (aperture_first, aperture_last) = (Bfn(first), Bfn(last));
    let mut alloc = AllocContextExt { aperture_first, aperture_last, ..AllocContextExt::default() };
    assert_eq!(vm.op(Subop::ALLOC_CONTEXT_EXT, &mut alloc), 0);
    ContextId(u16::try_from(alloc.ctx_id).unwrap())
}

/// INV-31, INV-32: it is there although the guest may map nothing there, and it goes with its device.
#[test]
fn a_range_outside_of_the_aperture_comes_and_goes_with_its_device() {
    let ranges = [direct(0xfe, 4, ALL), direct(0x8000, 3, READ_ONLY), direct(0x8400, 512, ALL)];
    with(&machine(&[&ranges, &[]]), |vm| {
        let context = narrow(vm, 0x10, 0xff);
        assert_eq!(vm.attach(SECOND, context), 0);
        for _ in 0..3 {
            assert_eq!(vm.attach(DEVICE, context), 0);
            ranges.iter().for_each(|range| check(vm, DEVICE, range));
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            ranges.iter().for_each(|range| check(vm, DEVICE, range));
            assert!(vm.hits_background(SECOND, 0xfe) && vm.hits_background(SECOND, 0xff));
            for bfn in [0x100, 0x101, 0x8000, 0x8002, 0x8400, 0x85ff] {
                assert!(!vm.reads(SECOND, bfn), "{bfn:#x} is left behind");
                assert!(vm.bed.dma_read(SECOND, bfn << 12, &mut [0]).is_err(), "{bfn:#x}");
            }
        }
        assert_eq!(vm.map(context, 0x10, 1, 8, RW), (0, 8));
        vm.end();
    });
}

/// INV-31: what another device's firmware uses outside of the aperture does not stay because somebody else's is there, too.
#[test]
fn each_device_takes_its_own_range_outside_of_the_aperture_with_it() {
    let (first, second) = (direct(0x8000, 3, READ_ONLY), direct(0x9000, 2, ALL));
    with(&machine(&[&[first], &[second], &[first]]), |vm| {
        let context = narrow(vm, 0x10, 0xff);
        for device in [DEVICE, SECOND, THIRD] {
            assert_eq!(vm.attach(device, context), 0);
        }
        assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
        check(vm, SECOND, &second);
        check(vm, THIRD, &first);
        assert_eq!(vm.attach(THIRD, ContextId::DEFAULT), 0);
        check(vm, SECOND, &second);
        assert!((0x8000..0x8003).all(|bfn| vm.bed.dma_read(SECOND, bfn << 12, &mut [0]).is_err()));
        vm.end();
    });
}

/// INV-34: inclusive ends.
#[test]
fn a_range_may_end_where_the_units_do_and_not_a_page_later() {
    for (first, pages, fits) in [
        (0x7fff0, 16, true),
        (0x7ffff, 1, true),
        (0x7fe00, 512, true),
        (0x7ffff, 2, false),
        (0x80000, 1, false),
    ] {
        let range = direct(first, pages, ALL);
        let mut config = machine(&[&[range], &[]]);
        config.units[0].bus_address_bits = 31;
        if !fits {
            let refused = try_run(&config, |_| ()).unwrap_err();
            assert_eq!(refused, SetupError::DirectUnreachable(DEVICE, range.range));
            continue;
        }
        with(&config, |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.attach(SECOND, context), 0);
            check(vm, DEVICE, &range);
            assert_eq!(vm.map(context, 0x7ffff, 1, 1, RW), (-99, 0));
            assert_eq!(vm.map(context, 0x7ffff, 1, 2, RW), (-22, 0));
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            check(vm, DEVICE, &range);
            assert_eq!(vm.map(context, 0x7ffff, 1, 1, RW), (0, 1));
            assert!(vm.lands_in(SECOND, 0x7ffff, 1));
            vm.end();
        });
    }
}

#[test]
fn a_range_may_begin_with_the_first_bus_frame() {
    let range = direct(0, 2, ALL);
    with(&machine(&[&[range]]), |vm| {
        let context = vm.attached_context();
        check(vm, DEVICE, &range);
        assert_eq!(vm.map(context, 1, 1, 2, RW), (-99, 0));
        assert_eq!(vm.map(context, 2, 2, 2, RW), (0, 2));
        assert!(vm.lands_in(DEVICE, 2, 2));
        vm.end();
    });
}
