//! The driver of VT-d, and a unit that answers anything.
#![expect(unsafe_code, reason = "memory is lent to it")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn},
    platform::{Host, Invalidation, RegisterBlock, SourceId, TableRoot, Tag, UnitMemory},
    unit::{
        Driver,
        vtd::{Capabilities, IrqTable, Quirks, Settings, Vtd, VtdMemory},
    },
};

use crate::{
    entries::{any, device},
    opaque::{number, show, yes},
};

struct Unknown;

impl RegisterBlock for Unknown {
    fn read32(&self, offset: usize) -> u32 {
        number(0, offset as u64) as u32
    }
    fn write32(&self, offset: usize, value: u32) {
        number(offset as u64, value.into());
    }
    fn read64(&self, offset: usize) -> u64 {
        number(1, offset as u64)
    }
    fn write64(&self, offset: usize, value: u64) {
        number(offset as u64, value);
    }
}

impl Host for Unknown {
    fn now_us(&self) -> u64 {
        any()
    }
    fn write_back(&self, words: &[AtomicU64]) {
        show(words);
    }
}

fn memory(words: &[AtomicU64]) -> Option<UnitMemory<'_>> {
    let words = words.get(any() as usize..any() as usize)?;
    // SAFETY: never run.
    unsafe { UnitMemory::new(words, Mfn(any())) }
}

fn lent(words: &[AtomicU64]) -> Option<VtdMemory<'_>> {
    Some(VtdMemory {
        root: memory(words)?,
        contexts: memory(words)?,
        queue: memory(words)?,
        status: memory(words)?,
    })
}

fn settings() -> Settings {
    Settings {
        segment: any() as u16,
        cpus: any() as usize,
        quirks: Quirks::from_bits_truncate(any() as u16),
        timeout_us: any(),
        host_address_bits: any() as u8,
    }
}

fn one() -> Invalidation {
    match BfnRange::new(Bfn(any()), Bfn(any())) {
        Some(range) if yes(0, 0) => Invalidation::Leaves(range),
        Some(range) => Invalidation::Tables(range),
        None => Invalidation::Everything,
    }
}

#[inline(never)]
pub(crate) fn drive(words: &[AtomicU64]) -> Option<()> {
    let read = Capabilities::read(&Unknown)?;
    show(&(read.words(), read.facts(Quirks::from_bits_truncate(any() as u16), any() as u8)));
    let unit = match Vtd::prepare(Unknown, &Unknown, lent(words)?, settings()) {
        Ok(unit) => unit,
        Err(error) => {
            show(&error);
            return None;
        }
    };
    let can = unit.capabilities();
    show(&(can.remaps_interrupts(), can.remaps_to_x2apic()));
    crate::rest::of_memory(&memory(words)?);
    let (source, tag) = (SourceId(device()), Tag(any() as u16));
    let root = TableRoot { frame: Mfn(any()), levels: any() as u8 };
    let range = BfnRange::new(Bfn(any()), Bfn(any()))?;
    let table = IrqTable { frame: Mfn(any()), entries: any() as u32, x2apic: yes(0, 0) };
    show(&(unit.attach(source, root, tag), unit.set_irq_table(table), unit.enable()));
    show(&(unit.facts(), unit.attach(source, root, tag), unit.block(source)));
    show(&(unit.invalidate(tag, one()), unit.sync_map(tag, range)));
    unit.stop(source);
    unit.restart(source);
    unit.set_interrupt_message(yes(0, 0).then_some((any(), any() as u32)));
    while let Some(event) = unit.next_event() {
        show(&event);
    }
    let entries = yes(0, 0).then_some((any() as u16, any() as u16));
    show(&(unit.set_irq_table(table), unit.invalidate_interrupts(entries)));
    show(&(unit.isolates_interrupts(), unit.suspend(), unit.resume()));
    unit.crash_shutdown();
    Some(())
}
