//! Nested tables: what of the machine is behind each guest address (15.25).
//!
//! Four levels of 4 KiB pages, in the format of ordinary tables in which everything is the user's. Whatever
//! is not mapped ends the guest that touches it.

use core::sync::atomic::{AtomicU64, Ordering};

use pviommu_hypervisor::{
    abi::Gfn,
    addr::{Mfn, PAGE_SHIFT},
};

use crate::machine::{frames::FREE, memory};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
/// PWT and PCD.
const UNCACHED: u64 = 0b11 << 3;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LEVELS: u32 = 4;

/// How a guest may use a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Memory.
    Memory,
    /// Registers of a device.
    Registers,
    /// Registers that it must not write: those that say where interrupts go.
    RegistersReadOnly,
}

/// The nested tables of one guest. They go when this does; what they map is not theirs.
#[derive(Debug)]
pub struct Nested {
    root: Mfn,
}

impl Nested {
    /// Tables that map nothing; `None` without memory.
    pub fn new() -> Option<Self> {
        FREE.alloc(1, 1).map(|root| Self { root })
    }

    /// Where the root is.
    pub const fn root(&self) -> u64 {
        self.root.0 << PAGE_SHIFT
    }

    /// Maps a page, before a processor runs with it; false without memory for tables.
    pub fn map(&self, page: Gfn, frame: Mfn, how: Use) -> bool {
        let Some(entry) = self.entry(page) else { return false };
        let rights = match how {
            Use::Memory => WRITABLE,
            Use::Registers => WRITABLE | UNCACHED,
            Use::RegistersReadOnly => UNCACHED,
        };
        entry.store(frame.0 << PAGE_SHIFT | rights | USER | PRESENT, Ordering::Release);
        true
    }

    /// The entry of a page, with the tables that lead to it.
    fn entry(&self, page: Gfn) -> Option<&'static AtomicU64> {
        let mut table = self.root;
        for level in (1..LEVELS).rev() {
            let entry = entry_of(table, page, level);
            let old = entry.load(Ordering::Acquire);
            table = if old & PRESENT != 0 {
                Mfn((old & ADDRESS) >> PAGE_SHIFT)
            } else {
                let new = FREE.alloc(1, 1)?;
                let link = new.0 << PAGE_SHIFT | USER | WRITABLE | PRESENT;
                entry.store(link, Ordering::Release);
                new
            };
        }
        Some(entry_of(table, page, 0))
    }
}

fn entry_of(table: Mfn, page: Gfn, level: u32) -> &'static AtomicU64 {
    let index = page.0 >> (9 * level) & 511;
    &memory::words(table, 1)[index as usize]
}

impl Drop for Nested {
    fn drop(&mut self) {
        free(self.root, LEVELS - 1);
    }
}

/// Frees a table, and those below.
fn free(table: Mfn, level: u32) {
    if level > 0 {
        for entry in memory::words(table, 1) {
            let entry = entry.load(Ordering::Acquire);
            if entry & PRESENT != 0 {
                free(Mfn((entry & ADDRESS) >> PAGE_SHIFT), level - 1);
            }
        }
    }
    FREE.free(table, 1);
}
