//! Registers of a unit, and what else a driver needs of the machine.
#![expect(unsafe_code, reason = "registers are memory that the machine gives a meaning")]

use core::{fmt, ptr::NonNull};

use crate::sync::AtomicU64;

/// The registers of one unit, by their offset in bytes.
///
/// A register that is not there reads as all ones, and what is written to it is lost, as on a bus
/// where nobody answers. Each access is one access of the bus, in program order.
pub trait RegisterBlock: Sync {
    /// Reads a register of 32 bits; `offset` is a multiple of 4.
    fn read32(&self, offset: usize) -> u32;
    /// Writes a register of 32 bits; `offset` is a multiple of 4.
    fn write32(&self, offset: usize, value: u32);
    /// Reads a register of 64 bits; `offset` is a multiple of 8.
    fn read64(&self, offset: usize) -> u64;
    /// Writes a register of 64 bits; `offset` is a multiple of 8.
    fn write64(&self, offset: usize, value: u64);
}

/// What a driver needs of the machine besides registers and memory.
pub trait Host: Sync {
    /// Microseconds of a clock that does not go back. Every wait for a unit is measured by it.
    fn now_us(&self) -> u64;

    /// Writes `words` back from the CPU's caches to memory, and orders that before every later store
    /// (CLFLUSH or CLWB of each line, and SFENCE): for units whose table walks do not snoop.
    fn write_back(&self, words: &[AtomicU64]);
}

/// Registers in memory of the machine that is mapped uncached.
pub struct Mmio {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: registers belong to the machine, not to a thread; accesses are single and volatile, and
// `new` promises that they may come from every CPU.
unsafe impl Send for Mmio {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mmio {}

impl Mmio {
    /// The registers at `base`, `length` bytes.
    ///
    /// # Safety
    ///
    /// 1. For as long as the value lives `length` bytes from `base` on are mapped, uncached, on every
    ///    CPU that uses it, and are registers of one unit.
    /// 2. `base` is a multiple of 8, and nobody else drives that unit.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    /// Where a register of this type is; `None` if it is not all in the block.
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>())?;
        if end > self.length || !offset.is_multiple_of(size_of::<T>()) {
            return None;
        }
        // SAFETY: the offset is within the block, which is one object (promise 1 of `new`).
        let register = unsafe { self.base.add(offset) };
        Some(register.cast())
    }

    fn read<T>(&self, offset: usize) -> Option<T> {
        let register = self.at::<T>(offset)?;
        // SAFETY: mapped (promise 1 of `new`) and aligned, because base and offset are; registers hold
        // any value of the integers this is called for.
        Some(unsafe { register.read_volatile() })
    }

    fn write<T>(&self, offset: usize, value: T) {
        if let Some(register) = self.at::<T>(offset) {
            // SAFETY: mapped (promise 1 of `new`) and aligned, because base and offset are.
            unsafe { register.write_volatile(value) }
        }
    }
}

impl RegisterBlock for Mmio {
    fn read32(&self, offset: usize) -> u32 {
        self.read(offset).unwrap_or(u32::MAX)
    }

    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, value);
    }

    fn read64(&self, offset: usize) -> u64 {
        self.read(offset).unwrap_or(u64::MAX)
    }

    fn write64(&self, offset: usize, value: u64) {
        self.write(offset, value);
    }
}

impl fmt::Debug for Mmio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mmio").field("base", &self.base).field("length", &self.length).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_block_is_not_there() {
        let mut memory = [0x1111_2222_3333_4444u64, 5];
        let base = NonNull::from(&mut memory).cast();
        // SAFETY: the array lives longer than the block, and is used by it alone.
        let block = unsafe { Mmio::new(base, 16) };
        block.write32(8, 7);
        block.write64(16, 1);
        block.write64(12, 1);
        let there = (block.read64(0), block.read32(4), block.read64(8));
        assert_eq!(there, (0x1111_2222_3333_4444, 0x1111_2222, 7));
        let nowhere = (block.read64(16), block.read32(16), block.read32(2));
        assert_eq!(nowhere, (u64::MAX, u32::MAX, u32::MAX));
    }
}
