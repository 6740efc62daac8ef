//! Records: what they say, to whom, and what becomes of those that there is no room for.

use pviommu_abi::{
    AccessFlags, CapabilityFlags, ContextId, DeviceHandle, Errno, FaultReason, FaultRecord,
    GuestPtr, PciDevice, ReadFaults, ReadFaultsFlags,
};
use pviommu_hypervisor::{
    Fault, Reported,
    platform::{Access, SourceId, UnitId},
};
use pviommu_testbed::machine::{Config, Step, When};

use super::{OWN, OWNER, ROOM, call, config, fault, pages, read, read_only};
use crate::kit::{DOM0, OTHER, RW, SECOND, Vm, err, over_scratch, with, with_hardware_domain};

#[test]
fn a_record_says_which_device_was_refused_what_where_and_why() {
    with(&config(), |vm| {
        assert!(vm.capabilities().cap_flags.contains(CapabilityFlags::READ_FAULTS));
        let context = read_only(vm);
        assert_eq!(read(vm, 8), (0, vec![], 0));
        for page in [5, 5, 6] {
            assert_eq!(fault(vm, OWN, page, 0), [Reported::Recorded]);
        }
        let record = |page: u64, sequence, count| FaultRecord {
            device: DeviceHandle::pci(OWN),
            address: (page << 12) + 8,
            sequence,
            ctx_id: u32::from(context.0),
            reason: FaultReason::WRITE_DENIED,
            access: AccessFlags::WRITE,
            count,
            reserved: 0,
        };
        assert_eq!(read(vm, 8), (0, vec![record(5, 0, 2), record(6, 1, 1)], 0));
        assert_eq!(read(vm, 8), (0, vec![], 0), "each is told once");
        assert_eq!(vm.attach(OWN, ContextId::DEFAULT), 0);
        assert_eq!(fault(vm, OWN, 5, 0), [Reported::Recorded]);
        let blocked = FaultRecord { ctx_id: 0, reason: FaultReason::BLOCKED, ..record(5, 2, 1) };
        assert_eq!(read(vm, 8).1, [blocked]);
        vm.end();
    });
}

/// INV-52.
#[test]
fn nobody_is_told_of_anothers_device_nor_of_what_it_did_for_another() {
    with(&config(), |vm| {
        let other = Vm::new(vm.bed, OTHER, 0);
        read_only(vm);
        assert_eq!(fault(vm, OWN, 5, 0), [Reported::Recorded]);
        assert_eq!(pages(&other), (vec![], 0));
        assert_eq!(vm.bed.unassign(OWNER, 0, OWN), Ok(()));
        assert_eq!(pages(vm), (vec![], 0), "it is not its device any more");
        fault(vm, OWN, 7, 0);
        assert_eq!(vm.bed.assign(OTHER, OWN), Ok(()));
        assert_eq!(pages(&other), (vec![], 0));
        fault(vm, OWN, 9, 0);
        assert_eq!(pages(&other), (vec![9], 0));
        assert_eq!(vm.bed.teardown(OTHER, 0), 0);
        vm.end();
    });
}

#[test]
fn what_there_is_no_room_for_is_counted_and_leaves_a_gap() {
    with(&config(), |vm| {
        read_only(vm);
        let told: Vec<_> = (0..20).flat_map(|page| fault(vm, OWN, page, 0)).collect();
        let recorded = told.iter().filter(|it| **it == Reported::Recorded).count();
        assert!((4..20).contains(&recorded));
        let (status, records, lost) = read(vm, 3);
        assert_eq!((status, records.len(), lost), (0, 3, 20 - recorded as u64));
        assert_eq!(vm.bed.domain(OWNER).stats().lost_faults, lost);
        let first: Vec<u64> = records.iter().map(|record| record.sequence).collect();
        assert_eq!(first, [lost, lost + 1, lost + 2]);
        let (pages, again) = pages(vm);
        assert_eq!((pages[0], pages.len(), again), (3, recorded - 3, 0), "the others are kept");
        vm.end();
    });
}

