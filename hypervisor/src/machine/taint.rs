//! Groups have changed, and nobody asked: what became reachable is cut off, and the embedder told.

use pviommu_abi::{DomId, Errno, PciDevice};

use super::{
    Fate, Iommu, NewGroup, RegroupError,
    partition::{Side, each_group, mark_changed, restore_order},
};
use crate::platform::Platform;

impl<P: Platform> Iommu<'_, P> {
    /// Notes that devices are grouped as `groups` says already: somebody wrote an ACS register, or a bridge
    /// has come or gone. As for [`begin_regroup`](Self::begin_regroup); one that has been begun is void.
    ///
    /// A device is *tainted* if the members of its group have changed and somebody has one of them, before
    /// or after. Its group is given to nobody until [`approve`](Self::approve); who has it keeps it. And
    /// what can be reached is stopped, by [`IommuHw::stop`](crate::platform::IommuHw::stop): where one domain
    /// has devices of the group, those that are not its own; where several have, all of them, unless each
    /// was given alone at that risk; and all of them where a function behind no unit has come.
    /// [`restart`](Self::restart) refuses tainted devices.
    ///
    /// The number of devices that are tainted; each entry says what has become of its own, and the log
    /// is told.
    ///
    /// # Errors
    /// [`RegroupError::WrongLength`].
    pub fn group_changed(&self, groups: &mut [NewGroup]) -> Result<usize, RegroupError> {
        let devices = self.machine.devices;
        if groups.len() != devices.len() {
            return Err(RegroupError::WrongLength);
        }
        {
            let mut grouping = self.grouping.lock();
            if let Some(ticket) = grouping.open.take() {
                self.release(ticket);
            }
            mark_changed(groups, devices);
            each_group(groups, devices, Side::New, |members| self.cut_off(members));
            each_group(groups, devices, Side::Old, |members| self.spoil(members));
            restore_order(groups);
            self.store_groups(groups);
            for (device, new) in devices.iter().zip(groups.iter()) {
                if new.fate() == Fate::Stopped {
                    device.faults.stop();
                    let sources = device.sources();
                    sources.for_each(|source| self.platform().stop(device.unit(), source));
                }
                if matches!(new.fate(), Fate::Tainted | Fate::Stopped) {
                    device.state.lock().tainted = true;
                }
            }
        }
        let spoilt = groups.iter().zip(devices);
        let spoilt = spoilt.filter(|(new, _)| matches!(new.fate(), Fate::Tainted | Fate::Stopped));
        for (new, device) in spoilt.clone() {
            let end = if new.fate() == Fate::Stopped { "; it was stopped" } else { "" };
            crate::report::error!(
                "pviommu: the group of {} has changed although it has an owner{end}",
                device.function()
            );
        }
        Ok(spoilt.fold(0, |count: usize, _| count.saturating_add(1)))
    }

    /// Of a group as it was: it is tainted if it is not the same and somebody has of it.
    fn spoil(&self, members: &mut [NewGroup]) {
        let changed = members.iter().any(|member| member.fate() != Fate::Unchanged);
        if changed && self.owners(members).next().is_some() {
            members.iter_mut().for_each(|member| member.worsen(Fate::Tainted));
        }
    }

    /// Of a group as it is: the same, and what its owners do not have is stopped.
    fn cut_off(&self, members: &mut [NewGroup]) {
        self.spoil(members);
        let tainted = members.iter().any(|member| member.fate() == Fate::Tainted);
        let first = self.owners(members).next().filter(|_| tainted);
        let Some((first, _)) = first else { return };
        let several = self.owners(members).any(|(owner, _)| owner != first);
        let agreed = self.owners(members).all(|(_, alone)| alone);
        for member in members.iter_mut() {
            let owner = member.device(self.machine.devices).and_then(|it| it.state.lock().owner);
            // What is behind no unit cannot be stopped.
            let exposed = member.is_beside_untranslated();
            if owner.is_none() || exposed || several && !agreed {
                member.worsen(Fate::Stopped);
            }
        }
    }

    /// Who has which of them, and whether each without the others.
    fn owners(&self, members: &[NewGroup]) -> impl Iterator<Item = (DomId, bool)> {
        members.iter().filter_map(|member| {
            let state = *member.device(self.machine.devices)?.state.lock();
            state.owner.map(|owner| (owner, state.alone))
        })
    }

    /// Lets the group of `function`, as it is now, be given away again after it was tainted. What was stopped
    /// is to be [started](Self::restart) after that.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EBUSY`: one of the group has an owner. `-EAGAIN`: it is being
    /// changed.
    pub fn approve(&self, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let _grouping = self.grouping.lock();
        for member in self.members(device) {
            let state = *member.state.lock();
            if state.owner.is_some() {
                return Err(Errno::EBUSY);
            }
            if state.held.is_some() {
                return Err(Errno::EAGAIN);
            }
        }
        self.members(device).for_each(|member| member.state.lock().tainted = false);
        Ok(())
    }
}
