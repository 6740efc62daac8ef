//! INV-43, INV-44: where a device is that nobody owns, and what it finds there.

use pviommu_abi::{ContextId, DomId, Errno, PciDevice};
use pviommu_hypervisor::{Background, OptIns, Reserved};
use pviommu_testbed::{
    iommu::{DeviceEntry, Direction},
    machine::{Config, DomainConfig, Harshness, Reach, Step, When, try_run},
};

use super::kit::{ALL, SECOND, check, direct, machine};
use crate::kit::{DEVICE, GUEST, RW, Vm, with};

const OTHER: DomId = DomId(2);
const SECRET: [u8; 4] = [0x5e, 0xc4, 0xe7, 0x01];

/// Two guests, two devices, the first with `ranges`; quarantine over `background`.
fn config(background: Background, ranges: &[Reserved]) -> Config {
    let mut config = machine(&[ranges, &[]]).with_quarantine(background);
    let other = DomainConfig { id: OTHER, ..config.domains[0].clone() };
    config.domains.push(other);
    config
}

fn finds(vm: &Vm<'_>, device: PciDevice, bfn: u64) -> Option<Reach> {
    vm.bed.dma_probe(device, bfn << 12, Direction::Write).ok().map(|hit| hit.reach)
}

fn read(vm: &Vm<'_>, device: PciDevice, bfn: u64) -> Option<[u8; 4]> {
    let mut bytes = [0xff; 4];
    vm.bed.dma_read(device, bfn << 12, &mut bytes).ok().map(|()| bytes)
}

fn end(vm: &Vm<'_>) {
    assert_eq!(vm.bed.teardown(OTHER, 0), 0);
    vm.end();
}

#[test]
fn a_device_that_is_taken_back_finds_its_range_and_the_background_of_quarantine() {
    for background in [Background::Fault, Background::Scratch] {
        let range = direct(0x8000, 3, ALL);
        with(&config(background, &[range]), |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.attach(SECOND, context), 0);
            assert_eq!(vm.map(context, 10, 1, 4, RW), (0, 4));
            assert!(vm.lands_in(DEVICE, 10, 1) && vm.lands_in(SECOND, 10, 1));
            let expected = match background {
                Background::Fault => None,
                Background::Scratch => Some(Reach::Scratch),
            };
            for by_teardown in [false, true] {
                if by_teardown {
                    assert_eq!(vm.bed.teardown(GUEST, 0), 0);
                } else {
                    assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
                    assert_eq!(vm.bed.unassign(GUEST, 0, SECOND), Ok(()));
                }
                for device in [DEVICE, SECOND] {
                    for bfn in [0, 10, 13, 0x7fff, 0x8003, (1 << 36) - 1] {
                        assert_eq!(finds(vm, device, bfn), expected, "{device} {bfn:#x}");
                    }
                    assert_eq!(finds(vm, device, 0xfee00), None, "interrupts are not memory");
                }
                check(vm, DEVICE, &range);
                if !by_teardown {
                    assert_eq!(vm.bed.assign(GUEST, DEVICE), Ok(()));
                    assert_eq!(vm.bed.assign(GUEST, SECOND), Ok(()));
                    assert_eq!(vm.attach(DEVICE, context), 0);
                    assert!(vm.lands_in(DEVICE, 10, 1));
                }
            }
            end(vm);
        });
    }
}

/// INV-44, INV-46: two devices have two pages.
#[test]
fn devices_in_quarantine_do_not_see_what_others_write_there() {
    with(&config(Background::Scratch, &[]), |vm| {
        for device in [DEVICE, SECOND] {
            assert_eq!(vm.bed.unassign(GUEST, 0, device), Ok(()));
        }
        assert_eq!(vm.bed.dma_write(DEVICE, 5 << 12, &SECRET), Ok(()));
        assert_eq!(read(vm, SECOND, 5), Some([0; 4]));
        assert_eq!(read(vm, DEVICE, 9), Some(SECRET), "it is one page wherever it looks");
        end(vm);
    });
}

/// INV-44, with writes that arrive when they like: what one owner's device wrote, or was about to,
/// the next does not read.
fn a_secret_is_not_read(ranges: &[Reserved], harshness: Harshness) {
    for seed in 0..16 {
        let mut config = config(Background::Scratch, ranges);
        (config.harshness, config.seed) = (harshness, seed);
        with(&config, |vm| {
            let write = || vm.bed.dma_write(DEVICE, 5 << 12, &SECRET);
            let _ = write();
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            assert_eq!(write(), Ok(()), "nobody has stopped it");
            assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()));
            for bfn in [5, 6] {
                assert!(read(vm, DEVICE, bfn).is_none_or(|seen| seen == [0; 4]), "{seed}");
            }
            assert_eq!(vm.bed.unassign(OTHER, 0, DEVICE), Ok(()));
            assert_eq!(read(vm, DEVICE, 5), Some([0; 4]), "{seed}");
            end(vm);
        });
    }
}

#[test]
fn the_page_of_quarantine_is_zeros_for_each_new_owner() {
    a_secret_is_not_read(&[], Harshness::NONE);
    a_secret_is_not_read(&[direct(0x8000, 2, ALL)], Harshness::NONE);
}

#[test]
fn a_write_that_is_still_under_way_does_not_reach_the_next_owner() {
    a_secret_is_not_read(&[], Harshness::ALL);
    a_secret_is_not_read(&[direct(0x8000, 2, ALL)], Harshness::ALL);
}

