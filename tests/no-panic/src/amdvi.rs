//! The driver of AMD-Vi, and a unit that answers anything.
#![expect(unsafe_code, reason = "memory is lent to it")]

use core::sync::atomic::AtomicU64;

use pviommu_hypervisor::{
    abi::Bfn,
    addr::{BfnRange, Mfn},
    platform::{Host, Invalidation, RegisterBlock, SourceId, TableRoot, Tag, UnitMemory},
    unit::{
        Driver,
        acpi::{DeviceSettings, IvInfo, IvhdFlags},
        amdvi::{AmdVi, Capability, Interrupts, IrqEntries, IrqTable, Quirks, Resources, Settings},
    },
};

use crate::{
    entries::{any, device},
    opaque::{maybe, number, show, yes},
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

fn resources(words: &[AtomicU64]) -> Option<Resources<'_>> {
    Some(Resources {
        registers: &Unknown,
        host: &Unknown,
        device_table: memory(words)?,
        commands: memory(words)?,
        events: memory(words)?,
        status: memory(words)?,
    })
}

fn settings() -> Settings {
    let interrupt_entries = if yes(0, 0) { IrqEntries::Long } else { IrqEntries::X2apic };
    Settings {
        segment: any() as u16,
        cpus: any() as usize,
        header: any() as u32,
        info: IvInfo(any() as u32),
        flags: IvhdFlags::from_bits_truncate(any() as u8),
        extended_features: maybe(0, 0),
        quirks: Quirks::from_bits_truncate(any() as u32),
        interrupt_entries,
        interrupts: interrupts(),
        timeout_us: any(),
    }
}

pub(crate) fn interrupts() -> Interrupts {
    let table = IrqTable { frame: Mfn(any()), entries_log2: any() as u8 };
    if yes(0, 0) { Interrupts::Refuse } else { Interrupts::Remap(table) }
}

#[inline(never)]
pub(crate) fn drive(words: &[AtomicU64]) -> Option<()> {
    let wanted = |id: u16| {
        let data = number(2, id.into());
        yes(0, 0).then_some(DeviceSettings { data: data as u8, extended: data as u32 })
    };
    let unit = match AmdVi::bring_up(resources(words)?, &settings(), wanted) {
        Ok(unit) => unit,
        Err(error) => {
            show(&error);
            return None;
        }
    };
    crate::rest::of_memory(&memory(words)?);
    let can = unit.capability();
    show(&(can.is_coherent(), can.invalidates_all(), can.remaps(IrqEntries::X2apic)));
    show(&Capability::has_extended_features(any() as u32));
    let (source, tag) = (SourceId(device()), Tag(any() as u16));
    let root = TableRoot { frame: Mfn(any()), levels: any() as u8 };
    let range = BfnRange::new(Bfn(any()), Bfn(any()))?;
    show(&(unit.facts(), unit.attach(source, root, tag), unit.block(source)));
    show(&(unit.invalidate(tag, Invalidation::Tables(range)), unit.sync_map(tag, range)));
    unit.stop(source);
    unit.restart(source);
    while let Some(event) = unit.next_event() {
        show(&event);
    }
    show(&(unit.set_interrupts(source, interrupts()), unit.forget_interrupts(source)));
    show(&(unit.isolates_interrupts(), unit.isolates_interrupts_of(source)));
    show(&(unit.suspend(), unit.resume()));
    unit.crash_shutdown();
    Some(())
}
