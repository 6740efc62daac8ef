//! The address spaces of a replay: which context each is, who is in it, what it must map.

use pviommu_abi::{ContextId, PciDevice};
use rustc_hash::FxHashMap;

use super::shadow::Shadow;
use crate::trace::DomainId;

/// One address space of the trace, served by one context.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) context: ContextId,
    pub(super) shadow: Shadow,
    members: Vec<PciDevice>,
    turn: usize,
}

impl Space {
    pub(super) fn new(context: ContextId) -> Self {
        Self { context, shadow: Shadow::default(), members: Vec::new(), turn: 0 }
    }

    /// The functions attached to it.
    pub(super) fn members(&self) -> &[PciDevice] {
        &self.members
    }

    /// The function whose turn it is to try something, if there is one.
    pub(super) fn next_member(&mut self) -> Option<PciDevice> {
        self.turn = self.turn.wrapping_add(1);
        self.members.get(self.turn % self.members.len().max(1)).copied()
    }
}

/// All address spaces in use.
#[derive(Default, Debug)]
pub(super) struct Spaces {
    spaces: FxHashMap<DomainId, Space>,
    /// Where each function is, by segment, bus and function as one number; one that is missing is
    /// in the default context.
    places: FxHashMap<u32, DomainId>,
    live: usize,
    most_live: usize,
}

impl Spaces {
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
        let members = std::mem::take(&mut space.members);
        for member in &members {
            self.places.remove(&member.sbdf());
        }
        Some((space, members))
    }

    /// Changes what an address space must map, and keeps count over all of them.
    pub(super) fn change(&mut self, domain: DomainId, change: impl FnOnce(&mut Shadow)) {
        if let Some(space) = self.spaces.get_mut(&domain) {
            let before = space.shadow.len();
            change(&mut space.shadow);
            self.live = self.live + space.shadow.len() - before;
            self.most_live = self.most_live.max(self.live);
        }
    }

    /// Most live maps there were at a time.
    pub(super) fn most_live(&self) -> usize {
        self.most_live
    }
}
