//! Configuration space, and which functions answer there.
//!
//! The first 256 bytes are reached by ports (PCI Local Bus 3.0, section 3.2.2.3.2), all 4096 by memory where
//! firmware says so (PCI Firmware Specification 3.3, section 4.1.2, table MCFG).

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{Mmio, RegisterBlock},
};
use spin::{Mutex, Once};

use super::{mmio, port};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// Bits of the command register.
pub const MEMORY: u32 = 1 << 1;
/// May send requests.
pub const BUS_MASTER: u32 = 1 << 2;

/// The address is written before the data is read, and nobody comes in between.
static PORTS: Mutex<()> = Mutex::new(());
/// Configuration space as memory, from bus 0 of segment 0 on.
static WINDOW: Once<Mmio> = Once::new();

/// From here on extended configuration space is reached, which begins at `base`.
pub fn use_window(base: u64) {
    if let Some(window) = mmio(base, 1 << 28) {
        WINDOW.call_once(|| window);
    }
}

fn window(function: PciDevice, offset: u16) -> Option<(&'static Mmio, usize)> {
    let at = usize::from(function.bus) << 20 | usize::from(function.devfn) << 12;
    WINDOW.get().map(|window| (window, at | usize::from(offset & 0xffc)))
}

fn select(function: PciDevice, offset: u16) {
    let at = u32::from(function.bus) << 16 | u32::from(function.devfn) << 8;
    port::write32(ADDRESS, 1 << 31 | at | u32::from(offset & 0xfc));
}

/// Reads 32 bits; ones where nobody answers.
#[must_use]
pub fn read(function: PciDevice, offset: u16) -> u32 {
    if let Some((window, at)) = window(function, offset) {
        return window.read32(at);
    }
    if offset >= 256 {
        return u32::MAX;
    }
    let _ports = PORTS.lock();
    select(function, offset);
    port::read32(DATA)
}

/// Writes 32 bits.
pub fn write(function: PciDevice, offset: u16, value: u32) {
    if let Some((window, at)) = window(function, offset) {
        window.write32(at, value);
    } else if offset < 256 {
        let _ports = PORTS.lock();
        select(function, offset);
        port::write32(DATA, value);
    }
}

/// Sets or clears bits of the command register.
pub fn command(function: PciDevice, bits: u32, on: bool) {
    let old = read(function, 4) & 0xffff; // ones written to the status would clear it
    write(function, 4, if on { old | bits } else { old & !bits });
}

/// Clears and sets bits of a register of 16 or 32 bits, whose neighbours are not changed by being written back.
pub fn change(function: PciDevice, offset: u16, clear: u32, set: u32) {
    let shift = u32::from(offset & 2) * 8;
    let old = read(function, offset);
    write(function, offset, old & !(clear << shift) | set << shift);
}

/// The configuration space of a function.
#[must_use]
pub fn space(function: PciDevice) -> [u8; 4096] {
    let mut bytes = [0xff; 4096];
    for (offset, word) in (0u16..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
        word.copy_from_slice(&read(function, offset).to_le_bytes());
    }
    bytes
}

/// The memory region at `index`; `None` if it is none, or nothing is set there.
#[must_use]
pub fn region(function: PciDevice, index: u16) -> Option<u64> {
    let low = read(function, 0x10 + 4 * index);
    let high = if low & 0b110 == 0b100 { read(function, 0x14 + 4 * index) } else { 0 };
    let address = u64::from(high) << 32 | u64::from(low & !0xf);
    (low & 1 == 0 && address != 0).then_some(address)
}

/// The functions of the machine, in order: bus 0, and what bridges that firmware set up lead to.
pub fn functions() -> impl Iterator<Item = PciDevice> {
    let mut last_bus = 0;
    let mut next = 0u32;
    core::iter::from_fn(move || {
        loop {
            let (bus, devfn) = ((next >> 8) as u16, next as u8);
            if bus > last_bus {
                return None;
            }
            let function = PciDevice { seg: 0, bus: bus as u8, devfn };
            let kind = read(function, 0xc) >> 16 & 0xff;
            let answers = read(function, 0) as u16 != u16::MAX;
            let alone = devfn & 7 == 0 && (!answers || kind & 0x80 == 0);
            next += if alone { 8 } else { 1 };
            if answers {
                if kind & 0x7f == 1 {
                    last_bus = last_bus.max((read(function, 0x18) >> 16 & 0xff) as u16);
                }
                return Some(function);
            }
        }
    })
}
