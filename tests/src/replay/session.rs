//! The second pass over a trace: each event done by the guest driver, and checked by DMA.
//!
//! What an address space has to do queues up until a hypercall is due (`submit`); whatever asks
//! for the state of the machine has all of it done first.

mod devices;
pub(super) mod look;
mod submit;

use pviommu_abi::{ContextId, DomId, PciDevice};
use pviommu_guest::Error;
use pviommu_hypervisor::Background;

use super::checks::Probe;
use super::guest::Driver;
use super::options::{Lazy, Options};
use super::plan::{self, Plan};
use super::sample::Chance;
use super::spaces::{Space, Spaces};
use super::spans::Span;
use super::summary::Summary;
use super::work::{What, Work};
use crate::machine::Bed;
use crate::trace::{DomainId, Event, Map, Op, Unmap};

/// Events between two looks at the machine's fault records, so that they do not pile up.
const FAULTS_EVERY: u64 = 256;

/// Unmaps of a domain that wait for a flush at most, where the trace does not say when they are
/// flushed: as many as Linux queues on a CPU.
const UNMAPS_WAITING: u32 = 256;

/// A replay on its way.
pub(super) struct Session<'a, 'b> {
    bed: &'a Bed<'b>,
    domain: DomId,
    plan: &'a Plan,
    driver: Driver<'a>,
    spaces: Spaces,
    background: Background,
    batch: usize,
    lazy: Lazy,
    chance: Chance,
    sum: Summary,
    line: u64,
    events: u64,
}

impl<'a, 'b> Session<'a, 'b> {
    pub(super) fn new(
        bed: &'a Bed<'b>,
        domain: DomId,
        plan: &'a Plan,
        driver: Driver<'a>,
        lazy: Lazy,
        options: &Options,
    ) -> Self {
        let spaces = Spaces::new(plan.mmio.clone());
        let sum = Summary::new(plan.devices.len(), options, &lazy);
        Self {
            bed,
            domain,
            plan,
            driver,
            spaces,
            background: options.background,
            batch: usize::try_from(sum.batch).unwrap_or(usize::MAX),
            lazy,
            chance: Chance::new(options.seed),
            sum,
            line: 0,
            events: 0,
        }
    }

    /// Does one event.
    pub(super) fn event(&mut self, event: &Event) {
        self.line = event.line;
        self.driver.on(event.cpu);
        match event.op {
            Op::Map(map) => self.map(&map),
            Op::Unmap(unmap) => self.unmap(&unmap),
            Op::MapBatch(domain) => {
                self.sum.map_batches += 1;
                self.submit(domain);
            }
            // Where the trace has a flush queue, this is a flush that did not go there.
            Op::Sync(domain) if self.lazy.is_recorded(domain) => self.flush(domain),
            Op::Sync(domain) => self.submit(domain),
            Op::FlushAll(domain) => self.flush(domain),
            Op::Attach(attach) => {
                self.submit_all();
                self.attach(&attach);
            }
            Op::Free(domain) => {
                self.submit_all();
                self.free(domain);
            }
            Op::Leave(device) => {
                self.submit_all();
                self.block(device);
            }
            Op::Arrive(_) => self.submit_all(),
        }
        self.events += 1;
        if self.events.is_multiple_of(FAULTS_EVERY) {
            let _ = self.bed.take_faults();
        }
    }

    fn map(&mut self, map: &Map) {
        self.sum.maps += 1;
        let extent = plan::extent(map);
        if extent.access.is_empty() {
            self.sum.oddities += 1;
        } else if self.context(map.domain).is_some() {
            self.queue(map.domain, What::Map(extent, map.prot));
        }
    }

    fn unmap(&mut self, unmap: &Unmap) {
        self.sum.unmaps += 1;
        if unmap.unmapped == 0 {
            return;
        }
        let domain = unmap.domain;
        let Some(space) = self.spaces.get(domain) else {
            self.sum.oddities += 1;
            return;
        };
        space.unmaps += 1;
        let full = space.unmaps >= UNMAPS_WAITING;
        self.queue(domain, What::Unmap(Span::of_pages(unmap.iova >> 12, unmap.unmapped >> 12)));
        if !self.lazy.is_lazy(domain) {
            self.submit(domain);
        } else if full && !self.lazy.is_recorded(domain) {
            self.flush(domain);
        }
    }

    /// Puts an operation off until the batch is due.
    fn queue(&mut self, domain: DomainId, what: What) {
        let line = self.line;
        let Some(space) = self.spaces.get(domain) else { return };
        space.queue.push(Work { line, what });
        if space.queue.len() >= self.batch {
            self.submit(domain);
        }
    }

    /// Has all unmaps of an address space flushed that wait for it.
    fn flush(&mut self, domain: DomainId) {
        if self.lazy.is_lazy(domain) {
            self.queue(domain, What::Flush);
        }
        self.submit(domain);
    }

    /// Does all that is put off.
    pub(super) fn submit_all(&mut self) {
        for domain in self.spaces.domains() {
            self.submit(domain);
        }
    }

    /// Frees what is left, and reads what the machine has seen.
    pub(super) fn finish(mut self) -> Summary {
        self.submit_all();
        for domain in self.spaces.domains() {
            self.free(domain);
        }
        let mut sum = self.sum;
        sum.ops = sum.maps + sum.unmaps;
        sum.hypercalls = self.driver.hypercalls();
        let batches = self.driver.batches();
        sum.batches = batches.batches;
        sum.batch_elements = batches.elements;
        sum.largest_batch = batches.largest;
        sum.ns_per_op = self.driver.nanoseconds() as f64 / sum.ops.max(1) as f64;
        sum.peak_live_maps = self.spaces.most_live() as u64;
        sum.read_machine(self.bed);
        sum.divide();
        sum
    }

    /// The context of an address space; allocated when it is first asked for.
    fn context(&mut self, domain: DomainId) -> Option<ContextId> {
        if let Some(space) = self.spaces.get(domain) {
            return Some(space.context);
        }
        let opened = self.driver.alloc().and_then(|context| {
            self.sum.contexts += 1;
            self.driver.aperture_last(context).map(|last| Space::new(context, last))
        });
        match opened {
            Ok(space) => {
                let context = space.context;
                self.spaces.insert(domain, space);
                Some(context)
            }
            Err(error) => {
                self.succeeded(Err(error), &format!("allocate a context for domain {domain}"));
                None
            }
        }
    }

    fn probe_of(&self, device: PciDevice) -> Probe<'a, 'b> {
        let Self { bed, domain, background, line, .. } = *self;
        Probe { bed, domain, device, background, line }
    }

    fn succeeded(&mut self, answer: Result<(), Error>, what: &str) -> bool {
        if let Err(error) = answer {
            let line = self.line;
            self.sum.mismatch(|| format!("line {line}: {what}: {error}"));
        }
        answer.is_ok()
    }

    /// Pages that are mapped are held, and no others but those that wait for a flush.
    fn count_references(&mut self) {
        let (held, expected) =
            (self.bed.board().memory().frames.references_live(), self.spaces.references());
        if !expected.contains(&held) {
            let line = self.line;
            self.sum.mismatch(|| format!("line {line}: {held} references, expected {expected:?}"));
        }
    }
}
