//! Which devices are of one group, and their numbers.

use super::{Device, Iommu, Ticket};

/// What is under the lock of groups.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    last: Ticket,
    /// The change of groups that has been begun.
    pub(super) open: Option<Ticket>,
}

impl Grouping {
    /// A number that nothing else has.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.last = self.last.next();
        self.last
    }
}

impl<'a, P> Iommu<'a, P> {
    /// The devices of the group of `device`, itself among them.
    pub(crate) fn members(
        &self,
        device: &Device<'_>,
    ) -> impl Iterator<Item = &'a Device<'a>> + Clone + use<'a, P> {
        let (function, group) = (device.function(), device.group());
        self.machine.devices.iter().filter(move |other| {
            other.function() == function || group.is_some() && other.group() == group
        })
    }

    /// A number for a device, only good for comparing.
    pub(crate) fn number_of(&self, device: &Device<'_>) -> u64 {
        let index = self.index(device).and_then(|index| u64::try_from(index).ok());
        index.map_or(0, |index| index.saturating_add(1))
    }

    /// A number for the group of a device, only good for comparing.
    pub(crate) fn number_of_group(&self, device: &Device<'_>) -> u64 {
        // Not the embedder's number, which may say where on the machine the group is.
        let first = self.members(device).next();
        first.map_or(0, |first| self.number_of(first))
    }

    /// Nothing is kept for `ticket` any more.
    pub(super) fn release(&self, ticket: Ticket) {
        for device in self.machine.devices {
            let mut state = device.state.lock();
            state.held = state.held.filter(|held| *held != ticket);
        }
    }
}
