//! Registers of devices: with the access they may have, and taken away when they move.

use pviommu_abi::{BatchElement, BatchOp, Bfn, ContextId, DomId, ElementFlags, Errno, MapFlags};
use pviommu_hypervisor::addr::MfnRange;
use pviommu_testbed::machine::{Config, Reach, Step, When};

use super::kit::{BOTH, READ, WRITE, end, frame, gfns, run_one_of, three};
use crate::kit::{DEVICE, GUEST, RW, Vm, err, with};

const BAR: u64 = 0xf_0000;
/// The pages of it that may only be read (MSI-X).
const TABLE: u64 = BAR + 4;

fn config() -> Config {
    let mut config = three();
    config.domains[0].mmio = vec![gfns(BAR, 16)];
    config.domains[0].mmio_read_only = vec![gfns(TABLE, 2)];
    config
}

/// The whole BAR.
fn bar(vm: &Vm<'_>) -> MfnRange {
    MfnRange::of_pages(frame(vm, GUEST, BAR), 16).unwrap()
}

fn element(flags: ElementFlags, bfn: u64, page: u64, nr: u32) -> BatchElement {
    let op = BatchOp::MAP;
    BatchElement { op, flags, bfn: Bfn(bfn), page, nr, ..BatchElement::default() }
}

fn run(vm: &Vm<'_>, context: ContextId, element: BatchElement) -> (i64, u32) {
    run_one_of(vm, context, DomId::SELF, element)
}

/// INV-26.
#[test]
fn registers_that_may_only_be_read_are_mapped_so_whatever_is_asked() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x100, BAR, 16, RW), (0, 16));
        assert_eq!(run(vm, context, element(BOTH | ElementFlags::MMIO, 0x200, BAR, 16)), (0, 16));
        for base in [0x100, 0x200] {
            for i in 0..16 {
                let to_write = !(4..6).contains(&i);
                assert!(vm.reads(DEVICE, base + i));
                assert_eq!(vm.writes(DEVICE, base + i), to_write, "{i}");
            }
        }
        let written = vm.map(context, 0x300, TABLE, 1, MapFlags::WRITEABLE);
        assert_eq!(written, (err(Errno::EPERM), 0));
        assert_eq!(run(vm, context, element(WRITE, 0x300, TABLE - 1, 3)), (err(Errno::EPERM), 1));
        assert_eq!(vm.unmap(context, 0x300, 1), (0, 1));
        assert_eq!(run(vm, context, element(READ, 0x300, TABLE - 1, 4)), (0, 4));
        assert!((0..4).all(|i| !vm.writes(DEVICE, 0x300 + i)));
        assert_eq!(vm.bed.counters().references_live, 0, "registers are not held");
        end(vm);
    });
}

#[test]
fn registers_are_not_memory_and_memory_is_not_registers() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        let mmio = BOTH | ElementFlags::MMIO;
        assert_eq!(run(vm, context, element(mmio, 0x100, 3, 2)), (err(Errno::EPERM), 0));
        assert_eq!(vm.bed.counters().references_live, 0);
        assert_eq!(vm.map(context, 0x100, 3, 2, RW), (0, 2));
        assert_eq!(vm.map(context, 0x200, BAR, 16, RW), (0, 16));
        let (ram, registers) = (MfnRange::single(frame(vm, GUEST, 3)), bar(vm));
        assert_eq!(vm.bed.revoke_mmio(GUEST, ram), Ok(()));
        assert_eq!(vm.bed.retarget(GUEST, &[registers]), Ok(()));
        assert!(vm.lands_in(DEVICE, 0x100, 3), "it is memory");
        assert!((0..16).all(|i| vm.reads(DEVICE, 0x200 + i)), "they are registers");
        end(vm);
    });
}

/// Where they could be large leaves, too.
#[test]
fn two_mib_of_memory_are_not_mapped_as_registers() {
    let mut config = config();
    config.domains[0].contiguous = vec![gfns(0x20_0000, 1024)];
    config.domains[0].ram.push(gfns(0x20_0000, 1024));
    with(&config, |vm| {
        let context = vm.attached_context();
        let registers = element(BOTH | ElementFlags::MMIO, 0x400, 0x20_0000, 1024);
        assert_eq!(run(vm, context, registers), (err(Errno::EPERM), 0));
        assert!([0x400, 0x600, 0x7ff].iter().all(|bfn| vm.hits_background(DEVICE, *bfn)));
        assert_eq!(vm.bed.counters().references_live, 0);
        end(vm);
    });
}

/// Part of a BAR in several contexts, with a large leaf: it goes, and nothing else.
#[test]
fn registers_that_move_are_taken_from_every_context_before_they_do() {
    for every in [0, 1] {
        let mut config = config();
        config.domains[0].mmio.push(gfns(0x20_0000, 1024));
        with(&config, |vm| {
            let (context, other) = (vm.attached_context(), vm.context());
            assert_eq!(vm.map(context, 0x100, BAR, 16, RW), (0, 16));
            assert_eq!(vm.map(other, 0x500, BAR, 16, RW), (0, 16));
            assert_eq!(vm.map(context, 0x400, 0x20_0000, 1024, RW), (0, 1024));
            assert!((0x400..0x800).step_by(13).all(|bfn| vm.writes(DEVICE, bfn)));
            if every > 0 {
                vm.bed.schedule().set(Step::Yield, When::Every(every));
            }
            let first = frame(vm, GUEST, BAR + 2);
            let gone = MfnRange::of_pages(first, 3).unwrap();
            assert_eq!(vm.bed.revoke_mmio(GUEST, gone), Ok(()));
            let large = MfnRange::of_pages(frame(vm, GUEST, 0x20_0000 + 0x1f0), 0x20).unwrap();
            assert_eq!(vm.bed.revoke_mmio(GUEST, large), Ok(()));
            assert_eq!(vm.bed.revoke_mmio(GUEST, large), Ok(()), "there is nothing left");
            vm.bed.schedule().clear();
            for i in 0..16 {
                assert_eq!(vm.hits_background(DEVICE, 0x100 + i), (2..5).contains(&i), "{i}");
            }
            for i in 0..1024 {
                let gone = (0x1f0..0x210).contains(&i);
                assert_eq!(vm.hits_background(DEVICE, 0x400 + i), gone, "{i:#x}");
            }
            assert_eq!(vm.unmap(other, 0x500, 16), (err(Errno::ENOENT), 2));
            assert_eq!(vm.unmap(other, 0x505, 11), (0, 11));
            end(vm);
        });
    }
}

/// INV-03: a unit that has them cached does not go on with them.
#[test]
fn registers_are_flushed_before_a_revocation_returns_and_it_fails_if_that_does() {
    with(&config(), |vm| {
        let context = vm.attached_context();
        assert_eq!(vm.map(context, 0x100, BAR, 16, RW), (0, 16));
        let hit = vm.hits(DEVICE, 0x101, pviommu_testbed::iommu::Direction::Write);
        assert_eq!(hit, Some(Reach::Mmio));
        vm.bed.schedule().set(Step::Invalidate, When::Nth(1));
        assert_eq!(vm.bed.revoke_mmio(GUEST, bar(vm)), Err(Errno::EIO));
        vm.bed.schedule().clear();
        assert_eq!(vm.bed.revoke_mmio(GUEST, bar(vm)), Err(Errno::EIO), "and goes on to fail");
        assert_eq!(vm.bed.violations(), []);
    });
}
