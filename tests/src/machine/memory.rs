//! The machine's memory as a unit sees it, with the list of what went wrong in it.

use pviommu_hypervisor::addr::Mfn;

use super::{frames::Frames, tables::Tables, violation::Violations};

/// Frames, tables, and the violations seen so far.
#[derive(Debug)]
pub struct Memory {
    /// Guest memory and registers.
    pub frames: Frames,
    /// Page-table memory.
    pub tables: Tables,
    /// What must not have happened.
    pub violations: Violations,
}

impl Memory {
    /// Memory without guest frames and with `tables` table frames from `first_table` on, for
    /// units on their own.
    #[must_use]
    pub fn bare(first_table: Mfn, tables: u32) -> Self {
        Self {
            frames: Frames::new(u32::MAX),
            tables: Tables::new(first_table, tables, true),
            violations: Violations::default(),
        }
    }
}
