//! QEMU's `edu` device, as a guest that it was given to sees it.
//!
//! It copies between the bus and a buffer of its own, 100 ms after it was told to. Source: QEMU 7.2,
//! `docs/specs/edu.txt`.
#![expect(unsafe_code, reason = "registers are reached by their address")]

use core::ptr::NonNull;

use pviommu_abi::PciDevice;

use crate::{clock, pci};

/// Vendor and device.
const ID: u32 = 0x11e8_1234;
/// Where the device itself has its buffer.
const BUFFER: u64 = 0x4_0000;
/// The most it copies at once.
pub const MOST: usize = 4095;

const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;

/// One such device.
#[derive(Debug)]
pub struct Edu {
    /// Its number.
    pub device: PciDevice,
    registers: NonNull<u64>,
}

/// The device was not done in time.
#[derive(Debug)]
pub struct Stuck;

// SAFETY: registers can be used from any processor.
unsafe impl Send for Edu {}

impl Edu {
    /// The devices that this guest was given, ready to be used.
    pub fn all() -> impl Iterator<Item = Self> {
        pci::find(ID).filter_map(|device| {
            let registers = NonNull::new(pci::region(device, 0)? as *mut u64)?;
            pci::enable(device);
            Some(Self { device, registers })
        })
    }

    fn register(&self, offset: usize) -> NonNull<u64> {
        // SAFETY: its registers are 1 MiB, and mapped.
        unsafe { self.registers.byte_add(offset) }
    }

    fn set(&self, offset: usize, value: u64) {
        // SAFETY: a register of this device; what its DMA reaches is what the hypervisor mapped for it.
        unsafe { self.register(offset).write_volatile(value) };
    }

    fn start(&self, source: u64, destination: u64, bytes: usize, command: u64) {
        assert!((1..=MOST).contains(&bytes), "the device would end the machine");
        self.set(SOURCE, source);
        self.set(DESTINATION, destination);
        self.set(COUNT, bytes as u64);
        self.set(COMMAND, START | command);
    }

    /// Begins to copy from the bus into its buffer.
    pub fn start_read(&self, bus_address: u64, bytes: usize) {
        self.start(bus_address, BUFFER, bytes, 0);
    }

    /// Begins to copy its buffer to the bus.
    pub fn start_write(&self, bus_address: u64, bytes: usize) {
        self.start(BUFFER, bus_address, bytes, TO_MEMORY);
    }

    /// Whether it still copies.
    pub fn is_busy(&self) -> bool {
        // SAFETY: a register of this device, which reading does not change.
        unsafe { self.register(COMMAND).read_volatile() & START != 0 }
    }

    /// Waits until it is done.
    pub fn finish(&self) -> Result<(), Stuck> {
        if clock::wait(10 * clock::SECOND, || !self.is_busy()) { Ok(()) } else { Err(Stuck) }
    }

    /// Copies from the bus into its buffer.
    pub fn read(&self, bus_address: u64, bytes: usize) -> Result<(), Stuck> {
        self.start_read(bus_address, bytes);
        self.finish()
    }

    /// Copies its buffer to the bus.
    pub fn write(&self, bus_address: u64, bytes: usize) -> Result<(), Stuck> {
        self.start_write(bus_address, bytes);
        self.finish()
    }
}
