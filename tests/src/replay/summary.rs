//! What a replay found, for people and for programs.

mod print;

use pviommu_hypervisor::Background;
use serde::Serialize;

use super::options::{Lazy, Mode, Options};
use super::units::Units;
use crate::machine::Bed;

/// Most findings that are kept in words.
const KEPT: usize = 10;

/// The result of a replay. Its fields are the keys of `--json`.
#[derive(Clone, PartialEq, Default, Debug, Serialize)]
pub struct Summary {
    /// The name of the trace.
    pub name: String,
    /// What was replayed: `iommu` or `dma`.
    pub level: &'static str,
    /// What a bus address hits that nobody mapped: `scratch` or `fault`.
    pub background: &'static str,
    /// The IOMMU units, as `--unit` names them.
    #[serde(rename = "unit")]
    pub units: Units,
    /// Most operations of one hypercall.
    pub batch: u64,
    /// `reuse` if mappings are kept, `lazy` if unmaps may wait for a flush, else `strict`.
    pub mode: &'static str,
    /// Most mappings kept for a device that nobody uses.
    pub reuse: u64,
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
    /// Calls of `iommu_op`, each counted once however often it was continued. At level `dma` those
    /// that map, unmap or flush.
    pub hypercalls: u64,
    /// At level `dma`, all others: contexts and devices.
    pub hypercalls_set_up: u64,
    /// At level `dma`, those that map.
    pub map_hypercalls: u64,
    /// The same for each operation.
    pub hypercalls_per_op: f64,
    /// `hypercalls` for each `P` line.
    pub hypercalls_per_p: f64,
    /// Maps that the DMA API was asked for.
    pub dma_maps: u64,
    /// Unmaps that the DMA API was asked for.
    pub dma_unmaps: u64,
    /// Maps that were found among those kept, and took no hypercall.
    pub reuse_hits: u64,
    /// Mappings of pages of another domain, each tried while it was there and once it was not.
    pub shared: u64,
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
    /// Invalidations of the IOTLB that were waited for. At level `dma` those of `hypercalls`.
    pub iotlb_flushes: u64,
    /// At level `dma`, those of hypercalls that map and do nothing else: with scratch pages each needs
    /// one, and units that cache what is not present do.
    pub map_flushes: u64,
    /// At level `dma`, unmaps for each of the others.
    pub unmaps_per_flush: f64,
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
    /// What is known of a replay before it begins.
    pub(super) fn new(devices: usize, options: &Options, lazy: &Lazy) -> Self {
        Self {
            level: options.level.name(),
            devices: devices as u64,
            background: match options.background {
                Background::Scratch => "scratch",
                Background::Fault => "fault",
            },
            units: options.units,
            batch: options.batch.max(1).into(),
            mode: lazy.name(),
            reuse: match options.mode {
                Mode::Reuse(kept) => kept.get() as u64,
                Mode::AsRecorded | Mode::Strict | Mode::Lazy => 0,
            },
            ..Self::default()
        }
    }

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

    /// Adds what the machine has seen, once every context was freed.
    pub(super) fn read_machine(&mut self, bed: &Bed<'_>) {
        let counters = bed.counters();
        // Of very many the machine keeps the first only; all of them count.
        for violation in bed.violations() {
            self.note(|| format!("the machine saw: {violation}"));
        }
        self.violations = counters.violations;
        self.mismatches += counters.violations;
        self.iotlb_flushes = counters.iotlb_flushes;
        self.table_frames_peak = u64::from(counters.table_frames_peak);
        self.page_references = counters.references_counted;
        self.leaked_refs = counters.references_live;
        // What is put aside for splits is lost as much as what is in use; so are scratch pages.
        self.leaked_frames = u64::from(counters.table_frames_live)
            + u64::from(counters.table_frames_reserved)
            + u64::from(counters.scratch_frames_live);
        let (kept, reserved) = bed.kept_by_quarantine();
        self.leaked_frames = self.leaked_frames.saturating_sub(u64::from(kept + reserved));
    }

    /// Works out what is told as a ratio.
    pub(super) fn divide(&mut self) {
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        self.hypercalls_per_op = ratio(self.hypercalls, self.ops);
        self.hypercalls_per_p = ratio(self.hypercalls, self.map_batches);
        self.unmaps_per_flush = ratio(self.dma_unmaps, self.iotlb_flushes - self.map_flushes);
    }

    /// Adds what was found by checks that were counted apart.
    pub(super) fn take_findings(&mut self, other: Self) {
        self.mismatches += other.mismatches;
        self.faults += other.faults;
        self.faults_expected += other.faults_expected;
        self.scratch_hits += other.scratch_hits;
        self.stale_hits += other.stale_hits;
        self.dma_checked += other.dma_checked;
        self.contexts += other.contexts;
        self.shared += other.shared;
        for finding in other.findings {
            self.note(|| finding);
        }
    }
}
