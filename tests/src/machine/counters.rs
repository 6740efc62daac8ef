//! Counts of what has happened: what cannot be timed on a machine that is not there.

use std::sync::atomic::Ordering;

use super::board::Board;

/// What has happened so far, over the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Invalidations completed and waited for.
    pub iotlb_flushes: u64,
    /// Those of them that were for leaves only.
    pub leaf_flushes: u64,
    /// Calls to make new entries visible.
    pub map_syncs: u64,
    /// Device entries written.
    pub device_entries: u64,
    /// Page walks of the units.
    pub walks: u64,
    /// Translations found in an IOTLB.
    pub iotlb_hits: u64,
    /// Accesses refused by units.
    pub faults: u64,
    /// Table frames allocated now.
    pub table_frames_live: u32,
    /// Most table frames allocated at one time.
    pub table_frames_peak: u32,
    /// Table frames put aside now.
    pub table_frames_reserved: u32,
    /// Scratch pages allocated now; no table frames.
    pub scratch_frames_live: u32,
    /// Reads of devices from scratch pages.
    pub scratch_reads: u64,
    /// Writes of devices to scratch pages.
    pub scratch_writes: u64,
    /// References held now.
    pub references_live: u64,
    /// References taken and references given back so far, together.
    pub references_counted: u64,
    /// Violations.
    pub violations: u64,
    /// Entries into the service by hypercall.
    pub hypercalls: u64,
}

impl Counters {
    /// Those of the machine; it does not see hypercalls.
    #[must_use]
    pub fn of(board: &Board) -> Self {
        let memory = &board.memory;
        let tables = memory.tables.usage();
        let mut sum = Self {
            table_frames_live: tables.live,
            table_frames_peak: tables.peak,
            table_frames_reserved: tables.reserved,
            scratch_frames_live: tables.scratch,
            scratch_reads: memory.tables.scratch_use.reads.load(Ordering::Relaxed),
            scratch_writes: memory.tables.scratch_use.writes.load(Ordering::Relaxed),
            references_live: memory.frames.references_live(),
            references_counted: memory.frames.references_counted(),
            violations: memory.violations.count(),
            ..Self::default()
        };
        for unit in &board.units {
            let unit = unit.counters();
            sum.iotlb_flushes += unit.iotlb_flushes;
            sum.leaf_flushes += unit.leaf_flushes;
            sum.map_syncs += unit.map_syncs;
            sum.device_entries += unit.device_entries;
            sum.walks += unit.walks;
            sum.iotlb_hits += unit.iotlb_hits;
            sum.faults += unit.faults;
        }
        sum
    }
}
