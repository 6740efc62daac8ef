//! Reasons that are not of a table: no device, no owner, no unit, no domain.

use std::sync::atomic::Ordering;

use pviommu_abi::{
    Batch, BatchElement, BatchOp, Bfn, ElementFlags, Errno, MapFlags, PciDevice, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{
    Background, FaultRule, Reported, Reserved, ReservedKind,
    addr::BfnRange,
    operator::{DeviceHome, Reason},
    platform::{Access, SourceId, UnitId},
};
use pviommu_testbed::machine::{Config, Counters, Half, Step, When};
use zerocopy::IntoBytes;

use crate::{
    kit::{DEVICE, GUEST, RW, Vm, err, over_scratch, with, with_guest},
    look::{ask, explain, page},
};

const READ: Access = Access::READ;
const WRITE: Access = Access::WRITE;
const STRANGER: PciDevice = PciDevice { seg: 0, bus: 7, devfn: 1 };
const ALIAS: PciDevice = PciDevice { seg: 0, bus: 4, devfn: 0 };

#[test]
fn an_id_that_no_device_has_is_unknown() {
    with_guest(64, |vm| {
        assert_eq!(explain(vm, STRANGER, 0x1000, READ), Reason::UnknownDevice);
        assert_eq!(ask(vm, STRANGER, 0x1000, READ).device, None);
        assert_eq!(vm.bed.iommu().explain(99, SourceId(DEVICE), 0, READ), None, "no such CPU");
        vm.end();
    });
}

#[test]
fn a_device_is_blocked_with_its_owners_default_context_and_without_an_owner() {
    with_guest(64, |vm| {
        assert_eq!(explain(vm, DEVICE, 0x1000, READ), Reason::Blocked);
        assert!(ask(vm, DEVICE, 0x1000, READ).to_string().contains("domain 1 is blocked"));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(explain(vm, DEVICE, 0x1000, READ), Reason::Blocked);
        let said = ask(vm, DEVICE, 0x1000, READ).to_string();
        assert!(said.contains("of nobody") && said.contains("nobody has it"), "{said}");
        vm.end();
    });
}

#[test]
fn in_quarantine_it_is_the_quarantines_table_that_tells() {
    for background in [Background::Fault, Background::Scratch] {
        let mut config = Config::one_guest(64).with_direct_ranges().with_quarantine(background);
        let range = BfnRange::of_pages(Bfn(0x8000), 2).unwrap();
        let direct = Reserved { range, kind: ReservedKind::Direct, access: READ };
        config.devices[0].reserved = vec![direct];
        with(&config, |vm| {
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            let device = ask(vm, DEVICE, 0x1000, READ).device.unwrap();
            assert_eq!((device.owner, device.home), (None, DeviceHome::Quarantine));
            match (explain(vm, DEVICE, 0x1000, WRITE), background) {
                (Reason::NotMapped, Background::Fault) => {}
                (Reason::Scratch(_), Background::Scratch) => {}
                other => unreachable!("{other:?}"),
            }
            assert!(matches!(explain(vm, DEVICE, 0x800_0000, READ), Reason::Allowed { .. }));
            assert!(matches!(explain(vm, DEVICE, 0x800_1000, WRITE), Reason::NotAllowed { .. }));
            vm.end();
        });
    }
}

#[test]
fn a_device_that_cannot_be_put_back_is_told_to_be_broken() {
    let mut config = Config::one_guest(64);
    config.devices[0].aliases = vec![ALIAS];
    with(&config, |vm| {
        let (_from, to) = (vm.attached_context(), vm.context());
        vm.bed.schedule().set(Step::AttachRefused, When::From(2));
        assert_eq!(vm.attach(DEVICE, to), err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!(explain(vm, DEVICE, 0x1000, READ), Reason::Broken);
        assert_eq!(explain(vm, ALIAS, 0x1000, READ), Reason::Broken);
        assert!(ask(vm, DEVICE, 0x1000, READ).device.unwrap().broken);
        vm.end();
    });
}

/// INV-48.
#[test]
fn a_device_that_was_stopped_for_its_faults_is_told_to_be() {
    let mut config = Config::one_guest(64);
    config.devices[0].aliases = vec![ALIAS];
    config.faults = FaultRule { window_ms: 100, recorded: 1, storm: 3 };
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 16, 1, 1, MapFlags::READABLE), (0, 1));
        for _ in 0..4 {
            assert!(vm.bed.dma_write(DEVICE, 0x1_0000, &[1]).is_err());
        }
        assert!(matches!(explain(vm, DEVICE, 0x1_0000, READ), Reason::Allowed { .. }));
        assert_eq!(vm.bed.report_faults(0).last(), Some(&Reported::Stopped));
        assert_eq!(explain(vm, DEVICE, 0x1_0000, READ), Reason::Stopped);
        let device = ask(vm, ALIAS, 0x1_0000, READ).device.unwrap();
        assert!(device.stopped && device.faults == 4 && device.to_string().ends_with("stopped"));
        assert_eq!(vm.unmap(context, 16, 1), (0, 1));
        let unit = vm.bed.iommu().unit_stats(UnitId(0)).unwrap();
        assert_eq!((unit.stopped, unit.faults), (1, device.faults));
        assert!(unit.commands > 0);
        vm.end();
    });
}

