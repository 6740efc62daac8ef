//! The place of the embedder's interrupt remapping: section 5.1. The table is the embedder's; the unit is
//! told where it is, and to forget what it has cached of it.

use crate::{
    addr::{Mfn, PAGE_SHIFT},
    platform::UnitError,
};

/// A table of interrupts, as the unit is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IrqTable {
    /// Its first frame. The others follow.
    pub frame: Mfn,
    /// How many entries of 16 bytes it has: a power of two, from 2 to 65 536.
    pub entries: u32,
    /// Entries name CPUs by the 32-bit ids of the x2APIC.
    pub x2apic: bool,
}

/// Why there is no remapping of interrupts by a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IrqTableError {
    /// The unit cannot remap interrupts, or not to ids of the x2APIC as was asked: nothing has changed.
    NotSupported,
    /// The number of entries is none that there can be, or the table is where the unit cannot read:
    /// nothing has changed.
    BadTable,
    /// The unit has failed. Whether interrupts are remapped, and by which table, is unknown.
    Failed,
}

impl From<UnitError> for IrqTableError {
    fn from(_: UnitError) -> Self {
        Self::Failed
    }
}

impl core::fmt::Display for IrqTableError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotSupported => "the unit cannot remap interrupts like that",
            Self::BadTable => "the table of interrupts has a bad size or place",
            Self::Failed => "the unit has failed",
        })
    }
}

impl core::error::Error for IrqTableError {}

/// EIME of IRTA.
const X2APIC: u64 = 1 << 11;

impl IrqTable {
    /// The word of IRTA (section 11.4.10); `None` if there is no such table, or the unit cannot reach it.
    pub(super) fn word(self, host_address_bits: u8) -> Option<u64> {
        let good = self.entries.is_power_of_two() && (2..=1 << 16).contains(&self.entries);
        let frames = (u64::from(self.entries) / 256).max(1);
        let end = self.frame.0.checked_add(frames)?;
        let limit = 1u64.checked_shl(u32::from(host_address_bits).checked_sub(PAGE_SHIFT)?)?;
        if !good || end > limit {
            return None;
        }
        // S: 2^(S + 1) entries.
        let size = u64::from(self.entries.trailing_zeros().saturating_sub(1));
        Some(self.frame.0 << PAGE_SHIFT | if self.x2apic { X2APIC } else { 0 } | size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_by_its_place_and_size() {
        let table = |entries, x2apic| IrqTable { frame: Mfn(0x12345), entries, x2apic };
        assert_eq!(table(256, false).word(39), Some(0x1234_5007));
        assert_eq!(table(1 << 16, true).word(39), Some(0x1234_580f));
        assert_eq!(table(2, false).word(39), Some(0x1234_5000));
        for entries in [0, 1, 3, 257, 1 << 17] {
            assert_eq!(table(entries, false).word(39), None);
        }
        assert_eq!(table(256, false).word(28), None, "above what the unit reaches");
        assert_eq!(table(256, false).word(29), Some(0x1234_5007));
    }
}
