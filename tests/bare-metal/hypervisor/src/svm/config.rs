//! Configuration space as a guest sees it: its own functions, and nothing that it writes reaches them.
//!
//! Where the regions of a device lie, whether it may send requests, where its interrupts go: whoever sets
//! these can reach beyond what the tables of a unit allow. So the guest moves regions and sets the command
//! register in a copy, and the rest of what it writes is dropped. Sources: PCI Local Bus 3.0, sections 3.2.2.3.2
//! (the two ports), 6.2.5.1 (regions) and 6.8.2 (MSI-X).

use pviommu_hypervisor::abi::PciDevice;

use crate::machine::{memory::PAGE, pci};

/// Most functions that a guest has here.
const FUNCTIONS: usize = 8;
const REGIONS: usize = 6;

const COMMAND: u16 = 0x04;
const FIRST_REGION: u16 = 0x10;
const ROM: u16 = 0x30;

/// The port that says what is meant, and the one that reads or writes it.
pub const ADDRESS_PORT: u16 = 0xcf8;
pub const DATA_PORT: u16 = 0xcfc;

/// A register of a region, or of half of one.
#[derive(Clone, Copy, Debug, Default)]
struct Region {
    /// Which bits can be set: those below are the size.
    mask: u32,
    /// What kind it is.
    kind: u32,
    /// What firmware set: the guest finds it there, whatever it writes.
    machine: u32,
    /// What the guest reads.
    guest: u32,
    is_upper_half: bool,
}

/// Registers of a device, in whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pages {
    /// The first page.
    pub first: u64,
    /// How many there are.
    pub pages: u64,
    /// The guest must not write there: the page says where interrupts go.
    pub read_only: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    function: PciDevice,
    command: u32,
    regions: [Region; REGIONS],
}

/// Configuration space of one guest.
#[derive(Debug)]
pub struct Config {
    address: u32,
    shown: [Option<Shown>; FUNCTIONS],
}

impl Config {
    /// Shows `functions`, which nobody uses at the moment, and lets them answer.
    pub fn new(functions: impl Iterator<Item = PciDevice>) -> Self {
        let mut shown = [None; FUNCTIONS];
        for (place, function) in shown.iter_mut().zip(functions) {
            *place = Some(Shown::new(function));
        }
        Self { address: 0, shown }
    }

    /// What the guest reads or writes at one of the two ports. What is read; ones at any other port.
    pub fn port(&mut self, port: u16, write: Option<u32>) -> u32 {
        match (port, write) {
            (ADDRESS_PORT, Some(value)) => self.address = value,
            (ADDRESS_PORT, None) => return self.address,
            (DATA_PORT, _) if self.address >> 31 == 1 => return self.data(write),
            _ => {}
        }
        u32::MAX
    }

    fn data(&mut self, write: Option<u32>) -> u32 {
        let (bus, devfn) = ((self.address >> 16) as u8, (self.address >> 8) as u8);
        let function = PciDevice { seg: 0, bus, devfn };
        let offset = (self.address & 0xfc) as u16;
        let mut shown = self.shown.iter_mut().flatten();
        let Some(shown) = shown.find(|shown| shown.function == function) else { return u32::MAX };
        match write {
            Some(value) => shown.write(offset, value),
            None => return shown.read(offset),
        }
        0
    }

    /// Where the registers of all functions are, for the nested tables.
    pub fn pages(&self) -> impl Iterator<Item = Pages> {
        self.shown.iter().flatten().flat_map(Shown::pages)
    }
}

impl Shown {
    fn new(function: PciDevice) -> Self {
        // While it does not answer, a region can be anywhere.
        pci::command(function, pci::MEMORY, false);
        let mut regions = [Region::default(); REGIONS];
        let mut is_upper_half = false;
        for (offset, region) in (FIRST_REGION..).step_by(4).zip(&mut regions) {
            let machine = pci::read(function, offset);
            pci::write(function, offset, u32::MAX);
            let size = pci::read(function, offset);
            pci::write(function, offset, machine);
            let kind = if is_upper_half { 0 } else { machine & 0xf };
            // Ports are not shown.
            if kind & 1 == 0 {
                let mask = if is_upper_half { size } else { size & !0xf };
                *region = Region { mask, kind, machine, guest: machine, is_upper_half };
            }
            is_upper_half = !is_upper_half && kind & 0b111 == 0b100;
        }
        pci::command(function, pci::MEMORY, true);
        Self { function, command: pci::MEMORY, regions }
    }

    fn region_at(&mut self, offset: u16) -> Option<&mut Region> {
        let index = offset.checked_sub(FIRST_REGION)? / 4;
        self.regions.get_mut(usize::from(index))
    }

    fn read(&mut self, offset: u16) -> u32 {
        match offset {
            // The status is the machine's.
            COMMAND => pci::read(self.function, offset) & 0xffff_0000 | self.command,
            ROM => 0,
            _ => match self.region_at(offset) {
                Some(region) => region.guest,
                None => pci::read(self.function, offset),
            },
        }
    }

    fn write(&mut self, offset: u16, value: u32) {
        if offset == COMMAND {
            self.command = value & (pci::MEMORY | pci::BUS_MASTER);
        } else if let Some(region) = self.region_at(offset) {
            region.guest = value & region.mask | region.kind;
        }
    }

    /// The address and the size of a region, by the number of its first half.
    fn extent(&self, index: usize) -> Option<(u64, u64)> {
        let low = self.regions.get(index).filter(|low| !low.is_upper_half && low.mask != 0)?;
        let high = self.regions.get(index + 1).filter(|high| high.is_upper_half);
        let (high, high_mask) = high.map_or((0, u32::MAX), |high| (high.machine, high.mask));
        let size = (u64::from(high_mask) << 32 | u64::from(low.mask)).wrapping_neg();
        Some((u64::from(high) << 32 | u64::from(low.machine & !0xf), size))
    }

    /// Whole pages, and each by itself: a smaller region shares its page with who knows what.
    fn pages(&self) -> impl Iterator<Item = Pages> {
        let table = self.interrupt_table();
        let extents = (0..REGIONS).filter_map(|index| self.extent(index));
        extents.filter(|(start, _)| *start != 0).flat_map(move |(start, size)| {
            let page = PAGE as u64;
            let end = (start + size) / page;
            let start = start.div_ceil(page);
            let (from, to) = table.map_or((end, end), |(address, size)| {
                let first = (address / page).clamp(start, end);
                (first, (address + size).div_ceil(page).clamp(first, end))
            });
            [(start, from, false), (from, to, true), (to, end, false)].into_iter().filter_map(
                |(first, end, read_only)| {
                    let pages = end.checked_sub(first).filter(|pages| *pages > 0)?;
                    Some(Pages { first, pages, read_only })
                },
            )
        })
    }

    /// The address and the size of the table of MSI-X.
    fn interrupt_table(&self) -> Option<(u64, u64)> {
        const MSI_X: u32 = 0x11;
        let read = |offset: u16| pci::read(self.function, offset);
        let mut at = (read(0x34) & 0xfc) as u16;
        // A list is not longer than there is room.
        for _ in 0..48 {
            let header = read(at);
            if at < 0x40 {
                return None;
            }
            if header & 0xff == MSI_X {
                let place = read(at + 4);
                let entries = u64::from(header >> 16 & 0x7ff) + 1;
                let (start, _) = self.extent((place & 7) as usize)?;
                return Some((start + u64::from(place & !7), entries * 16));
            }
            at = (header >> 8 & 0xfc) as u16;
        }
        None
    }
}
