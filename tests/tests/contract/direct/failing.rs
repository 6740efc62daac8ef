//! INV-33: whatever fails on the way, nothing stays that nobody knows of.

use pviommu_abi::{ContextId, Errno};
use pviommu_hypervisor::{DefaultMap, platform::UnitId};
use pviommu_testbed::{
    iommu::Direction,
    machine::{Half, Step, When},
};

use super::kit::{ALL, READ_ONLY, SECOND, check, direct, machine};
use crate::{
    kit::{DEVICE, GUEST, RW, Vm, err, with},
    switch::kit::that_ends,
};

fn ranges() -> [pviommu_hypervisor::Reserved; 3] {
    [direct(0x8000, 1, ALL), direct(0x8_01fe, 4, READ_ONLY), direct(0x4_0000, 513, ALL)]
}

/// Checks that nothing of the ranges is left in `context`, where the second device is.
fn check_nothing_stays(vm: &Vm<'_>, context: ContextId, frames: u32) {
    assert_eq!(vm.bed.trim(GUEST, 0), Ok(()));
    assert_eq!(vm.bed.domain(GUEST).stats().table_frames, frames);
    for range in ranges().map(|range| range.range) {
        for bfn in [range.first().0, range.last().0] {
            assert!(vm.hits_background(SECOND, bfn), "{bfn:#x}");
            assert_eq!(vm.map(context, bfn, 1, 1, RW), (0, 1));
            assert!(vm.lands_in(SECOND, bfn, 1));
            assert_eq!(vm.unmap(context, bfn, 1), (0, 1));
        }
    }
}

#[test]
fn an_attach_that_finds_no_memory_leaves_nothing_behind_wherever_it_stops() {
    let config = machine(&[&ranges(), &[]]);
    let calls = with(&config, |vm| {
        let context = vm.context();
        vm.bed.schedule().set(Step::Alloc, When::Never);
        assert_eq!(vm.attach(DEVICE, context), 0);
        vm.bed.schedule().calls(Step::Alloc)
    });
    assert!(calls >= 7, "{calls}");
    for n in 1..=calls {
        with(&config, |vm| {
            let context = vm.context();
            assert_eq!(vm.attach(SECOND, context), 0);
            let frames = vm.bed.domain(GUEST).stats().table_frames;
            vm.bed.schedule().set(Step::Alloc, When::From(n));
            let stop = (Step::Invalidate, When::From(1));
            let status = that_ends(vm, stop, || vm.attach(DEVICE, context));
            assert_eq!(status, err(Errno::ENOMEM), "{n} of {calls}");
            vm.bed.schedule().clear();
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            check_nothing_stays(vm, context, frames);
            assert_eq!(vm.attach(DEVICE, context), 0);
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            vm.end();
        });
    }
}

/// The domain's own share, one frame more each time.
#[test]
fn an_attach_beyond_the_share_of_the_domain_is_refused_until_it_fits() {
    let mut fitted = 0;
    for frames in 0..24 {
        let mut config = machine(&[&ranges(), &[]]);
        config.domains[0].limits.default_map_frames = frames;
        with(&config, |vm| {
            assert_eq!(vm.init(4, 0), 0);
            let Ok(context) = vm.alloc() else { return };
            assert_eq!(vm.attach(SECOND, context), 0);
            let stop = (Step::Invalidate, When::From(1));
            match that_ends(vm, stop, || vm.attach(DEVICE, context)) {
                0 => fitted += 1,
                status => assert_eq!(status, err(Errno::ENOMEM)),
            }
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            vm.end();
        });
    }
    assert!((4..20).contains(&fitted), "{fitted}");
}

#[test]
fn a_domain_that_cannot_pay_does_not_get_the_device_and_it_stays_in_quarantine() {
    let mut config = machine(&[&ranges()]).with_default_map(DefaultMap::Guest);
    config.devices[0].unowned = true;
    let calls = with(&config, |vm| {
        vm.bed.schedule().set(Step::Alloc, When::Never);
        assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
        vm.bed.schedule().calls(Step::Alloc)
    });
    assert!(calls > 0);
    for n in 1..=calls {
        with(&config, |vm| {
            vm.bed.schedule().set(Step::Alloc, When::From(n));
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Err(Errno::ENOMEM));
            vm.bed.schedule().clear();
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            assert!(!vm.reads(DEVICE, 3), "no memory of the guest");
            assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()), "it is neither owned nor broken");
            assert!(vm.lands_in(DEVICE, 3, 3));
            vm.end();
        });
    }
}

/// INV-15, INV-31: which of two entries is in force is unknown, so what the firmware needs is in both
/// tables, and stays.
#[test]
fn an_entry_that_may_or_may_not_be_in_force_leads_to_the_range_either_way() {
    for half in [Half::Nothing, Half::Done] {
        with(&machine(&[&ranges(), &[]]), |vm| {
            let (from, to) = (vm.attached_context(), vm.context());
            assert_eq!(vm.map(from, 10, 1, 1, RW), (0, 1));
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(Step::Attach, When::Nth(1));
            assert_eq!(vm.attach(DEVICE, to), err(Errno::EIO));
            vm.bed.schedule().clear();
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            vm.bed.teardown(GUEST, 0);
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            assert_eq!(vm.bed.violations(), []);
        });
    }
}

/// A flush that fails after the switch: the device is where it was put.
#[test]
fn a_device_whose_old_tag_cannot_be_flushed_keeps_its_range() {
    for half in [Half::Nothing, Half::Done] {
        with(&machine(&[&ranges(), &[]]), |vm| {
            let (_, to) = (vm.attached_context(), vm.context());
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
            assert_eq!(vm.attach(DEVICE, to), err(Errno::EIO));
            vm.bed.schedule().clear();
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            vm.bed.teardown(GUEST, 0);
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            assert_eq!(vm.bed.violations(), []);
        });
    }
}

/// INV-30, INV-33: a device is still where a unit that has failed was told to put it, so the range of another that is
/// refused does not come there.
#[test]
fn a_range_does_not_come_where_its_device_is_refused_because_a_unit_has_failed() {
    for (stop, half) in [
        (Step::Attach, Half::Done),
        (Step::Attach, Half::Nothing),
        (Step::Invalidate, Half::Done),
        (Step::Invalidate, Half::Nothing),
    ] {
        let mut config = machine(&[&ranges(), &[]]);
        config.units.push(config.units[0]);
        config.devices[1].unit = UnitId(1);
        with(&config, |vm| {
            let context = vm.context();
            if stop == Step::Invalidate {
                // It fails when the range of the other comes: it may have had cached what was there.
                assert_eq!(vm.attach(SECOND, context), 0);
            }
            vm.bed.schedule().hardware_fails(half);
            vm.bed.schedule().set(stop, When::Nth(1));
            if stop == Step::Attach {
                assert_eq!(vm.attach(SECOND, context), err(Errno::EIO));
            }
            assert_eq!(vm.attach(DEVICE, context), err(Errno::EIO), "{stop:?}");
            vm.bed.schedule().clear();
            ranges().iter().for_each(|range| check(vm, DEVICE, range));
            if vm.bed.failed_units() != [UnitId(1)] {
                // Nothing was flushed for the other, so it is the device's own unit that has failed.
                return;
            }
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            for range in ranges().map(|range| range.range) {
                for bfn in [range.first().0, range.last().0] {
                    let _ = vm.bed.dma_probe(SECOND, bfn << 12, Direction::Read);
                }
            }
            assert_eq!(vm.bed.violations(), [], "{stop:?}, {half:?}");
        });
    }
}
