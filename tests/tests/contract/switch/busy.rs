//! INV-71: devices do DMA all the time, and two vCPUs switch and edit at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use pviommu_abi::{ContextId, Errno, Gfn, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, addr::GfnRange};
use pviommu_testbed::machine::{Config, FaultReason, Step, When};

use super::kit::{Ended, take};
use crate::{
    direct::kit::{ALL, READ_ONLY, SECOND, direct, machine},
    kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with},
};

const ZERO: ContextId = ContextId::DEFAULT;

fn config(map: DefaultMap) -> Config {
    let mut config = machine(&[&[direct(0x8000, 2, ALL)], &[direct(0x9000, 2, READ_ONLY)], &[]]);
    config.cpus = 3;
    config.domains[0].ram = vec![GfnRange::of_pages(Gfn(0), 700).unwrap()];
    config.with_default_map(map)
}

/// At no instant is there neither map: what is in both, a device always finds.
#[test]
fn what_is_in_both_maps_is_there_at_every_instant() {
    for every in [0, 1] {
        with(&config(DefaultMap::Guest), |vm| {
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            let _ = vm.bed.take_faults();
            // Direct ranges are in all of them, and the one page that the guest maps as it was.
            let busy = [(DEVICE, vec![0x8000, 0x8001]), (SECOND, vec![0x9000])];
            let ((), did) = vm.bed.with_busy_devices(&busy, || {
                for _ in 0..24 {
                    for mode in
                        [OwnershipMode::CLEAR, OwnershipMode::GIVE_BACK, OwnershipMode::KEEP]
                    {
                        assert_eq!(take(vm, mode), 0);
                    }
                    assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
                }
            });
            assert!(did.iter().all(|device| device.accesses > 0), "{did:?}");
            for fault in vm.bed.take_faults() {
                let around = [0x7fff, 0x8002, 0x8fff, 0x9001].contains(&(fault.address >> 12));
                let denied = fault.reason == FaultReason::NotWritable && fault.device == SECOND;
                assert!(around && !over_scratch() || denied, "{fault:?}");
            }
            assert_eq!(vm.bed.violations(), []);
            vm.bed.schedule().clear();
            vm.end();
        });
    }
}

/// Every access lands in one of the two maps, or faults by the background: never on another's page.
#[test]
fn devices_land_in_one_map_or_the_other_all_the_while() {
    for map in [DefaultMap::Guest, DefaultMap::Blocked] {
        with(&config(map), |vm| {
            // Bus frame 100 is page 100 in the one and page 200 in the other.
            let marks = |vm: &Vm<'_>| {
                for gfn in 0..700 {
                    vm.bed.guest_write(GUEST, gfn << 12, &[0x11; 16]);
                }
            };
            marks(vm);
            let busy: Vec<_> =
                [DEVICE, SECOND].into_iter().map(|device| (device, vec![100, 101, 102])).collect();
            let ((), did) = vm.bed.with_busy_devices(&busy, || {
                for _ in 0..10 {
                    assert_eq!(take(vm, OwnershipMode::CLEAR), 0);
                    assert_eq!(vm.map(ZERO, 99, 199, 5, RW), (0, 5));
                    assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
                }
            });
            assert!(did.iter().all(|device| device.accesses > 0));
            // Nothing but the pages of those bus frames in either map was written.
            let mut page = vec![0; 4096];
            for gfn in (0..700).filter(|gfn| !(99..104).contains(gfn) && !(199..204).contains(gfn))
            {
                vm.bed.guest_read(GUEST, gfn << 12, &mut page);
                assert!(page[16..].iter().all(|byte| *byte == 0), "{gfn}");
            }
            assert_eq!(vm.bed.violations(), []);
            vm.end();
        });
    }
}

/// Two vCPUs switch to and fro, a third maps; each is told something true.
#[test]
fn vcpus_that_switch_and_edit_at_a_time_get_true_answers() {
    for every in [0, 3] {
        with(&config(DefaultMap::Guest), |vm| {
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let ended = Ended(&done);
                scope.spawn(|| {
                    let vm = Vm::new(vm.bed, GUEST, 1);
                    while !done.load(Ordering::Relaxed) {
                        let (status, mapped) = vm.map(ZERO, 9000, 0, 64, RW);
                        let allowed = [0, err(Errno::EINVAL), err(Errno::EADDRINUSE)];
                        assert!(allowed.contains(&status), "{status}");
                        if mapped > 0 {
                            let (status, _) = vm.unmap(ZERO, 9000, mapped);
                            let allowed = [0, err(Errno::EINVAL), err(Errno::ENOENT)];
                            assert!(allowed.contains(&status), "{status}");
                        }
                    }
                });
                scope.spawn(|| {
                    let vm = Vm::new(vm.bed, GUEST, 2);
                    while !done.load(Ordering::Relaxed) {
                        let status = take(&vm, OwnershipMode::GIVE_BACK);
                        assert!([0, err(Errno::EBUSY)].contains(&status), "{status}");
                    }
                });
                for round in 0..30 {
                    let mode =
                        if round % 2 == 0 { OwnershipMode::CLEAR } else { OwnershipMode::KEEP };
                    let status = take(vm, mode);
                    assert!([0, err(Errno::EBUSY)].contains(&status), "{status}");
                }
                drop(ended);
            });
            vm.bed.schedule().clear();
            assert_eq!(take(vm, OwnershipMode::GIVE_BACK), 0);
            assert!([0, 5, 699].into_iter().all(|bfn| vm.lands_in(DEVICE, bfn, bfn)));
            assert!(vm.hits_background(DEVICE, 9000));
            assert_eq!(vm.bed.violations(), []);
            vm.end();
        });
    }
}

/// The lock rule: a P2M that changes all the while, contexts that acquire, switches that fill.
#[test]
fn nothing_waits_for_a_lock_that_somebody_holds_who_waits_for_it() {
    for map in [DefaultMap::Guest, DefaultMap::IdentityGfn, DefaultMap::IdentityMfn] {
        with(&config(map), |vm| {
            let context = vm.context();
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let ended = Ended(&done);
                scope.spawn(|| {
                    let vm = Vm::new(vm.bed, GUEST, 1);
                    while !done.load(Ordering::Relaxed) {
                        let (_, mapped) = vm.map(context, 9000, 100, 300, RW);
                        let _ = vm.unmap(context, 9000, mapped);
                        let _ = take(&vm, OwnershipMode::CLEAR);
                        let _ = vm.map(ZERO, 9000, 100, 300, RW);
                        let _ = take(&vm, OwnershipMode::GIVE_BACK);
                    }
                });
                scope.spawn(|| {
                    let vm = Vm::new(vm.bed, GUEST, 2);
                    while !done.load(Ordering::Relaxed) {
                        let _ = vm.attach(SECOND, context);
                        let _ = vm.attach(SECOND, ZERO);
                        assert_eq!(vm.bed.trim(GUEST, 2), Ok(()));
                    }
                });
                for gfn in 0..60 {
                    assert!(
                        vm.bed
                            .exchange_range(GUEST, GfnRange::of_pages(Gfn(gfn * 5), 3).unwrap())
                            .is_ok()
                    );
                    assert!(vm.bed.balloon_out(GUEST, Gfn(gfn * 5 + 3)).is_ok());
                    assert!(vm.bed.populate(GUEST, Gfn(gfn * 5 + 3)).is_ok());
                }
                drop(ended);
            });
            assert_eq!(vm.bed.violations(), []);
            vm.end();
        });
    }
}
