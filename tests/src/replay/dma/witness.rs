//! What the hypercalls of a guest add up to, and DMA that shows whether it is so.
//!
//! The witness knows nothing of the driver that makes the calls. It reads what they ask for, keeps
//! what must be mapped from then on, and has devices try it: what a call has mapped, what it has
//! unmapped, and, before the call, what it is going to map. A bus frame that is mapped again before
//! it was flushed is a mismatch, whatever the service makes of it.

mod tries;

use pviommu_abi::{ContextId, DomId, PciDevice};
use pviommu_hypervisor::Background;

use super::wire::{Call, Part};
use crate::machine::Bed;
use crate::replay::checks::Probe;
use crate::replay::sample::Chance;
use crate::replay::shadow::Extent;
use crate::replay::spaces::{Space, Spaces};
use crate::replay::spans::{Span, Spans};
use crate::replay::summary::Summary;

/// Maps tried when a function comes or goes.
const ON_MOVING: usize = 32;

/// How many hypercalls there were, and flushes in those that change translations.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    /// Calls that map, unmap or flush.
    pub(super) translations: u64,
    /// All others.
    pub(super) set_up: u64,
    /// Of the first, those that map.
    pub(super) maps: u64,
    /// Invalidations of IOTLBs in calls that map, unmap or flush.
    pub(super) flushes: u64,
    /// Of these, the ones in calls that map and do nothing else.
    pub(super) map_flushes: u64,
}

/// What a guest has asked for so far.
pub(super) struct Witness<'b> {
    bed: &'b Bed<'b>,
    domain: DomId,
    background: Background,
    /// By the number of the context.
    pub(super) spaces: Spaces,
    /// What can be reached no more since it was last looked at, with its context.
    pub(super) gone: Vec<(u64, Span)>,
    pub(super) counts: Counts,
    pub(super) chance: Chance,
    pub(super) sum: Summary,
    /// The line of the trace that gives rise to the calls.
    pub(super) line: u64,
    /// Pages of others that are mapped, with their contexts.
    others: Vec<(u64, Span)>,
    flushes_before: u64,
}

/// A stretch that a call was about.
struct Touched {
    extent: Extent,
    is_mapped: bool,
}

impl<'b> Witness<'b> {
    pub(super) fn new(
        bed: &'b Bed<'b>,
        domain: DomId,
        background: Background,
        mmio: Spans,
        seed: u64,
        sum: Summary,
    ) -> Self {
        Self {
            bed,
            domain,
            background,
            spaces: Spaces::new(mmio),
            gone: Vec::new(),
            counts: Counts::default(),
            chance: Chance::new(seed),
            sum,
            line: 0,
            others: Vec::new(),
            flushes_before: 0,
        }
    }

    /// A function to try something with.
    pub(super) fn probe(&self, device: PciDevice) -> Probe<'b, 'b> {
        let Self { bed, domain, background, line, .. } = *self;
        Probe { bed, domain, device, background, line }
    }

    /// Counts something that was not as it must be.
    pub(super) fn mismatch(&mut self, what: impl FnOnce() -> String) {
        let line = self.line;
        self.sum.mismatch(|| format!("line {line}: {}", what()));
    }

    /// A call is about to be made.
    pub(super) fn before(&mut self, call: &Call) {
        self.flushes_before = self.bed.counters().iotlb_flushes;
        let Call::Translations { context, parts } = call else { return };
        let devices = self.devices(*context);
        let mut unmapped: Vec<Span> = Vec::new();
        for part in parts {
            match part {
                Part::Map(extents) => {
                    for extent in extents {
                        self.before_map(*context, extent.bus(), &unmapped);
                        self.try_vacant(*context, &devices, extent);
                    }
                }
                Part::MapOthers { bus, .. } => self.before_map(*context, *bus, &unmapped),
                Part::Unmap { bus, .. } => unmapped.push(*bus),
                Part::Flush(_) | Part::Nothing => {}
            }
        }
    }

    /// The bus frames of a map are nobody's, and no unit may know of what was there.
    fn before_map(&mut self, context: u64, bus: Span, unmapped: &[Span]) {
        let in_call = unmapped.iter().any(|unmapped| unmapped.overlaps(bus));
        let Some(space) = self.spaces.get(context) else { return };
        let waits = in_call || !space.stale.within(bus).is_empty();
        let taken = space.shadow.first_mapped(bus).is_some() && !in_call;
        if waits {
            self.mismatch(|| format!("{bus:x?} is mapped again before it was flushed"));
        }
        if taken {
            self.mismatch(|| format!("{bus:x?} is mapped already"));
        }
    }