#[test]
fn records_that_cannot_be_written_are_lost_and_that_is_told() {
    with(&config(), |vm| {
        read_only(vm);
        for (bad, page) in [(u64::MAX - 100, 5), (0x7fff_0000_0000, 6)] {
            assert_eq!(fault(vm, OWN, page, 0), [Reported::Recorded]);
            let mut question =
                ReadFaults { nr_records: 4, records: GuestPtr(bad), ..ReadFaults::default() };
            assert_eq!(call(vm, &mut question), err(Errno::EFAULT));
        }
        assert_eq!(pages(vm), (vec![], 2));
        // Nor the count of those that were.
        assert_eq!(fault(vm, OWN, 7, 0), [Reported::Recorded]);
        vm.bed.schedule().set(Step::CopyOut, When::Nth(2));
        assert_eq!(read(vm, 4).0, err(Errno::EFAULT));
        vm.bed.schedule().clear();
        assert_eq!(pages(vm), (vec![], 1));
        vm.end();
    });
}

#[test]
fn a_question_for_faults_that_is_wrong_takes_none() {
    with(&config(), |vm| {
        read_only(vm);
        assert_eq!(fault(vm, OWN, 5, 0), [Reported::Recorded]);
        let good = ReadFaults { nr_records: 4, records: GuestPtr(ROOM), ..ReadFaults::default() };
        let flags = (0..32)
            .map(|bit| ReadFaults { flags: ReadFaultsFlags::from_bits_retain(1 << bit), ..good });
        let wrong = [
            ReadFaults { reserved0: 1, ..good },
            ReadFaults { reserved1: 1, ..good },
            ReadFaults { elem_size: 48, ..good },
        ];
        for mut question in flags.chain(wrong) {
            assert_eq!(call(vm, &mut question), err(Errno::EINVAL), "{question:?}");
        }
        let mut of_another = ReadFaults { domid: OTHER, ..good };
        assert_eq!(call(vm, &mut of_another), err(Errno::EPERM));
        assert_eq!(pages(vm), (vec![5], 0));
        vm.end();
    });
}

#[test]
fn the_hardware_domain_reads_for_another() {
    with(&with_hardware_domain(), |vm| {
        read_only(vm);
        assert_eq!(fault(vm, OWN, 5, 0), [Reported::Recorded]);
        let dom0 = Vm::new(vm.bed, DOM0, 0);
        let mut question = ReadFaults {
            domid: OWNER,
            nr_records: 4,
            records: GuestPtr(ROOM),
            ..ReadFaults::default()
        };
        assert_eq!(call(&dom0, &mut question), 0);
        assert_eq!((question.nr_records, question.lost), (1, 0));
        assert_eq!(pages(vm), (vec![], 0));
        assert_eq!(vm.bed.teardown(DOM0, 0), 0);
        vm.end();
    });
}

#[test]
fn a_scratch_page_that_was_written_is_told_once() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 1, 1, 1, RW), (0, 1));
        if !over_scratch() {
            vm.end();
            return;
        }
        assert_eq!(vm.bed.dma_write(OWN, 0x7000, &[1]), Ok(()));
        let (_, records, lost) = read(vm, 4);
        let told = FaultRecord {
            ctx_id: u32::from(context.0),
            reason: FaultReason::SCRATCH_WRITTEN,
            access: AccessFlags::WRITE,
            count: 1,
            ..FaultRecord::default()
        };
        assert_eq!((records, lost), (vec![told], 0));
        assert_eq!(vm.bed.dma_write(OWN, 0x9000, &[1]), Ok(()));
        assert_eq!(read(vm, 4).1, []);
        // The embedder is told by itself.
        let written = vm.bed.iommu().scratch_written(vm.bed.domain(OWNER), 0);
        assert_eq!(written, Some(context));
        vm.end();
    });
}

#[test]
fn a_report_of_an_unknown_device_is_counted_and_nothing_else() {
    let mut config = Config::one_guest(64);
    let alias = PciDevice { seg: 0, bus: 9, devfn: 0 };
    config.devices[0].aliases = vec![alias];
    with(&config, |vm| {
        read_only(vm);
        let (access, reason) = (Access::READ, FaultReason::NOT_MAPPED);
        let report = |unit, function| {
            let fault = Fault { source: SourceId(function), address: 0x5008, access, reason };
            vm.bed.iommu().report_fault(UnitId(unit), &fault, 0)
        };
        assert_eq!(report(0, SECOND), Reported::Unknown);
        assert_eq!(report(1, OWN), Reported::Unknown, "no such unit");
        assert_eq!(pages(vm), (vec![], 0));
        assert_eq!(report(0, alias), Reported::Recorded);
        assert_eq!(read(vm, 4).1[0].device, DeviceHandle::pci(OWN));
        vm.end();
    });
}
