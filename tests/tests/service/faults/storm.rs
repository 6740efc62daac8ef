//! INV-48: a device that faults without end costs bounded time, and is stopped.

use std::time::{Duration, Instant};

use pviommu_abi::{
    DeviceFlags, DeviceHandle, Errno, FaultReason as Told, FreeFlags, MapFlags, PciDevice,
    QueryDevice, Subop,
};
use pviommu_hypervisor::{
    Fault, FaultRule, Reported,
    platform::{Access, SourceId, UnitId},
};
use pviommu_testbed::machine::{Config, FaultReason};

use super::{OWN, OWNER, config, fault, pages, read_only};
use crate::kit::{OTHER, SECOND, Vm, with};

fn rule() -> Config {
    let mut config = config();
    config.faults = FaultRule { window_ms: 100, recorded: 4, storm: 10 };
    config
}

/// Has the device fault until it is stopped; how many faults it took.
fn storm(vm: &Vm<'_>, now: u64) -> usize {
    let told = |number: &u64| fault(vm, OWN, number % 40, now) == [Reported::Stopped];
    let before = (0..100).take_while(|number| !told(number)).count();
    before + 1
}

#[test]
fn a_storm_ends_with_the_device_switched_off() {
    with(&rule(), |vm| {
        read_only(vm);
        assert_eq!(storm(vm, 0), 11);
        let off = vm.bed.dma_write(OWN, 0x5000, &[1]).unwrap_err();
        assert_eq!(off.reason, FaultReason::Off);
        assert_eq!(vm.bed.take_faults(), [], "and no unit is bothered");
        let mut query = QueryDevice { device: DeviceHandle::pci(OWN), ..QueryDevice::default() };
        assert_eq!(vm.op(Subop::QUERY_DEVICE, &mut query), 0);
        assert!(query.state.contains(DeviceFlags::STOPPED));
        let (pages, lost) = pages(vm);
        assert_eq!((pages, lost), (vec![0, 1, 2, 3], 7));
        vm.end();
    });
}

#[test]
fn another_device_goes_on_and_its_records_are_not_crowded_out() {
    with(&rule(), |vm| {
        let other = Vm::new(vm.bed, OTHER, 0);
        let theirs = other.context();
        assert_eq!(other.attach(SECOND, theirs), 0);
        assert_eq!(other.map(theirs, 0, 0, 2, MapFlags::READABLE), (0, 2));
        read_only(vm);
        assert_eq!(fault(vm, SECOND, 1, 0), [Reported::Recorded]);
        storm(vm, 0);
        assert!(vm.bed.dma_read(SECOND, 0, &mut [0]).is_ok());
        assert_eq!(pages(&other), (vec![1], 0));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

#[test]
fn faults_that_come_slowly_are_no_storm() {
    with(&rule(), |vm| {
        read_only(vm);
        for number in 0..50 {
            assert_ne!(fault(vm, OWN, number % 40, number * 30), [Reported::Stopped]);
        }
        assert!(!vm.bed.board().is_stopped(OWN));
        vm.end();
    });
}

#[test]
fn a_device_that_was_stopped_is_given_to_nobody_until_it_is_started_again() {
    with(&rule(), |vm| {
        let context = read_only(vm);
        storm(vm, 0);
        assert_eq!(vm.bed.unassign(OWNER, 0, OWN), Ok(()));
        assert_eq!(vm.bed.assign(OTHER, OWN), Err(Errno::EBADF));
        assert_eq!(vm.bed.assign(OWNER, OWN), Err(Errno::EBADF));
        assert_eq!(vm.bed.iommu().restart(OWN), Ok(()));
        assert_eq!(vm.bed.assign(OWNER, OWN), Ok(()));
        assert_eq!(vm.attach(OWN, context), 0);
        assert!(vm.reads(OWN, 5));
        assert_eq!(storm(vm, 0), 11, "counting begins again");
        let absent = PciDevice { seg: 0, bus: 7, devfn: 0 };
        assert_eq!(vm.bed.iommu().restart(absent), Err(Errno::ENODEV));
        vm.end();
    });
}

/// INV-59: an interrupt may come while a call holds whatever locks it holds when it drives a unit.
#[test]
fn faults_are_reported_while_a_call_holds_its_locks() {
    let mut config = rule();
    config.cpus = 2;
    with(&config, |vm| {
        let context = read_only(vm);
        let second = vm.context();
        let pause = vm.bed.board().pause_invalidation();
        std::thread::scope(|scope| {
            // The device leaves its context: the lock of the domain and of the device are held.
            let moves = scope.spawn(|| vm.attach(OWN, second));
            pause.wait();
            let began = Instant::now();
            let report = |now| {
                let (source, address) = (SourceId(OWN), now << 12);
                let (access, reason) = (Access::WRITE, Told::NOT_MAPPED);
                let fault = Fault { source, address, access, reason };
                vm.bed.iommu().report_fault(UnitId(0), &fault, now)
            };
            assert_eq!(report(0), Reported::Recorded);
            assert_eq!((1..11).map(report).last(), Some(Reported::Stopped));
            assert!(began.elapsed() < Duration::from_secs(5), "it has waited");
            assert!(!moves.is_finished());
            drop(pause);
            assert_eq!(moves.join().unwrap(), 0);
        });
        assert_eq!(vm.free(context, FreeFlags::empty()), 0);
        vm.end();
    });
}
