//! The machine's memory as a unit sees it, with the list of what went wrong in it.

use pviommu_hypervisor::addr::Mfn;

use super::{
    frames::{Frames, Reach, Refused},
    tables::Tables,
    violation::Violations,
};

/// Frames, tables, and the violations seen so far.
#[derive(Debug)]
pub struct Memory {
    /// Guest memory and registers.
    pub frames: Frames,
    /// Page-table memory and scratch pages.
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

    /// What a device finds at `frame`.
    #[must_use]
    pub fn reach(&self, frame: Mfn) -> Reach {
        if !self.tables.has(frame) {
            self.frames.reach(frame)
        } else if self.tables.scratch_owner(frame).is_some() {
            Reach::Scratch
        } else if self.tables.is_live(frame) {
            Reach::Forbidden
        } else {
            Reach::Free
        }
    }

    /// Reads bytes of a frame as a device does: of guest memory, registers or a scratch page.
    ///
    /// # Errors
    /// [`Refused`] if it is none of them.
    pub fn device_reads(&self, frame: Mfn, offset: usize, to: &mut [u8]) -> Result<(), Refused> {
        if self.tables.read_scratch(frame, offset, to) {
            return Ok(());
        }
        self.frames.read(frame, offset, to)
    }

    /// Writes bytes of a frame as a device does.
    ///
    /// # Errors
    /// [`Refused`] if it is neither guest memory nor registers nor a scratch page.
    pub fn device_writes(&self, frame: Mfn, offset: usize, from: &[u8]) -> Result<(), Refused> {
        if self.tables.write_scratch(frame, offset, from) {
            return Ok(());
        }
        self.frames.write(frame, offset, from)
    }
}
