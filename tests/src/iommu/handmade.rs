//! Page tables written entry by entry, to test units without the service.

use std::sync::atomic::Ordering;

use pviommu_abi::DomId;
use pviommu_hypervisor::{
    addr::Mfn,
    format::FormatKind,
    platform::{Pool, TableRoot},
};

pub use super::walker::index;
use super::walker::{Rights, frame_of};
use crate::machine::memory::Memory;

/// Read and write: the low bits of an ordinary entry of VT-d.
pub const RW: u64 = 3;

/// The bit that makes an entry of level 2 or 3 a leaf, with VT-d.
pub const LARGE: u64 = 1 << 7;

/// PR of an entry of AMD.
pub const PRESENT: u64 = 1;

/// IR and IW of an entry of AMD.
pub const IR_IW: u64 = 3 << 61;

/// The domain that hand-made tables are charged to.
const OWNER: DomId = DomId(0x7ff0);

/// A page table.
#[derive(Clone, Copy, Debug)]
pub struct HandMade<'m> {
    memory: &'m Memory,
    format: FormatKind,
    root: TableRoot,
}

impl<'m> HandMade<'m> {
    /// An empty table of `levels` levels in the format of VT-d's second stage.
    ///
    /// # Panics
    /// If there is no table frame left.
    #[must_use]
    pub fn new(memory: &'m Memory, levels: u8) -> Self {
        Self::of(FormatKind::VtdSecondStage, memory, levels)
    }

    /// An empty table of `levels` levels in this format.
    ///
    /// # Panics
    /// If there is no table frame left.
    #[must_use]
    pub fn of(format: FormatKind, memory: &'m Memory, levels: u8) -> Self {
        Self { memory, format, root: TableRoot { frame: Self::frame(memory), levels } }
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
        self.set(bfn, level, self.leaf(level, frame, Rights::ALL));
    }

    /// A leaf at `level`.
    #[must_use]
    pub fn leaf(&self, level: u8, frame: Mfn, rights: Rights) -> u64 {
        let large = if level > 1 { LARGE } else { 0 };
        self.entry(frame, rights, [large, 0])
    }

    /// An entry at `level` that points to `table`.
    #[must_use]
    pub fn link(&self, level: u8, table: Mfn, rights: Rights) -> u64 {
        self.entry(table, rights, [0, u64::from(level - 1) << 9])
    }

    /// An entry with what it has besides in either format, VT-d's first.
    fn entry(&self, frame: Mfn, rights: Rights, [vtd, amd]: [u64; 2]) -> u64 {
        let access = u64::from(rights.read) | u64::from(rights.write) << 1;
        let own = match self.format {
            FormatKind::AmdV1 => PRESENT | access << 61 | amd,
            FormatKind::VtdSecondStage => access | vtd,
        };
        frame.0 << 12 | own
    }

    /// The table of `level` on the way to `bfn`; made if there is none.
    #[must_use]
    pub fn table(&self, bfn: u64, level: u8) -> Mfn {
        let mut table = self.root.frame;
        for above in (level + 1..=self.root.levels).rev() {
            let at = index(bfn, above);
            let entry = self.memory.tables.entry(table, at, true).expect("a table");
            table = if self.is_present(entry) {
                frame_of(entry)
            } else {
                let child = Self::frame(self.memory);
                self.write(table, at, self.link(above, child, Rights::ALL));
                child
            };
        }
        table
    }

    const fn is_present(&self, entry: u64) -> bool {
        let any = match self.format {
            FormatKind::AmdV1 => PRESENT,
            FormatKind::VtdSecondStage => RW,
        };
        entry & any != 0
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
