//! The machine's memory as a unit sees it, with the list of what went wrong in it.

use std::sync::Arc;

use pviommu_hypervisor::addr::Mfn;

use super::{
    frames::{Frames, Reach, Refused},
    late::Late,
    rules::Rules,
    tables::Tables,
    violation::Violations,
};
use crate::iommu::Landing;

/// Frames, tables, and the violations seen so far.
#[derive(Debug)]
pub struct Memory {
    /// Guest memory and registers.
    pub frames: Frames,
    /// Page-table memory and scratch pages.
    pub tables: Tables,
    /// What must not have happened.
    pub violations: Arc<Violations>,
    /// Who may be where without a reference.
    pub(crate) rules: Rules,
}

impl Memory {
    /// Memory without guest frames and with `tables` table frames from `first_table` on, for
    /// units on their own.
    #[must_use]
    pub fn bare(first_table: Mfn, tables: u32) -> Self {
        Self {
            frames: Frames::new(u16::MAX),
            tables: Tables::new(first_table, tables, true),
            violations: Arc::default(),
            rules: Rules::default(),
        }
    }

    /// Has writes of devices arrive late: on at most `most` frames of each kind at a time.
    #[must_use]
    pub(crate) fn with_late_writes(mut self, most: usize, seed: u64) -> Self {
        self.frames.late = Late::new(most, seed, Arc::clone(&self.violations));
        self.tables.late = Late::new(most, !seed, Arc::clone(&self.violations));
        self
    }

    /// What a device finds at `frame`.
    #[must_use]
    pub fn reach(&self, frame: Mfn) -> Reach {
        if self.tables.has(frame) { self.tables.reach(frame) } else { self.frames.reach(frame) }
    }

    /// Reads bytes of a frame as a device does: of guest memory, registers or a scratch page.
    ///
    /// # Errors
    /// [`Refused`] if it is none of them.
    pub fn device_reads(&self, at: &Landing, offset: usize, to: &mut [u8]) -> Result<(), Refused> {
        if self.tables.has(at.frame) {
            self.tables.device_reads(at.frame, offset, to)
        } else {
            self.frames.read(at.frame, offset, to)
        }
    }

    /// Writes bytes of a frame as a device does, now or a little later.
    ///
    /// # Errors
    /// [`Refused`] if it is neither guest memory nor registers nor a scratch page.
    pub fn device_writes(&self, at: &Landing, offset: usize, from: &[u8]) -> Result<(), Refused> {
        if self.tables.has(at.frame) {
            self.tables.device_writes(at, offset, from)
        } else {
            self.frames.device_writes(at, offset, from)
        }
    }

    /// Has those writes arrive that `which` picks.
    pub(crate) fn drain(&self, which: impl Fn(&Landing) -> bool) {
        self.frames.late.drain(&which, |write| self.frames.land(write));
        self.tables.late.drain(&which, |write| self.tables.land(write));
    }

    /// Has some write arrive.
    pub(crate) fn land_some(&self) {
        self.frames.late.some(|write| self.frames.land(write));
        self.tables.late.some(|write| self.tables.land(write));
    }
}