    /// A call was made: so many pages of its parts are done.
    pub(super) fn after(&mut self, call: Call, done: &[u64], allocated: Option<u64>, status: i64) {
        match call {
            Call::Translations { context, parts } => {
                self.counts.translations += 1;
                let flushes = self.bed.counters().iotlb_flushes - self.flushes_before;
                self.counts.flushes += flushes;
                if parts.iter().all(Part::maps) {
                    self.counts.map_flushes += flushes;
                }
                let done = parts.into_iter().zip(done).filter_map(|(part, done)| part.first(*done));
                self.translations(context, done.collect());
                return;
            }
            Call::Allocate => {
                if let Some(context) = allocated {
                    let name = ContextId(u16::try_from(context).unwrap_or(u16::MAX));
                    self.spaces.insert(context, Space::new(name, 0));
                    self.sum.contexts += 1;
                }
            }
            Call::Free { context } if status == 0 => self.free(context),
            Call::Move { device, context } if status == 0 => self.moved(device, context),
            Call::Free { .. } | Call::Move { .. } | Call::Other => {}
        }
        self.counts.set_up += 1;
    }

    fn translations(&mut self, context: u64, parts: Vec<Part>) {
        let mut touched = Vec::new();
        let mut maps = 0;
        for part in parts {
            match part {
                Part::Map(extents) => {
                    maps = 1;
                    for extent in extents {
                        self.map(context, extent);
                        touched.push(Touched { extent, is_mapped: true });
                    }
                }
                Part::MapOthers { bus, .. } => {
                    maps = 1;
                    self.others.push((context, bus));
                }
                Part::Unmap { bus, later } => {
                    let parts = self.spaces.unmap(context, bus, later);
                    touched.extend(
                        parts.into_iter().map(|extent| Touched { extent, is_mapped: false }),
                    );
                    self.unmap_others(context, bus);
                    if !later {
                        self.gone.push((context, bus));
                    }
                }
                Part::Flush(bus) => {
                    let waiting = self.spaces.waiting(context);
                    let is_all =
                        |waiting: Span| bus.is_none_or(|bus| bus.common(waiting) == Some(waiting));
                    // What is flushed in part goes on waiting here: it may be reached, and need not.
                    if waiting.is_none_or(is_all) {
                        for extent in self.spaces.flush(context) {
                            self.gone.push((context, extent.bus()));
                            touched.push(Touched { extent, is_mapped: false });
                        }
                    }
                }
                Part::Nothing => {}
            }
        }
        self.counts.maps += maps;
        self.count_references();
        self.try_touched(context, &touched);
    }

    /// What the service did not refuse is mapped; of what was there already, that was told before.
    fn map(&mut self, context: u64, extent: Extent) {
        let Some(space) = self.spaces.get(context) else { return };
        if space.shadow.first_mapped(extent.bus()).is_none() {
            self.spaces.map(context, extent);
        }
    }

    /// Pages of others go at once: nobody may wait with them.
    fn unmap_others(&mut self, context: u64, bus: Span) {
        self.others.retain(|(of, others)| *of != context || !others.overlaps(bus));
    }

    fn free(&mut self, context: u64) {
        let Some((space, members)) = self.spaces.remove(context) else { return };
        self.others.retain(|(of, _)| *of != context);
        let all: Vec<Extent> = space.shadow.iter().chain(space.stale.iter()).copied().collect();
        self.gone.extend(all.iter().map(|extent| (context, extent.bus())));
        self.count_references();
        let reached = self.chance.some(all.into_iter(), ON_MOVING);
        for member in members {
            self.try_blocked(member, &reached);
        }
    }

    fn moved(&mut self, device: PciDevice, context: u64) {
        let to = Some(context).filter(|context| *context != u64::from(ContextId::DEFAULT.0));
        let left = self.spaces.put(device, to).filter(|left| Some(*left) != to);
        match to {
            Some(context) => {
                let Some(space) = self.spaces.get(context) else { return };
                let live = self.chance.some(space.shadow.iter().copied(), ON_MOVING);
                for extent in &live {
                    self.probe(device).one_live(extent, &mut self.chance, &mut self.sum);
                }
            }
            None => {
                let Some(space) = left.and_then(|left| self.spaces.get(left)) else { return };
                let reached = self.chance.some(space.shadow.iter().copied(), ON_MOVING);
                self.try_blocked(device, &reached);
            }
        }
    }

    /// Pages that are mapped are held, and no others but those that wait for a flush.
    fn count_references(&mut self) {
        let held = self.bed.board().memory().frames.references_live();
        let others: u64 = self.others.iter().map(|(_, bus)| bus.pages()).sum();
        let expected = self.spaces.references();
        let expected = expected.start() + others..=expected.end() + others;
        if !expected.contains(&held) {
            self.mismatch(|| format!("{held} references, expected {expected:?}"));
        }
    }
}

#[cfg(test)]
mod tests;
