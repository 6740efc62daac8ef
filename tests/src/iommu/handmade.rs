//! Page tables written entry by entry, to test units without the service.

use std::sync::atomic::Ordering;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::Mfn,
    platform::{Pool, TableRoot},
};

pub use super::walker::index;
use crate::machine::memory::Memory;

/// Read and write: the low bits of an ordinary entry.
pub const RW: u64 = 3;

/// The bit that makes an entry of level 2 or 3 a leaf.
pub const LARGE: u64 = 1 << 7;

/// The domain that hand-made tables are charged to.
const OWNER: DomId = DomId(0x7ff0);

/// A page table in the format of VT-d's second stage.
#[derive(Clone, Copy, Debug)]
pub struct HandMade<'m> {
    memory: &'m Memory,
    root: TableRoot,
}

impl<'m> HandMade<'m> {
    /// An empty table of `levels` levels.
    ///
    /// # Panics
    /// If there is no table frame left.
    #[must_use]
    pub fn new(memory: &'m Memory, levels: u8) -> Self {
        Self { memory, root: TableRoot { frame: Self::frame(memory), levels } }
    }

    fn frame(memory: &Memory) -> Mfn {
        memory.tables.alloc(OWNER, Pool::Open, &memory.violations).expect("a table frame")
    }

    /// Its root.
    #[must_use]
    pub const fn root(&self) -> TableRoot {
        self.root
    }

    /// Writes the entry for `bfn` at `level`, and read-write entries down to it where there are
    /// none.
    pub fn set(&self, bfn: u64, level: u8, entry: u64) {
        let table = self.table(bfn, level);
        self.write(table, index(bfn, level), entry);
    }

    /// Maps the page of `bfn` at `level` to the frame `frame`, for reads and writes.
    pub fn map(&self, bfn: u64, level: u8, frame: Mfn) {
        let large = if level > 1 { LARGE } else { 0 };
        self.set(bfn, level, frame.0 << 12 | large | RW);
    }

    /// The table of `level` on the way to `bfn`; made if there is none.
    #[must_use]
    pub fn table(&self, bfn: u64, level: u8) -> Mfn {
        let mut table = self.root.frame;
        for above in (level + 1..=self.root.levels).rev() {
            let at = index(bfn, above);
            let entry = self.memory.tables.entry(table, at, true).expect("a table");
            table = if entry & RW == 0 {
                let child = Self::frame(self.memory);
                self.write(table, at, child.0 << 12 | RW);
                child
            } else {
                Mfn(entry >> 12 & 0xff_ffff_ffff)
            };
        }
        table
    }

    /// Frees a table, whoever still names it.
    pub fn free(&self, table: Mfn) {
        self.memory.tables.free(OWNER, table, Pool::Open, &self.memory.violations);
    }

    fn write(&self, table: Mfn, index: usize, entry: u64) {
        self.memory.tables.words(table, &self.memory.violations)[index]
            .store(entry, Ordering::Release);
    }
}