/// What it lets through is not known: the service says what its table says, and no more.
#[test]
fn behind_a_unit_that_failed_the_table_is_told_and_not_believed() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 16, 1, 1, RW), (0, 1));
        vm.bed.schedule().hardware_fails(Half::Nothing);
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.unmap(context, 16, 1).0, err(Errno::EIO));
        vm.bed.schedule().clear();
        let told = ask(vm, DEVICE, 0x1_0000, READ);
        assert_eq!(told.reason, Reason::UnitFailed);
        assert_eq!(told.trail.entries().count(), 4, "{told}");
        assert!(told.to_string().contains("unit has failed"), "{told}");
        assert!(vm.bed.iommu().unit_stats(UnitId(0)).unwrap().failed);
        let _ = vm.bed.teardown(GUEST, 0);
    });
}

#[test]
fn of_a_domain_that_goes_away_nothing_is_followed() {
    with_guest(64, |vm| {
        let _ = vm.attached_context();
        vm.bed.slot(GUEST).dying.store(true, Ordering::Release);
        let told = ask(vm, DEVICE, 0x1000, READ);
        assert_eq!(told.reason, Reason::Changing);
        assert_eq!(told.device.unwrap().home, DeviceHome::Context(None));
        assert_eq!(vm.bed.iommu().device_stats(DEVICE), told.device);
        vm.end();
    });
}

/// The unit has it cached still, and that is told.
#[test]
fn what_waits_for_its_flush_may_still_be_reached_and_that_is_said() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 16, 1, 2, RW), (0, 2));
        assert!(vm.lands_in(DEVICE, 16, 1));
        assert!(!ask(vm, DEVICE, 16 << 12, READ).removals_wait);
        let (op, flags, bfn) = (BatchOp::UNMAP, ElementFlags::NO_FLUSH, page(16).first());
        let mut elements = [BatchElement { op, flags, bfn, nr: 1, ..BatchElement::default() }];
        let ctx_id = u32::from(context.0);
        let mut header = Batch { ctx_id, nr_ops: 1, ..Batch::default() };
        let later = elements.as_mut_bytes();
        assert_eq!(vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(later)), 0);
        let told = ask(vm, DEVICE, 16 << 12, READ);
        assert!(told.removals_wait && told.to_string().contains("may still be reached"), "{told}");
        let stats = vm.bed.iommu().context_stats(vm.bed.domain(GUEST), context).unwrap();
        assert!(stats.removals_wait);
        assert!(matches!(told.reason, Reason::Scratch(_)) == over_scratch(), "{told}");
        vm.end();
    });
}

/// Nothing is flushed, written or counted, and nothing stays locked.
#[test]
fn a_question_changes_nothing() {
    with_guest(64, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 16, 1, 2, RW), (0, 2));
        // The machine looks at what it guards with walks of its own.
        let counters = || Counters { walks: 0, iotlb_hits: 0, ..vm.bed.counters() };
        let before = counters();
        for bfn in 0..64 {
            let _ = ask(vm, DEVICE, bfn << 12, WRITE);
        }
        assert_eq!(counters(), before);
        assert_eq!(vm.bed.take_faults(), []);
        is_unlocked(vm);
        vm.end();
    });
}

/// The same CPU asks for all there is.
fn is_unlocked(vm: &Vm<'_>) {
    let (iommu, domain) = (vm.bed.iommu(), vm.bed.domain(GUEST));
    assert_eq!(vm.bed.trim(GUEST, vm.bed.own_cpu()), Ok(()));
    assert_eq!(iommu.scratch_written(domain, vm.bed.own_cpu()), None);
}
