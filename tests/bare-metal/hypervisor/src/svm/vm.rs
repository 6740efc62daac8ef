//! One guest's machine: its memory, and what it may do without being asked.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::addr::{Mfn, PAGE_SHIFT};

use super::nested::Nested;
use crate::machine::{frames::FREE, memory};

/// Frames of the bitmap of ports (15.10.1) and, after it, of that of registers (15.11).
const PORTS: usize = 3;
const REGISTERS: usize = 2;

/// What all virtual processors of a guest have in common.
#[derive(Debug)]
pub struct Vm {
    /// What is behind its addresses.
    pub nested: Nested,
    bitmaps: Mfn,
}

impl Vm {
    /// A machine with nothing in it, in which each access to a port or a model-specific register ends in an
    /// exit; `None` without memory.
    pub fn new() -> Option<Self> {
        let nested = Nested::new()?;
        let bitmaps = FREE.alloc(PORTS + REGISTERS, 1)?;
        for word in memory::words(bitmaps, PORTS + REGISTERS) {
            word.store(u64::MAX, Ordering::Relaxed);
        }
        Some(Self { nested, bitmaps })
    }

    /// Where the bitmap of ports is.
    pub(super) const fn port_map(&self) -> u64 {
        self.bitmaps.0 << PAGE_SHIFT
    }

    /// Where the bitmap of registers is.
    pub(super) const fn register_map(&self) -> u64 {
        (self.bitmaps.0 + PORTS as u64) << PAGE_SHIFT
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        FREE.free(self.bitmaps, PORTS + REGISTERS);
    }
}
