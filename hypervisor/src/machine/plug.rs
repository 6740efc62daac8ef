//! Devices that are listed and not always there.

use pviommu_abi::{Errno, PciDevice};

use super::Iommu;
use crate::platform::Platform;

impl<P: Platform> Iommu<'_, P> {
    /// The device `function` has been plugged in: from now on it is of its group, and may be given. Put it
    /// into [`quarantine`](Self::quarantine) after that, if it needs one.
    ///
    /// # Errors
    /// `-ENODEV`: it is not listed. `-EEXIST`: it is there. `-EBUSY`: somebody has devices of its group, which
    /// would grow: have it be of another first, by [`begin_regroup`](Self::begin_regroup), or tell that it
    /// is so by [`group_changed`](Self::group_changed). `-EAGAIN`: groups are being changed.
    pub fn plug(&self, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let grouping = self.grouping.lock();
        if !device.is_absent() {
            return Err(Errno::EEXIST);
        }
        if grouping.open.is_some() {
            return Err(Errno::EAGAIN);
        }
        let group = device.listed_group();
        let mut beside = self.devices().iter().filter(|it| group.is_some() && it.group() == group);
        if beside.any(|member| member.state.lock().owner.is_some()) {
            return Err(Errno::EBUSY);
        }
        device.set_absent(false);
        Ok(())
    }

    /// The device `function` is about to go: it is of no group, and given to nobody, until
    /// [`plug`](Self::plug). What its firmware needs stays mapped for what comes in its place.
    ///
    /// # Errors
    /// `-ENODEV`: it is not listed, or not there. `-EBUSY`: somebody has it. `-EAGAIN`: it is on its way from
    /// one domain to another, or groups are being changed.
    pub fn unplug(&self, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let rest_is_owned = {
            let grouping = self.grouping.lock();
            if device.is_absent() {
                return Err(Errno::ENODEV);
            }
            let state = *device.state.lock();
            if state.owner.is_some() {
                return Err(Errno::EBUSY);
            }
            if state.held.is_some() || grouping.open.is_some() {
                return Err(Errno::EAGAIN);
            }
            let owned = self.members(device).any(|member| member.state.lock().owner.is_some());
            device.set_absent(true);
            owned
        };
        if rest_is_owned {
            crate::report::warn!(
                "pviommu: {} leaves a group of which somebody has other devices",
                device.function()
            );
        }
        Ok(())
    }
}
