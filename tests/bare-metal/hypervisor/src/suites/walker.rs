//! The walk that a unit makes, made by hand: from its registers by the words in memory, and by nothing that the
//! service says.
//!
//! Sources: Intel Virtualization Technology for Directed I/O, Revision 4.1, sections 9.1, 9.3 and 9.8; AMD I/O
//! Virtualization Technology (IOMMU) Specification, publication 48882, Revision 3.08, sections 2.2.2 and 2.2.3.

use core::sync::atomic::Ordering;

use pviommu_hypervisor::{
    abi::{Bfn, PciDevice},
    addr::{Mfn, PAGE_SHIFT},
    format::FormatKind,
    platform::RegisterBlock,
};

use super::Bench;
use crate::machine::{
    memory::{PAGE, words},
    mmio,
};

/// Bits of a word that are the address of a frame.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LEVEL_BITS: u32 = 9;

/// The table of a device.
#[derive(Clone, Copy)]
pub struct Walker {
    format: FormatKind,
    root: Mfn,
    levels: u32,
}

fn word(frame: Mfn, index: usize) -> u64 {
    words(frame, 1).get(index).map_or(0, |word| word.load(Ordering::SeqCst))
}

const fn frame(word: u64) -> Mfn {
    Mfn((word & ADDRESS) >> PAGE_SHIFT)
}

impl Walker {
    /// The table that `function` has by the words of its unit; `None` if it has none.
    #[must_use]
    pub fn of(bench: &Bench<'_>, function: PciDevice) -> Option<Self> {
        let format = bench.unit().facts().format;
        let PciDevice { bus, devfn, .. } = function;
        match format {
            FormatKind::VtdSecondStage => {
                let root_table = frame(mmio(0xfed9_0000, PAGE)?.read64(0x20));
                let contexts = word(root_table, 2 * usize::from(bus));
                let entry = |half| word(frame(contexts), 2 * usize::from(devfn) + half);
                let present = contexts & 1 == 1 && entry(0) & 1 == 1;
                // AW is 1 for three levels.
                let levels = (entry(1) & 7) as u32 + 2;
                present.then(|| Self { format, root: frame(entry(0)), levels })
            }
            FormatKind::AmdV1 => {
                let table = frame(mmio(0xfed8_0000, PAGE)?.read64(0));
                let byte = (usize::from(bus) << 8 | usize::from(devfn)) * 32;
                let entry = word(Mfn(table.0 + (byte / PAGE) as u64), byte % PAGE / 8);
                let levels = (entry >> 9 & 7) as u32;
                (entry & 3 == 3 && levels > 0).then(|| Self { format, root: frame(entry), levels })
            }
        }
    }

    /// The frame that a device reads and writes by `bfn`; `None` if it does not.
    #[must_use]
    pub fn walk(&self, bfn: Bfn) -> Option<Mfn> {
        let mut table = self.root;
        let mut level = self.levels;
        loop {
            level = level.checked_sub(1)?;
            let index = bfn.0 >> (LEVEL_BITS * level) & 0x1ff;
            let entry = word(table, index as usize);
            let (permits, leaf) = match self.format {
                FormatKind::VtdSecondStage => (entry & 3 == 3, level == 0 || entry >> 7 & 1 == 1),
                FormatKind::AmdV1 => (entry & 1 == 1 && entry >> 61 & 3 == 3, entry >> 9 & 7 == 0),
            };
            if !permits {
                return None;
            }
            if leaf {
                let within = bfn.0 & ((1 << (LEVEL_BITS * level)) - 1);
                return Some(Mfn(frame(entry).0 | within));
            }
            table = frame(entry);
        }
    }
}
