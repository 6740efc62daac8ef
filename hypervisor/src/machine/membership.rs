//! A device's place in a context: the ranges reserved for it, its unit's tag, the count.

use pviommu_abi::Errno;

use super::{Device, with_format};
use crate::{
    addr::BfnRange,
    context::{Context, Session, User},
    platform::{Invalidation, Platform, Tag},
    sync::full_fence,
    table::{Edit, Paint, Stop},
};

/// Why a device was not moved.
pub(super) enum Stopped {
    Because(Errno),
    /// This many table frames must be put into the stash first.
    NeedTables(u8),
}

impl From<Errno> for Stopped {
    fn from(errno: Errno) -> Self {
        Self::Because(errno)
    }
}

impl From<Stop> for Stopped {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::NeedTables(frames, _) => Self::NeedTables(frames),
            _ => Self::Because(Errno::EIO),
        }
    }
}

fn enforced<'d>(device: &Device<'d>) -> impl Iterator<Item = BfnRange> + Clone + use<'d> {
    device.reserved().iter().filter(|reserved| reserved.enforced()).map(|reserved| reserved.range)
}

impl<P: Platform> Session<'_, P> {
    /// Prepares `context` for one more device: reserved ranges, tag and count.
    pub(super) fn take_in(
        &self,
        context: &Context,
        device: &Device<'_>,
        edit: &mut Edit<'_>,
    ) -> Result<Tag, Stopped> {
        let ranges = enforced(device);
        let prepared = context.exclusively(self.gate, || {
            // A range that a guest has mapped already cannot become the device's own.
            let clear = ranges.clone().all(|range| {
                with_format!(self.iommu.format(), F => self.is_unmapped::<F>(context, range))
            });
            if !clear {
                return Err(Errno::EADDRINUSE.into());
            }
            for range in ranges.clone().filter_map(|range| range.intersection(context.aperture())) {
                with_format!(self.iommu.format(), F => {
                    self.table::<F>(context).paint(range, Paint::Blocked, edit)
                })?;
            }
            context.add_reserved(ranges.clone()).then_some(()).ok_or(Stopped::from(Errno::ENOSPC))
        });
        // The devices that are there already lose the background in those ranges, or in some if
        // this was stopped.
        let flushed = self.complete(context, &mut edit.pending);
        prepared?;
        let taken = flushed.and_then(|()| self.add_user(context, device));
        if taken.is_err() {
            context.exclusively(self.gate, || context.remove_reserved(ranges));
        }
        // An edit that does not see the unit yet was stored before the unit can walk the table.
        full_fence();
        Ok(taken?)
    }

    /// Gives the ranges of `device` back to the background, as far as nobody else reserves them. The
    /// caller holds the administration lock and keeps everybody else out.
    pub(super) fn restore(&self, context: &Context, device: &Device<'_>, edit: &mut Edit<'_>) {
        with_format!(self.iommu.format(), F => {
            self.restore_background::<F>(context, enforced(device), edit);
        });
    }

    fn add_user(&self, context: &Context, device: &Device<'_>) -> Result<Tag, Errno> {
        let id = device.unit();
        if let Some(user) = context.users.find(id) {
            let devices = user.devices.checked_add(1).ok_or(Errno::ENOSPC)?;
            context.users.set(User { devices, ..user });
            return Ok(user.tag);
        }
        let unit = self.iommu.unit(id).ok_or(Errno::ENODEV)?;
        let tag = unit.take_tag().ok_or(Errno::ENOSPC)?;
        if context.users.set(User { unit: id, tag, devices: 1 }) {
            Ok(tag)
        } else {
            unit.give_tag(tag);
            Err(Errno::ENOSPC)
        }
    }

    /// Forgets a device whose entry no longer names this context.
    pub(super) fn leave(
        &self,
        context: &Context,
        device: &Device<'_>,
        edit: &mut Edit<'_>,
    ) -> Result<(), Errno> {
        let id = device.unit();
        let Some(user) = context.users.find(id) else { return Ok(()) };
        // Drains what the device had under way, too.
        self.iommu
            .on_unit(id, |hw| hw.invalidate(id, user.tag, Invalidation::Everything))
            .map_err(|_| Errno::EIO)?;
        let devices = user.devices.saturating_sub(1);
        context.users.set(User { devices, ..user });
        if let Some(unit) = self.iommu.unit(id).filter(|_| devices == 0) {
            unit.give_tag(user.tag);
        }
        context.exclusively(self.gate, || {
            context.remove_reserved(enforced(device));
            self.restore(context, device, edit);
        });
        self.complete(context, &mut edit.pending)
    }
}
