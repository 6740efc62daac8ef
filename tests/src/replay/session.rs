//! The second pass over a trace: each event done by the guest driver, and checked by DMA.

pub(super) mod look;

use pviommu_abi::{ContextId, DomId, Errno, PciDevice};
use pviommu_guest::Error;

use super::checks::Probe;
use super::guest::{Done, Driver};
use super::plan::{self, Plan};
use super::sample::Chance;
use super::shadow::Extent;
use super::spaces::{Space, Spaces};
use super::spans::Span;
use super::summary::Summary;
use crate::machine::Bed;
use crate::trace::{Attach, DomainId, Event, Map, Op, Prot, Unmap};

/// Maps tried when a function comes to an address space that has some.
const ON_ARRIVAL: usize = 64;
/// Maps tried when a function has left an address space.
const ON_LEAVING: usize = 16;
/// Events between two looks at the machine's fault records, so that they do not pile up.
const FAULTS_EVERY: u64 = 256;

/// A replay on its way.
pub(super) struct Session<'a, 'b> {
    bed: &'a Bed<'b>,
    domain: DomId,
    plan: &'a Plan,
    driver: Driver<'a>,
    spaces: Spaces,
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
        seed: u64,
    ) -> Self {
        let (spaces, chance) = (Spaces::default(), Chance::new(seed));
        let sum = Summary { devices: plan.devices.len() as u64, ..Summary::default() };
        Self { bed, domain, plan, driver, spaces, chance, sum, line: 0, events: 0 }
    }

    /// Does one event.
    pub(super) fn event(&mut self, event: &Event) {
        self.line = event.line;
        self.driver.on(event.cpu);
        match event.op {
            Op::Map(map) => self.map(&map),
            Op::Unmap(unmap) => self.unmap(&unmap),
            Op::MapBatch(_) => self.sum.map_batches += 1,
            Op::Attach(attach) => self.attach(&attach),
            Op::Free(domain) => self.free(domain),
            Op::Leave(device) => self.block(device),
            Op::Sync(_) | Op::FlushAll(_) | Op::Arrive(_) | Op::Mark | Op::DmaApi => {}
        }
        self.events += 1;
        if self.events.is_multiple_of(FAULTS_EVERY) {
            let _ = self.bed.take_faults();
        }
    }

    fn map(&mut self, map: &Map) {
        self.sum.maps += 1;
        let (domain, extent) = (map.domain, plan::extent(map));
        let bus = extent.bus();
        if extent.access.is_empty() {
            self.sum.oddities += 1;
            return;
        }
        let Some(context) = self.context(domain) else { return };
        if self.is_refused(domain, bus) {
            // A driver asks for reserved ranges and leaves them alone; this one tries, to see
            // them refused, once a device is there whose range it is.
            self.sum.refused_reserved += 1;
            if self.is_refused_now(domain, bus) {
                let done = self.driver.map(context, &extent, false);
                self.expect(done, Done::refused(Errno::EADDRNOTAVAIL), "map", bus);
            }
            return;
        }
        let done = self.driver.map(context, &extent, map.prot.contains(Prot::CACHE));
        let taken = self.spaces.get(domain).and_then(|space| space.shadow.first_mapped(bus));
        let expected = match taken {
            None => Done::all(extent.pages),
            Some(bfn) => {
                self.sum.oddities += 1;
                Done { pages: bfn - bus.first, ..Done::refused(Errno::EADDRINUSE) }
            }
        };
        self.expect(done, expected, "map", bus);
        // What the service says it did not map is not tried: that is one finding, not hundreds.
        let mapped = Extent { pages: done.pages.min(expected.pages), ..extent };
        if mapped.pages > 0 {
            self.spaces.change(domain, |shadow| shadow.insert(mapped));
            if let Some(probe) = self.probe(domain) {
                probe.live(&mapped, &mut self.chance, &mut self.sum);
            }
        }
    }

    fn unmap(&mut self, unmap: &Unmap) {
        self.sum.unmaps += 1;
        if unmap.unmapped == 0 {
            return;
        }
        let range = Span::of_pages(unmap.iova >> 12, unmap.unmapped >> 12);
        let Some(space) = self.spaces.get(unmap.domain) else {
            self.sum.oddities += 1;
            return;
        };
        let context = space.context;
        let parts = space.shadow.within(range);
        let mapped: u64 = parts.iter().map(|part| part.pages).sum();
        if mapped < range.pages() && !self.is_refused(unmap.domain, range) {
            self.sum.oddities += 1;
        }
        // One call for each stretch without a hole: for a whole range, one call.
        for bus in stretches(&parts) {
            let done = self.driver.unmap(context, bus);
            self.expect(done, Done::all(bus.pages()), "unmap", bus);
        }
        self.spaces.change(unmap.domain, |shadow| shadow.remove(range));
        if let Some(probe) = self.probe(unmap.domain) {
            for part in &parts {
                probe.gone(part, &mut self.chance, &mut self.sum);
            }
        }
    }

    fn attach(&mut self, attach: &Attach) {
        if !attach.kind.translates() {
            self.block(attach.device);
            return;
        }
        let Some(context) = self.context(attach.domain) else { return };
        let answer = self.driver.attach(attach.device, context);
        if !self.succeeded(answer, &format!("attach {} to context {}", attach.device, context.0)) {
            return;
        }
        self.spaces.put(attach.device, Some(attach.domain));
        let Some(space) = self.spaces.get(attach.domain) else { return };
        let live = self.chance.some(space.shadow.iter().copied(), ON_ARRIVAL);
        let probe = self.probe_of(attach.device);
        for extent in &live {
            probe.one_live(extent, &mut self.chance, &mut self.sum);
        }
    }

    /// Puts a function into the default context, which blocks all its DMA.
    fn block(&mut self, device: PciDevice) {
        if !self.plan.devices.contains_key(&device.sbdf()) {
            return;
        }
        let answer = self.driver.attach(device, ContextId::DEFAULT);
        if self.succeeded(answer, &format!("attach {device} to the default context"))
            && let Some(left) = self.spaces.put(device, None)
            && let Some(space) = self.spaces.get(left)
        {
            let live = self.chance.some(space.shadow.iter().copied(), ON_LEAVING);
            self.out_of_reach(device, &live);
        }
    }

    /// Frees the context of an address space.
    fn free(&mut self, domain: DomainId) {
        let Some((space, members)) = self.spaces.remove(domain) else { return };
        let answer = self.driver.free(space.context);
        self.succeeded(answer, &format!("free context {}", space.context.0));
        let live = self.chance.some(space.shadow.iter().copied(), ON_LEAVING);
        for member in members {
            self.out_of_reach(member, &live);
        }
    }

    /// Frees what is left, and reads what the machine has seen.
    pub(super) fn finish(mut self) -> Summary {
        for domain in self.spaces.domains() {
            self.free(domain);
        }
        let counters = self.bed.counters();
        let mut sum = self.sum;
        // Of very many the machine keeps the first only; all of them count.
        for violation in self.bed.violations() {
            sum.note(|| format!("the machine saw: {violation}"));
        }
        sum.violations = counters.violations;
        sum.mismatches += counters.violations;
        sum.ops = sum.maps + sum.unmaps;
        sum.hypercalls = self.driver.hypercalls();
        sum.ns_per_op = self.driver.nanoseconds() as f64 / sum.ops.max(1) as f64;
        sum.iotlb_flushes = counters.iotlb_flushes;
        sum.peak_live_maps = self.spaces.most_live() as u64;
        sum.table_frames_peak = u64::from(counters.table_frames_peak);
        sum.leaked_refs = counters.references_live;
        // What is put aside for splits is lost as much as what is in use.
        sum.leaked_frames =
            u64::from(counters.table_frames_live) + u64::from(counters.table_frames_reserved);
        sum
    }

    /// The context of an address space; allocated when it is first asked for.
    fn context(&mut self, domain: DomainId) -> Option<ContextId> {
        if let Some(space) = self.spaces.get(domain) {
            return Some(space.context);
        }
        match self.driver.alloc() {
            Ok(context) => {
                self.sum.contexts += 1;
                self.spaces.insert(domain, Space::new(context));
                Some(context)
            }
            Err(error) => {
                self.succeeded(Err(error), &format!("allocate a context for domain {domain}"));
                None
            }
        }
    }

    /// True if the machine, or a device that is ever in the address space, reserves a part of
    /// `bus`.
    fn is_refused(&self, domain: DomainId, bus: Span) -> bool {
        let own = self.plan.refused.get(&domain);
        own.is_some_and(|own| own.touches(bus)) || self.plan.machine_reserved.touches(bus)
    }

    /// The same for the devices that are attached at this moment.
    fn is_refused_now(&mut self, domain: DomainId, bus: Span) -> bool {
        let Some(space) = self.spaces.get(domain) else { return false };
        let own = space.members().iter().flat_map(|member| self.plan.regions(*member));
        plan::enforced_spans(own).touches(bus) || self.plan.machine_reserved.touches(bus)
    }

    /// The function whose turn it is in an address space.
    fn probe(&mut self, domain: DomainId) -> Option<Probe<'a, 'b>> {
        let device = self.spaces.get(domain)?.next_member()?;
        Some(self.probe_of(device))
    }

    fn probe_of(&self, device: PciDevice) -> Probe<'a, 'b> {
        Probe { bed: self.bed, domain: self.domain, device, line: self.line }
    }

    fn out_of_reach(&mut self, device: PciDevice, extents: &[Extent]) {
        let probe = self.probe_of(device);
        for extent in extents {
            probe.one_gone(extent, &mut self.chance, &mut self.sum);
        }
    }

    fn expect(&mut self, done: Done, expected: Done, what: &str, bus: Span) {
        if done != expected {
            let line = self.line;
            self.sum.mismatch(|| {
                let Span { first, last } = bus;
                format!("line {line}: {what} {first:#x}..={last:#x}: {done}, expected {expected}")
            });
        }
    }

    fn succeeded(&mut self, answer: Result<(), Error>, what: &str) -> bool {
        if let Err(error) = answer {
            let line = self.line;
            self.sum.mismatch(|| format!("line {line}: {what}: {error}"));
        }
        answer.is_ok()
    }
}

/// Joins extents whose bus frames follow on.
fn stretches(parts: &[Extent]) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::new();
    for bus in parts.iter().map(Extent::bus) {
        match joined.last_mut() {
            Some(end) if end.last + 1 == bus.first => end.last = bus.last,
            _ => joined.push(bus),
        }
    }
    joined
}
