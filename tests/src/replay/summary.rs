//! What a replay found, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::units::Units;

/// Most findings that are kept in words.
const KEPT: usize = 10;

/// The result of a replay. Its fields are the keys of `--json`.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Summary {
    /// The name of the trace.
    pub name: String,
    /// What a bus address hits that nobody mapped: `scratch` or `fault`.
    pub background: &'static str,
    /// The IOMMU units, as `--unit` names them.
    #[serde(rename = "unit")]
    pub units: Units,
    /// Most operations of one hypercall.
    pub batch: u64,
    /// `lazy` if unmaps may wait for a flush, else `strict`.
    pub mode: &'static str,
    /// Maps and unmaps of the trace.
    pub ops: u64,
    /// `M` lines.
    pub maps: u64,
    /// `U` lines.
    pub unmaps: u64,
    /// `P` lines: batches of maps.
    pub map_batches: u64,
    /// Functions of the machine.
    pub devices: u64,
    /// Contexts allocated over the whole replay.
    pub contexts: u64,
    /// Calls of `iommu_op`, each counted once however often it was continued.
    pub hypercalls: u64,
    /// The same for each operation.
    pub hypercalls_per_op: f64,
    /// Hypercalls that were batches.
    pub batches: u64,
    /// Elements of all of them.
    pub batch_elements: u64,
    /// Elements of the largest.
    pub largest_batch: u64,
    /// DMA accesses tried, of which each either had to succeed or had to be refused.
    pub dma_checked: u64,
    /// Anything that was not as the trace says: wrong data, data moved where it must not be, an
    /// unexpected answer of the service, a violation seen by the machine.
    pub mismatches: u64,
    /// What the machine itself saw go wrong; counted as mismatches too.
    pub violations: u64,
    /// Faults where the access was allowed.
    pub faults: u64,
    /// Faults where the access had to be refused.
    pub faults_expected: u64,
    /// Accesses that hit a scratch page, where nothing was mapped.
    pub scratch_hits: u64,
    /// Accesses that hit the former page of what was unmapped and not flushed, as they may.
    pub stale_hits: u64,
    /// Maps of ranges that the devices reserve: the service refuses them, and should.
    pub refused_reserved: u64,
    /// Maps of what is mapped and unmaps of what is not: the trace contradicts itself.
    pub oddities: u64,
    /// Invalidations of the IOTLB that were waited for.
    pub iotlb_flushes: u64,
    /// Most live maps at a time.
    pub peak_live_maps: u64,
    /// Most frames used for page tables at a time.
    pub table_frames_peak: u64,
    /// References on pages taken and given back: as many locked operations for an embedder that counts them one by
    /// one.
    pub page_references: u64,
    /// Page references left after every context was freed.
    pub leaked_refs: u64,
    /// Table frames left after every context was freed.
    pub leaked_frames: u64,
    /// Mean time inside `iommu_op` for each operation, in nanoseconds.
    pub ns_per_op: f64,
    /// The first findings in words.
    #[serde(skip)]
    pub findings: Vec<String>,
}

impl Summary {
    /// True if everything was as it must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { mismatches, violations, faults, leaked_refs, leaked_frames, .. } = *self;
        [mismatches, violations, faults, leaked_refs, leaked_frames] == [0; 5]
    }

    /// Counts something that was not as it must be. `what` is asked only while there is room.
    pub(super) fn mismatch(&mut self, what: impl FnOnce() -> String) {
        self.mismatches += 1;
        self.note(what);
    }

    /// Counts a fault where the access was allowed.
    pub(super) fn fault(&mut self, what: impl FnOnce() -> String) {
        self.faults += 1;
        self.note(what);
    }

    /// Keeps a finding that is counted elsewhere.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if self.findings.len() < KEPT {
            self.findings.push(what());
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<22}{value}");
        row(
            "operations",
            &format_args!("{} ({} maps, {} unmaps)", self.ops, self.maps, self.unmaps),
        )?;
        row("background", &self.background)?;
        row("unmaps", &self.mode)?;
        let calls = format!("{} ({:.3} per operation", self.hypercalls, self.hypercalls_per_op);
        if self.batches > 0 {
            let Self { batches, batch_elements, largest_batch, .. } = self;
            let elements = *batch_elements as f64 / *batches as f64;
            let of = format!("{batches} of them batches of {elements:.1}, at most {largest_batch}");
            row("hypercalls", &format_args!("{calls}; {of})"))?;
        } else {
            row("hypercalls", &format_args!("{calls})"))?;
        }
        row("devices, contexts", &format_args!("{}, {}", self.devices, self.contexts))?;
        row("DMA accesses checked", &self.dma_checked)?;
        row("mismatches", &self.mismatches)?;
        let faults = format!("{} unexpected, {} expected", self.faults, self.faults_expected);
        row("faults", &faults)?;
        if self.scratch_hits > 0 {
            row("scratch page hit", &format_args!("{} times", self.scratch_hits))?;
        }
        if self.stale_hits > 0 {
            row("hit before the flush", &format_args!("{} times", self.stale_hits))?;
        }
        row("IOTLB flushes", &self.iotlb_flushes)?;
        row("page references", &format_args!("{} taken and given back", self.page_references))?;
        row("peak live maps", &self.peak_live_maps)?;
        row("peak table frames", &self.table_frames_peak)?;
        let leaks = format!("{} references, {} table frames", self.leaked_refs, self.leaked_frames);
        row("leaked", &leaks)?;
        if self.refused_reserved > 0 {
            row("refused, reserved", &self.refused_reserved)?;
        }
        if self.oddities > 0 {
            row("oddities of the trace", &self.oddities)?;
        }
        row("time in the service", &format_args!("{:.0} ns per operation", self.ns_per_op))?;
        for finding in &self.findings {
            writeln!(f, "  ! {finding}")?;
        }
        let verdict = match (self.is_clean(), self.dma_checked, self.scratch_hits) {
            (true, 0, _) => "nothing went wrong, and there was nothing to check by DMA",
            (true, _, 0) => {
                "every access that must succeed moved the right bytes, all others faulted"
            }
            (true, ..) => {
                "every access that must succeed moved the right bytes, no other reached memory"
            }
            (false, ..) => "NOT as it must be",
        };
        write!(f, "{}: {verdict}", self.name)
    }
}
