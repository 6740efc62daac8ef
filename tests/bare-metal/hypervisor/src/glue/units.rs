//! The units are brought up: each is lent registers and memory, and from then on refuses every device.
#![expect(unsafe_code, reason = "who lends memory to a unit vouches for it")]

use pviommu_hypervisor::{
    addr::{Mfn, MfnRange, PAGE_SHIFT},
    platform::{Mmio, UnitMemory},
    unit::{
        acpi::{Dmar, Drhd, Ivhd, Ivrs},
        amdvi::{self, AmdVi},
        driver::Driver,
        vtd::{self, Vtd, VtdMemory},
    },
};

use super::{firmware::Firmware, list};
use crate::machine::{
    clock::Clock,
    frames::FREE,
    memory::{PAGE, words},
    mmio, pci,
};

/// The longest that a unit is waited for: it is as good as dead then. Emulated ones are slow if the machine
/// that emulates them is busy.
const TIMEOUT_US: u64 = 1_000_000;
/// Buses that can have devices behind a unit, each with a table of its own (VT-d).
const BUSES: usize = 32;

/// What a driver is given of a unit, and where its registers are.
type Unit = (&'static dyn Driver, MfnRange);

/// Brings up all units of `firmware`, for calls from `cpus` processors: the drivers, in the order of firmware's
/// table, and the frames with registers, where no device may reach.
///
/// # Panics
/// If one cannot be: what is behind it would do DMA as it likes.
#[must_use]
pub fn bring_up(firmware: &Firmware, cpus: usize) -> &'static [Unit] {
    match firmware {
        Firmware::Dmar(dmar) => {
            let drhds = list(|| dmar.units());
            FREE.place(drhds.len(), |index| vtd(dmar, &drhds[index].1, cpus))
        }
        Firmware::Ivrs(ivrs) => {
            let ivhds = list(|| ivrs.units());
            FREE.place(ivhds.len(), |index| amd(ivrs, &ivhds[index].1, cpus))
        }
    }
}

fn vtd(dmar: &Dmar<'_>, drhd: &Drhd<'_>, cpus: usize) -> Unit {
    let memory =
        VtdMemory { root: lend(1), contexts: lend(BUSES), queue: lend(1), status: lend(1) };
    let settings = vtd::Settings {
        segment: drhd.segment,
        cpus,
        quirks: vtd::Quirks::empty(),
        timeout_us: TIMEOUT_US,
        host_address_bits: dmar.host_address_width(),
    };
    let (block, frames) = registers(drhd.registers, drhd.registers_size as usize);
    let unit = Vtd::bring_up(block, &Clock, memory, settings).unwrap_or_else(|why| panic!("{why}"));
    if unit.capabilities().remaps_interrupts() {
        // A table without an entry: nobody here uses interrupts, so none passes.
        let table = vtd::IrqTable { frame: lend(1).frame(), entries: 256, x2apic: false };
        unit.set_irq_table(table).unwrap_or_else(|why| panic!("{why}"));
    }
    log::info!("VT-d unit at {:#x}: {:x?}", drhd.registers, unit.facts());
    (FREE.place_one(unit), frames)
}

fn amd(ivrs: &Ivrs<'_>, ivhd: &Ivhd<'_>, cpus: usize) -> Unit {
    const REGISTERS: usize = 16 << 10;
    // Firmware may have left that to whoever drives it: bit 0 of the low base address.
    pci::change(ivhd.function, ivhd.capability + 4, 0, 1);
    let (block, frames) = registers(ivhd.registers, REGISTERS);
    let resources = amdvi::Resources {
        registers: FREE.place_one(block),
        host: &Clock,
        device_table: lend(512), // all ids of a segment
        commands: lend(1),
        events: lend(1),
        status: lend(1),
    };
    let settings = amdvi::Settings {
        segment: ivhd.function.seg,
        cpus,
        header: pci::read(ivhd.function, ivhd.capability),
        info: ivrs.info(),
        flags: ivhd.flags,
        extended_features: ivhd.extended_features.map(|[first, _]| first),
        quirks: amdvi::Quirks::TAGS_256, // see there: of the emulated unit
        interrupt_entries: amdvi::IrqEntries::Short,
        interrupts: amdvi::Interrupts::Refuse, // nobody here uses them
        timeout_us: TIMEOUT_US,
    };
    let unit = AmdVi::bring_up(resources, &settings, |id| ivhd.settings_of(id));
    let unit = unit.unwrap_or_else(|why| panic!("unit at {:#x}: {why:?}", ivhd.registers));
    log::info!("AMD-Vi unit at {:#x}: {:x?}", ivhd.registers, unit.facts());
    (FREE.place_one(unit), frames)
}

fn registers(address: u64, bytes: usize) -> (Mmio, MfnRange) {
    let block = mmio(address, bytes).expect("registers are where nothing is cached");
    let frames = MfnRange::of_pages(Mfn(address >> PAGE_SHIFT), (bytes / PAGE) as u64);
    (block, frames.expect("there are registers"))
}

/// Memory for a unit, for ever: it may write there until the machine is switched off.
fn lend(pages: usize) -> UnitMemory<'static> {
    let frame = FREE.alloc(pages, 1).expect("the machine has too little memory");
    // SAFETY: 1. memory is mapped one to one. 2. The frames were just given out, and never come back.
    // 3. The processors have the instruction, as all with units like these.
    let memory = unsafe { UnitMemory::new(words(frame, pages), frame) };
    memory.expect("frames are whole pages")
}
