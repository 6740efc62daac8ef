//! Groups change: planned, so that no group with an owner does.
//!
//! ```text
//!  begin_regroup ── refused: a group with an owner would get or lose a member
//!       │
//!       │  the embedder writes its registers; nobody is given what changes
//!       ▼
//!  finish: the new groups hold        dropped: the old ones do
//! ```
//!
//! For a change that nobody asked for see `taint.rs`.

use core::fmt;

use pviommu_abi::{DomId, PciDevice};

use super::{
    Fate, Iommu, NewGroup, Ticket,
    partition::{mark_changed, restore_order},
};
use crate::sync::Ordering;

/// Why groups do not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RegroupError {
    /// There is not one entry for each device.
    WrongLength,
    /// Another change has been begun, or a device that is concerned is on its way from one domain to
    /// another.
    Busy,
    /// The group of this device would get or lose a member, and this domain has the device.
    Owned(PciDevice, DomId),
    /// Groups have changed otherwise since this was begun ([`Iommu::group_changed`]): it is void.
    Void,
}

impl fmt::Display for RegroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength => f.write_str("there is not one group for each device"),
            Self::Busy => f.write_str("groups or owners are being changed by somebody else"),
            Self::Owned(device, owner) => {
                write!(f, "the group of {device} would change, which domain {} has", owner.0)
            }
            Self::Void => f.write_str("groups have changed otherwise meanwhile"),
        }
    }
}

impl core::error::Error for RegroupError {}

/// A change of groups that has been begun. Meanwhile what it concerns is given to nobody. Dropped without
/// [`finish`](Self::finish), the groups are as they were: for registers that could not be written.
#[derive(Debug)]
#[must_use]
pub struct Regroup<'i, 'a, 'n, P> {
    iommu: &'i Iommu<'a, P>,
    groups: &'n [NewGroup],
    ticket: Ticket,
}

impl<'a, P> Iommu<'a, P> {
    /// Begins to group the devices as `groups` says, one entry for each in the order of
    /// [`Machine::devices`](super::Machine::devices). Numbers are only compared: a set of devices that
    /// gets another number has not changed.
    ///
    /// No lock is held between this and the end: write what makes it so (ACS registers) in between.
    ///
    /// # Errors
    /// [`RegroupError`] says why not; nothing has changed then.
    pub fn begin_regroup<'i, 'n>(
        &'i self,
        groups: &'n mut [NewGroup],
    ) -> Result<Regroup<'i, 'a, 'n, P>, RegroupError> {
        let devices = self.machine.devices;
        if groups.len() != devices.len() {
            return Err(RegroupError::WrongLength);
        }
        let mut grouping = self.grouping.lock();
        if grouping.open.is_some() {
            return Err(RegroupError::Busy);
        }
        mark_changed(groups, devices);
        restore_order(groups);
        let concerned = || groups.iter().zip(devices).filter(|(it, _)| it.fate() == Fate::Changed);
        for (_, device) in concerned() {
            let state = *device.state.lock();
            if let Some(owner) = state.owner {
                return Err(RegroupError::Owned(device.function(), owner));
            }
            if state.held.is_some() {
                return Err(RegroupError::Busy);
            }
        }
        let ticket = grouping.ticket();
        concerned().for_each(|(_, device)| device.state.lock().held = Some(ticket));
        grouping.open = Some(ticket);
        Ok(Regroup { iommu: self, groups, ticket })
    }

    /// Has the devices be of these groups, which are in their order. The caller holds the lock of groups.
    ///
    /// Who looks at a group without that lock finds part of it, and never devices of two.
    pub(super) fn store_groups(&self, groups: &[NewGroup]) {
        let all = || self.machine.devices.iter().zip(groups);
        self.group_changes.fetch_add(1, Ordering::AcqRel);
        let renamed = all().filter(|(device, new)| device.listed_group() != new.group());
        renamed.for_each(|(device, _)| device.set_group(None));
        for (device, new) in all() {
            device.set_group(new.group());
            device.set_beside_untranslated(new.is_beside_untranslated());
        }
        self.group_changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How often groups have changed; `None` while they do.
    pub(crate) fn group_changes(&self) -> Option<u64> {
        Some(self.group_changes.load(Ordering::Acquire)).filter(|count| count % 2 == 0)
    }
}

impl<P> Regroup<'_, '_, '_, P> {
    /// The devices whose groups change.
    pub fn changes(&self) -> impl Iterator<Item = PciDevice> {
        let all = self.groups.iter().zip(self.iommu.machine.devices);
        let changed = all.filter(|(new, _)| new.fate() == Fate::Changed);
        changed.map(|(_, device)| device.function())
    }

    /// The new groups hold from now on.
    ///
    /// # Errors
    /// [`RegroupError::Void`]: they do not, and the groups are those of that other change.
    pub fn finish(self) -> Result<(), RegroupError> {
        let mut grouping = self.iommu.grouping.lock();
        if grouping.open != Some(self.ticket) {
            return Err(RegroupError::Void);
        }
        self.iommu.store_groups(self.groups);
        grouping.open = None;
        self.iommu.release(self.ticket);
        Ok(())
    }

    /// The old groups hold again.
    pub fn abandon(self) {}
}

impl<P> Drop for Regroup<'_, '_, '_, P> {
    fn drop(&mut self) {
        let mut grouping = self.iommu.grouping.lock();
        if grouping.open == Some(self.ticket) {
            grouping.open = None;
            self.iommu.release(self.ticket);
        }
    }
}
