//! Hypercalls for what has queued up, and the checks before and after them.

use pviommu_abi::{ContextId, Errno, PciDevice};

use super::Session;
use crate::replay::calls::{Call, Done};
use crate::replay::plan;
use crate::replay::shadow::Extent;
use crate::replay::spans::Span;
use crate::replay::work::{What, Work};
use crate::trace::{DomainId, Prot};

/// The calls that the work of an address space takes, and what to look at afterwards.
#[derive(Default)]
struct Steps {
    calls: Vec<Call>,
    expected: Vec<Done>,
    lines: Vec<u64>,
    touched: Vec<Touched>,
}

/// A stretch that is mapped, or was.
struct Touched {
    line: u64,
    extent: Extent,
    is_mapped: bool,
}

impl Steps {
    fn call(&mut self, line: u64, call: Call, expected: Done) {
        self.calls.push(call);
        self.expected.push(expected);
        self.lines.push(line);
    }

    fn touch(&mut self, line: u64, extents: impl IntoIterator<Item = Extent>, is_mapped: bool) {
        let touched = |extent| Touched { line, extent, is_mapped };
        self.touched.extend(extents.into_iter().map(touched));
    }
}

impl Session<'_, '_> {
    /// Does what is put off for an address space.
    pub(super) fn submit(&mut self, domain: DomainId) {
        let Some(space) = self.spaces.get(domain) else { return };
        let work = std::mem::take(&mut space.queue);
        let context = space.context;
        if work.is_empty() {
            return;
        }
        let devices = self.devices(domain);
        for Work { line, what } in &work {
            if let What::Map(extent, _) = what {
                self.before(domain, &devices, *line, extent);
            }
        }
        let mut steps = Steps::default();
        for work in work {
            match work.what {
                What::Map(extent, how) => self.plan_map(domain, work.line, extent, how, &mut steps),
                What::Unmap(range) => self.plan_unmap(domain, work.line, range, &mut steps),
                What::Flush => self.plan_flush(domain, work.line, &mut steps),
            }
        }
        self.call(domain, context, &steps);
        self.count_references();
        self.after(domain, &devices, &steps.touched);
    }

    /// The functions whose turn it is to try something in an address space: one on each unit.
    fn devices(&mut self, domain: DomainId) -> Vec<PciDevice> {
        let Some(space) = self.spaces.get(domain) else { return Vec::new() };
        let mut units = Vec::new();
        let mut devices = Vec::new();
        for device in space.next_members() {
            let unit = self.bed.board().device(device).map(|device| device.unit);
            if !units.contains(&unit) {
                units.push(unit);
                devices.push(device);
            }
        }
        devices
    }

    /// A page that is about to be mapped is not yet: units may cache that.
    fn before(&mut self, domain: DomainId, devices: &[PciDevice], line: u64, extent: &Extent) {
        let page = plan::page(extent.bfn + self.chance.below(extent.pages));
        if self.is_refused(domain, extent.bus()) {
            return;
        }
        let Some(space) = self.spaces.get(domain) else { return };
        let stale = space.stale.within(page);
        let vacant = space.vacant(page).pages() > 0;
        for device in devices {
            let probe = super::Probe { line, ..self.probe_of(*device) };
            for part in &stale {
                probe.stale(part, &mut self.chance, &mut self.sum);
            }
            if let Some(part) = extent.part(page).filter(|_| vacant) {
                probe.gone(&part, &mut self.chance, &mut self.sum);
            }
        }
    }

    fn plan_map(
        &mut self,
        domain: DomainId,
        line: u64,
        extent: Extent,
        how: Prot,
        steps: &mut Steps,
    ) {
        let (bus, call) = (extent.bus(), Call::Map { extent, how });
        if self.is_refused(domain, bus) {
            // A driver asks for reserved ranges and leaves them alone; this one tries, to see
            // them refused, once a device is there whose range it is.
            self.sum.refused_reserved += 1;
            if self.is_refused_now(domain, bus) {
                steps.call(line, call, Done::refused(Errno::EADDRNOTAVAIL));
            }
            return;
        }
        let taken = self.spaces.get(domain).and_then(|space| space.shadow.first_mapped(bus));
        let expected = match taken {
            None => Done::all(extent.pages),
            Some(bfn) => {
                self.sum.oddities += 1;
                Done { pages: bfn - bus.first, ..Done::refused(Errno::EADDRINUSE) }
            }
        };
        steps.call(line, call, expected);
        let mapped = Extent { pages: expected.pages, ..extent };
        if mapped.pages > 0 {
            self.spaces.map(domain, mapped);
            steps.touch(line, [mapped], true);
        }
    }

