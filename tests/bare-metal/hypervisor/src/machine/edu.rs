//! QEMU's `edu` device: it copies between memory and a buffer of its own when it is told to.
//!
//! Between the command and the copy it lets 100 ms pass; the address is translated at the end of them.
//! Source: QEMU 7.2, `docs/specs/edu.txt`.

use pviommu_hypervisor::{
    abi::PciDevice,
    platform::{Mmio, RegisterBlock},
};

use super::{clock, mmio, pci};

/// Vendor and device.
const ID: u32 = 0x11e8_1234;
/// Where the device itself has its buffer.
const BUFFER: u64 = 0x4_0000;
/// The most it copies at once: a byte less than its buffer has, because it compares with care.
pub const MOST: usize = 4095;
/// Far longer than the device takes.
const PATIENCE_US: u64 = 3_000_000;

/// Registers.
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;

/// Which way it copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It reads memory.
    FromMemory = 1,
    /// It writes memory.
    ToMemory = 3,
}

/// The device did not end a copy in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuck;

/// One such device.
#[derive(Debug)]
pub struct Edu {
    /// Its number.
    pub function: PciDevice,
    /// Where its registers are.
    pub registers: u64,
    block: Mmio,
}

impl Edu {
    /// The device at `function`, if it is one. Its registers answer from here on; its requests are let out by
    /// whoever gives it away.
    #[must_use]
    pub fn find(function: PciDevice) -> Option<Self> {
        let registers = Some(function).filter(|it| pci::read(*it, 0) == ID)?;
        let registers = pci::region(registers, 0)?;
        pci::command(function, pci::MEMORY, true);
        Some(Self { function, registers, block: mmio(registers, 1 << 20)? })
    }

    /// Begins to copy `bytes` bytes at `address` of the bus, from or to the begin of the buffer.
    pub fn start(&self, direction: Direction, address: u64, bytes: usize) {
        assert!((1..=MOST).contains(&bytes), "the device would end the machine");
        let (source, destination) = match direction {
            Direction::FromMemory => (address, BUFFER),
            Direction::ToMemory => (BUFFER, address),
        };
        self.block.write64(SOURCE, source);
        self.block.write64(DESTINATION, destination);
        self.block.write64(COUNT, bytes as u64);
        self.block.write64(COMMAND, direction as u64);
    }

    /// True while it copies, or is about to.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.block.read64(COMMAND) & 1 != 0
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn finish(&self) -> Result<(), Stuck> {
        if clock::wait(PATIENCE_US, || !self.is_busy()) { Ok(()) } else { Err(Stuck) }
    }

    /// Has it copy, and waits until it is done.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn copy(&self, direction: Direction, address: u64, bytes: usize) -> Result<(), Stuck> {
        self.start(direction, address, bytes);
        self.finish()
    }
}
