//! Devices that come to an address space and leave it, and its end.

use pviommu_abi::{ContextId, PciDevice};

use super::Session;
use crate::replay::plan;
use crate::replay::shadow::Extent;
use crate::replay::spaces::Space;
use crate::replay::spans::Spans;
use crate::trace::{Attach, DomainId};

/// Maps tried when a function comes to an address space that has some.
const ON_ARRIVAL: usize = 64;
/// Maps tried when a function has left an address space.
const ON_LEAVING: usize = 16;

impl Session<'_, '_> {
    pub(super) fn attach(&mut self, attach: &Attach) {
        let Attach { domain, device, .. } = *attach;
        if !attach.kind.translates() {
            self.block(device);
            return;
        }
        let Some(context) = self.context(domain) else { return };
        let answer = self.driver.attach(device, context);
        if !self.succeeded(answer, &format!("attach {device} to context {}", context.0)) {
            return;
        }
        let left = self.spaces.put(device, Some(domain)).filter(|left| *left != domain);
        let left = left.map(|left| self.sample(left, ON_LEAVING));
        let live = self.sample(domain, ON_ARRIVAL);
        let probe = self.probe_of(device);
        for extent in &live {
            probe.one_live(extent, &mut self.chance, &mut self.sum);
        }
        let Some(space) = self.spaces.get(domain) else { return };
        let stale = self.chance.some(space.stale.iter().copied(), ON_ARRIVAL);
        for extent in &stale {
            probe.one_stale(extent, &mut self.chance, &mut self.sum);
        }
        // What it could reach where it was, as far as nothing else is there now.
        for extent in left.iter().flatten() {
            let reserved = self.is_refused(domain, extent.bus());
            let vacant = self.spaces.get(domain).map(|space| space.vacant(extent.bus()));
            let parts = vacant.iter().flat_map(|spans| spans.iter()).filter(|_| !reserved);
            for part in parts.filter_map(|span| extent.part(span)) {
                probe.one_gone(&part, &mut self.chance, &mut self.sum);
            }
        }
        self.edges(domain, device);
    }

    /// Tries the ends of what a function can reach, and what is reserved for it.
    fn edges(&mut self, domain: DomainId, device: PciDevice) {
        let probe = self.probe_of(device);
        let Some(space) = self.spaces.get(domain) else { return };
        let last = space.aperture_last;
        let span = plan::page(last);
        let is_vacant = space.vacant(span).pages() > 0;
        if is_vacant && !self.is_refused(domain, span) {
            probe.never_mapped(last, &mut self.sum);
        }
        let own = plan::enforced_spans(self.plan.regions(device));
        let reserved: Spans = own.iter().chain(self.plan.machine_reserved.iter()).collect();
        let ends = reserved.iter().flat_map(|span| [span.first, span.last]);
        for bfn in ends.chain([last + 1]) {
            probe.off_limits(bfn, &mut self.sum);
        }
    }

    /// Puts a function into the default context, which blocks all its DMA.
    pub(super) fn block(&mut self, device: PciDevice) {
        if !self.plan.devices.contains_key(&device.sbdf()) {
            return;
        }
        let answer = self.driver.attach(device, ContextId::DEFAULT);
        if self.succeeded(answer, &format!("attach {device} to the default context"))
            && let Some(left) = self.spaces.put(device, None)
        {
            let reached = self.sample(left, ON_LEAVING);
            self.out_of_reach(device, &reached);
        }
    }

    /// Frees the context of an address space.
    pub(super) fn free(&mut self, domain: DomainId) {
        let Some((space, members)) = self.spaces.remove(domain) else { return };
        let answer = self.driver.free(space.context);
        self.succeeded(answer, &format!("free context {}", space.context.0));
        self.count_references();
        let reached = self.chance.some(reachable(&space), ON_LEAVING);
        for member in members {
            self.out_of_reach(member, &reached);
        }
    }

    /// About `most` of what can be reached in an address space by maps.
    fn sample(&mut self, domain: DomainId, most: usize) -> Vec<Extent> {
        let Some(space) = self.spaces.get(domain) else { return Vec::new() };
        self.chance.some(space.shadow.iter().copied(), most)
    }

    fn out_of_reach(&mut self, device: PciDevice, extents: &[Extent]) {
        let probe = self.probe_of(device);
        for extent in extents {
            probe.one_blocked(extent, &mut self.chance, &mut self.sum);
        }
    }
}

/// What an address space maps, and what it mapped and has not flushed.
fn reachable(space: &Space) -> impl Iterator<Item = Extent> + '_ {
    space.shadow.iter().chain(space.stale.iter()).copied()
}