    fn plan_unmap(&mut self, domain: DomainId, line: u64, range: Span, steps: &mut Steps) {
        let later = self.lazy.is_lazy(domain);
        let parts = self.spaces.unmap(domain, range, later);
        let mapped: u64 = parts.iter().map(|part| part.pages).sum();
        if mapped < range.pages() && !self.is_refused(domain, range) {
            self.sum.oddities += 1;
        }
        // One call for each stretch without a hole: for a whole range, one call.
        for bus in stretches(&parts) {
            steps.call(line, Call::Unmap { bus, later }, Done::all(bus.pages()));
        }
        steps.touch(line, parts, false);
    }

    fn plan_flush(&mut self, domain: DomainId, line: u64, steps: &mut Steps) {
        let waiting = self.spaces.waiting(domain);
        steps.call(line, Call::Flush { waiting }, Done::all(0));
        let flushed = self.spaces.flush(domain);
        steps.touch(line, flushed, false);
    }

    fn call(&mut self, domain: DomainId, context: ContextId, steps: &Steps) {
        let done = self.driver.run(context, &steps.calls, &steps.expected);
        let planned = steps.calls.iter().zip(&steps.expected).zip(&steps.lines);
        for (((call, expected), line), done) in planned.zip(&done) {
            if done != expected {
                self.sum.mismatch(|| format!("line {line}: {call}: {done}, expected {expected}"));
            }
            // What the service says it did not map is not tried: that is one finding, not hundreds.
            if let Call::Map { extent, .. } = call
                && done.pages < expected.pages
            {
                let last = extent.bfn + (expected.pages - 1);
                self.spaces.unmap(domain, Span { first: extent.bfn + done.pages, last }, false);
            }
        }
    }

    /// Tries all that was touched, as it is now that all is done.
    fn after(&mut self, domain: DomainId, devices: &[PciDevice], touched: &[Touched]) {
        for Touched { line, extent, is_mapped } in touched {
            let Some(space) = self.spaces.get(domain) else { return };
            let bus = extent.bus();
            let (live, stale, vacant) = if *is_mapped {
                (space.shadow.within(bus), Vec::new(), None)
            } else {
                (Vec::new(), space.stale.within(bus), Some(space.vacant(bus)))
            };
            for device in devices {
                let probe = super::Probe { line: *line, ..self.probe_of(*device) };
                for part in &live {
                    probe.live(part, &mut self.chance, &mut self.sum);
                }
                for part in &stale {
                    probe.stale(part, &mut self.chance, &mut self.sum);
                }
                let gone = vacant.iter().flat_map(|spans| spans.iter());
                for part in gone.filter_map(|span| extent.part(span)) {
                    probe.gone(&part, &mut self.chance, &mut self.sum);
                }
            }
        }
    }

    /// True if the machine, or a device that is ever in the address space, reserves a part of
    /// `bus`.
    pub(super) fn is_refused(&self, domain: DomainId, bus: Span) -> bool {
        let own = self.plan.refused.get(&domain);
        own.is_some_and(|own| own.touches(bus)) || self.plan.machine_reserved.touches(bus)
    }

    /// The same for the devices that are attached at this moment.
    fn is_refused_now(&mut self, domain: DomainId, bus: Span) -> bool {
        let Some(space) = self.spaces.get(domain) else { return false };
        let own = space.members().iter().flat_map(|member| self.plan.regions(*member));
        plan::enforced_spans(own).touches(bus) || self.plan.machine_reserved.touches(bus)
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