/// The page of an owner that keeps its devices blocked, and then moves them.
#[test]
fn what_is_written_while_a_device_is_parked_is_not_there_when_it_comes_back() {
    with(&config(Background::Scratch, &[direct(0x8000, 2, ALL)]), |vm| {
        let context = vm.context();
        for _ in 0..2 {
            let _ = vm.bed.dma_write(DEVICE, 5 << 12, &SECRET);
            assert_eq!(vm.attach(DEVICE, context), 0);
            assert_eq!(vm.attach(DEVICE, ContextId::DEFAULT), 0);
            assert!(read(vm, DEVICE, 5).is_none_or(|seen| seen == [0; 4]));
        }
        end(vm);
    });
}

#[test]
fn without_quarantine_a_device_that_nobody_owns_is_blocked() {
    let mut config = config(Background::Fault, &[]);
    config.quarantine = None;
    with(&config, |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1));
        assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
        assert_eq!(vm.bed.board().device_entries(DEVICE), [DeviceEntry::Blocked]);
        assert_eq!(finds(vm, DEVICE, 10), None);
        assert_eq!(vm.bed.assign(OTHER, DEVICE), Ok(()));
        end(vm);
    });
}

/// INV-31 from the start: before a device is in quarantine it is blocked, and then it is in it.
#[test]
fn a_device_at_boot_goes_to_quarantine_once_and_not_from_under_its_owner() {
    let range = direct(0x8000, 2, ALL);
    let started = try_run(&config(Background::Fault, &[range]), |bed| {
        let vm = Vm::new(bed, GUEST, 0);
        assert_eq!(bed.board().device_entries(DEVICE), [DeviceEntry::Blocked]);
        assert_eq!(bed.quarantine(DEVICE), Ok(()));
        check(&vm, DEVICE, &range);
        let there = bed.board().device_entries(DEVICE);
        assert_eq!(bed.quarantine(DEVICE), Ok(()));
        assert_eq!(bed.board().device_entries(DEVICE), there);
        assert_eq!(bed.quarantine(PciDevice { seg: 0, bus: 9, devfn: 0 }), Err(Errno::ENODEV));
        assert_eq!(bed.assign(GUEST, DEVICE), Ok(()));
        let context = vm.attached_context();
        let owned = bed.board().device_entries(DEVICE);
        assert_eq!(bed.quarantine(DEVICE), Err(Errno::EBUSY));
        assert_eq!(bed.board().device_entries(DEVICE), owned);
        assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
        assert!(vm.lands_in(DEVICE, 10, 1));
        // One that never was in quarantine.
        assert_eq!(bed.assign(GUEST, SECOND), Ok(()));
        assert_eq!(bed.unassign(GUEST, 0, SECOND), Ok(()));
        end(&vm);
    });
    assert!(started.is_ok());
}

/// Nothing half built stays, and the next try succeeds.
#[test]
fn quarantine_that_cannot_be_paid_for_leaves_nothing_and_can_be_tried_again() {
    for background in [Background::Fault, Background::Scratch] {
        let range = direct(0x8ffe, 0x404, ALL);
        let config = config(background, &[range]);
        let tried = |n: u64| {
            let started = try_run(&config, |bed| {
                let vm = Vm::new(bed, GUEST, 0);
                bed.schedule().set(Step::Alloc, When::Nth(n));
                let first = if n.is_multiple_of(2) {
                    bed.quarantine(DEVICE)
                } else {
                    bed.assign(GUEST, DEVICE)
                };
                let calls = bed.schedule().calls(Step::Alloc);
                bed.schedule().clear();
                if first.is_err() {
                    assert_eq!(first, Err(Errno::ENOMEM));
                    let live = bed.counters();
                    assert_eq!((live.table_frames_live, live.scratch_frames_live), (0, 0), "{n}");
                    assert_eq!(bed.board().device_entries(DEVICE), [DeviceEntry::Blocked]);
                    assert_eq!(bed.assign(GUEST, DEVICE), Ok(()));
                }
                check(&vm, DEVICE, &range);
                end(&vm);
                (first.is_err(), calls)
            });
            started.unwrap()
        };
        let (_, calls) = tried(1 << 40);
        assert!(calls > 3);
        for n in 1..=calls {
            assert!(tried(n).0, "{n}");
        }
    }
}

/// Taking a device back needs no memory, no tag that is not there, and cannot give way.
#[test]
fn a_device_is_taken_back_when_there_is_nothing_left_of_anything() {
    for background in [Background::Fault, Background::Scratch] {
        let range = direct(0x8000, 2, ALL);
        let mut config = config(background, &[range]);
        config.domains[0].opt_ins = OptIns::all();
        config.units[0].tags = 5;
        with(&config, |vm| {
            let context = vm.attached_context();
            assert_eq!(vm.map(context, 10, 1, 1, RW), (0, 1));
            for step in [Step::Alloc, Step::Reserve, Step::Acquire, Step::Policy] {
                vm.bed.schedule().set(step, When::From(1));
            }
            vm.bed.schedule().set(Step::Yield, When::Every(1));
            assert_eq!(vm.bed.unassign(GUEST, 0, DEVICE), Ok(()));
            check(vm, DEVICE, &range);
            assert!(!vm.reads(DEVICE, 10));
            vm.bed.schedule().clear();
            end(vm);
        });
    }
}
