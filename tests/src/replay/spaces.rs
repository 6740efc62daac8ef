//! The address spaces of a replay: which context each is, who is in it, what it must map.

use std::ops::RangeInclusive;

use pviommu_abi::{ContextId, PciDevice};
use rustc_hash::FxHashMap;

use super::shadow::{Extent, Shadow};
use super::spans::{Span, Spans};
use super::work::Work;
use crate::trace::DomainId;

/// One address space of the trace, served by one context.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) context: ContextId,
    /// The last bus frame it can map.
    pub(super) aperture_last: u64,
    /// What it must map.
    pub(super) shadow: Shadow,
    /// What was unmapped, and may be reached until the next flush.
    pub(super) stale: Shadow,
    /// What is not asked of the service yet.
    pub(super) queue: Vec<Work>,
    /// Unmaps since the last flush, if they wait for one.
    pub(super) unmaps: u32,
    /// Where anything was unmapped since the last flush.
    waiting: Option<Span>,
    /// References that may still be held for it.
    waiting_pages: u64,
    members: Vec<PciDevice>,
    turn: usize,
}

impl Space {
    pub(super) fn new(context: ContextId, aperture_last: u64) -> Self {
        Self {
            context,
            aperture_last,
            shadow: Shadow::default(),
            stale: Shadow::default(),
            queue: Vec::new(),
            unmaps: 0,
            waiting: None,
            waiting_pages: 0,
            members: Vec::new(),
            turn: 0,
        }
    }

    /// The functions attached to it.
    pub(super) fn members(&self) -> &[PciDevice] {
        &self.members
    }

    /// The functions attached to it, the one first whose turn it is to try something.
    pub(super) fn next_members(&mut self) -> impl Iterator<Item = PciDevice> + '_ {
        self.turn = self.turn.wrapping_add(1);
        let (last, first) = self.members.split_at(self.turn % self.members.len().max(1));
        first.iter().chain(last).copied()
    }

    /// The parts of `span` that are neither mapped nor waiting for a flush.
    pub(super) fn vacant(&self, span: Span) -> Spans {
        let taken = self.shadow.within(span).into_iter().chain(self.stale.within(span));
        let taken: Spans = taken.map(|extent| extent.bus()).collect();
        [span].into_iter().collect::<Spans>().difference(&taken)
    }
}

/// All address spaces in use.
#[derive(Default, Debug)]
pub(super) struct Spaces {
    spaces: FxHashMap<DomainId, Space>,
    /// Where each function is, by segment, bus and function as one number; one that is missing is
    /// in the default context.
    places: FxHashMap<u32, DomainId>,
    /// Guest frames that are registers: nothing holds references on those.
    mmio: Spans,
    live: usize,
    most_live: usize,
    /// Pages of memory that are mapped.
    held: u64,
    /// Pages of memory that were unmapped and may still be held.
    waiting: u64,
}

impl Spaces {
    pub(super) fn new(mmio: Spans) -> Self {
        Self { mmio, ..Self::default() }
    }

    pub(super) fn get(&mut self, domain: DomainId) -> Option<&mut Space> {
        self.spaces.get_mut(&domain)
    }

    pub(super) fn insert(&mut self, domain: DomainId, space: Space) {
        self.spaces.insert(domain, space);
    }

    /// The numbers of all, in order, so that a replay does the same every time.
    pub(super) fn domains(&self) -> Vec<DomainId> {
        let mut domains: Vec<DomainId> = self.spaces.keys().copied().collect();
        domains.sort_unstable();
        domains
    }

    /// Puts a function into `domain`, or into the default context; says where it was.
    pub(super) fn put(&mut self, device: PciDevice, domain: Option<DomainId>) -> Option<DomainId> {
        let before = match domain {
            Some(domain) => self.places.insert(device.sbdf(), domain),
            None => self.places.remove(&device.sbdf()),
        };
        if let Some(space) = before.and_then(|before| self.spaces.get_mut(&before)) {
            space.members.retain(|member| *member != device);
        }
        if let Some(space) = domain.and_then(|domain| self.spaces.get_mut(&domain)) {
            space.members.push(device);
        }
        before
    }

    /// The context that a function is in.
    pub(super) fn context_of(&self, device: PciDevice) -> ContextId {
        let space = self.places.get(&device.sbdf()).and_then(|domain| self.spaces.get(domain));
        space.map_or(ContextId::DEFAULT, |space| space.context)
    }

    pub(super) fn remove(&mut self, domain: DomainId) -> Option<(Space, Vec<PciDevice>)> {
        let mut space = self.spaces.remove(&domain)?;
        self.live -= space.shadow.len();
        self.held -= space.shadow.iter().map(|extent| self.memory(extent)).sum::<u64>();
        self.waiting -= space.waiting_pages;
        let members = std::mem::take(&mut space.members);
        for member in &members {
            self.places.remove(&member.sbdf());
        }
        Some((space, members))
    }

    /// An extent, of which nothing is mapped yet, must be mapped from now on. What waited for a
    /// flush there cannot be reached any more.
    pub(super) fn map(&mut self, domain: DomainId, extent: Extent) {
        let pages = self.memory(&extent);
        if let Some(space) = self.spaces.get_mut(&domain) {
            let before = space.shadow.len();
            space.shadow.insert(extent);
            space.stale.remove(extent.bus());
            self.held += pages;
            self.live = self.live + space.shadow.len() - before;
            self.most_live = self.most_live.max(self.live);
        }
    }

    /// What is mapped in `span` must not be from now on, or from the next flush on if that is
    /// `later`; says what that was.
    pub(super) fn unmap(&mut self, domain: DomainId, span: Span, later: bool) -> Vec<Extent> {
        let Some(space) = self.spaces.get_mut(&domain) else { return Vec::new() };
        let parts = space.shadow.within(span);
        let before = space.shadow.len();
        space.shadow.remove(span);
        self.live = self.live + space.shadow.len() - before;
        self.most_live = self.most_live.max(self.live);
        let pages = parts.iter().map(|part| self.memory(part)).sum::<u64>();
        self.held -= pages;
        if let Some(space) = self.spaces.get_mut(&domain).filter(|_| later) {
            for part in &parts {
                let bus = part.bus();
                space.stale.insert(*part);
                space.waiting = Some(space.waiting.map_or(bus, |waiting| waiting.joined(bus)));
            }
            space.waiting_pages += pages;
            self.waiting += pages;
        }
        parts
    }

    /// Where something may wait in an address space.
    pub(super) fn waiting(&self, domain: DomainId) -> Option<Span> {
        self.spaces.get(&domain)?.waiting
    }

    /// Nothing of an address space waits any more; says what could be reached until now.
    pub(super) fn flush(&mut self, domain: DomainId) -> Vec<Extent> {
        let Some(space) = self.spaces.get_mut(&domain) else { return Vec::new() };
        self.waiting -= std::mem::take(&mut space.waiting_pages);
        space.waiting = None;
        space.unmaps = 0;
        std::mem::take(&mut space.stale).iter().copied().collect()
    }

    /// How many references the machine may hold now.
    pub(super) fn references(&self) -> RangeInclusive<u64> {
        self.held..=self.held + self.waiting
    }

    /// Pages of an extent that are memory.
    fn memory(&self, extent: &Extent) -> u64 {
        let memory = Span::of_pages(extent.gfn, extent.pages);
        let registers = [memory].into_iter().collect::<Spans>().intersection(&self.mmio);
        extent.pages - registers.pages()
    }

    /// Most live maps there were at a time.
    pub(super) fn most_live(&self) -> usize {
        self.most_live
    }
}
