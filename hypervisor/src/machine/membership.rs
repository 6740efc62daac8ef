//! A device's place in a context: what its firmware needs, its unit's tag, the count.

use pviommu_abi::Errno;

use super::{Device, EditRoom};
use crate::{
    addr::BfnRange,
    context::{Context, End, Session, State, User},
    domain::Slot,
    flush::PendingFlush,
    format::with_format,
    platform::{Invalidation, Platform, Tag},
    policy,
    reserved::{Reserved, ReservedKind},
    table::{Edit, Paint, Stash, Stop},
};

/// A context, and which one of those that were at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    generation: u64,
}

/// What a device's firmware needs is mapped here, for a device to come.
pub(super) struct Prepared {
    pub(super) place: Place,
}

impl<P: Platform> Session<'_, P> {
    pub(crate) fn place(&self, slot: Slot) -> Option<Place> {
        self.domain.at(slot).map(|context| Place { slot, generation: context.generation() })
    }

    pub(super) fn is_ready(&self, ready: &Option<Prepared>, slot: Slot) -> bool {
        ready.as_ref().is_some_and(|ready| Some(ready.place) == self.place(slot))
    }

    /// The context at `place`, if it is still that one and in use. The caller holds the
    /// administration lock.
    fn still(&self, place: Place) -> Option<&Context> {
        let context = self.domain.at(place.slot)?;
        let same = context.generation() == place.generation;
        (same && context.state() == State::Live).then_some(context)
    }

    /// Maps what the firmware of `device` needs, and blocks what it must not use, in the context at
    /// `place`: all of it, or nothing stays.
    ///
    /// The record of it comes first, and keeps the guest away from those bus frames (INV-32, INV-33).
    pub(super) fn prepare(
        &self,
        device: &Device<'_>,
        place: Place,
        stash: &mut Stash,
        room: &mut EditRoom,
    ) -> Result<Prepared, End> {
        if device.reserved().is_empty() {
            return Ok(Prepared { place });
        }
        self.record(device, place).map_err(End::Failed)?;
        let painted = loop {
            let mut edit = Edit::new(stash, PendingFlush::new(&mut room.flush));
            let painted = self.paint_reserved(device, place, &mut edit);
            // The devices that are there already lose what was there.
            let flushed = match self.domain.at(place.slot) {
                Some(context) => self.complete(context, &mut edit.pending),
                None => Err(Errno::ENOENT),
            };
            match painted.and_then(|stop| flushed.map(|()| stop)) {
                Err(errno) => break Err(End::Failed(errno)),
                Ok(None) => break self.end_waits_in(device, place),
                Ok(Some(Stop::PendingFull)) => {}
                Ok(Some(Stop::NeedTables(frames, pool))) => {
                    // Outside the locks: the embedder's memory may have locks of its own.
                    let Some(context) = self.domain.at(place.slot) else {
                        break Err(End::Failed(Errno::ENOENT));
                    };
                    let stocked = self.stock(context, stash, frames, pool, &mut room.aside);
                    if let Err(end) = stocked {
                        break Err(end);
                    }
                }
                Ok(Some(Stop::Occupied)) => break Err(End::Failed(Errno::EADDRINUSE)),
                Ok(Some(_)) => break Err(End::Failed(Errno::EIO)),
            }
        };
        if painted.is_err() {
            // It was never here, so no unit walks this table for it.
            self.withdraw(device, place, stash, room, |_| true);
        }
        painted.map(|()| Prepared { place })
    }

    /// Flushes what was unmapped in the ranges of `device` to be flushed later: a unit may have it
    /// cached under the tag that the device comes under.
    fn end_waits_in(&self, device: &Device<'_>, place: Place) -> Result<(), End> {
        let context = self.domain.at(place.slot).ok_or(End::Failed(Errno::ENOENT))?;
        let mut ranges = device.enforced();
        let flushed =
            ranges.try_for_each(|range| self.flush_waiting(context, Some(range)).map(|_| ()));
        flushed.map_err(End::Failed)
    }

    /// Notes that the ranges of `device` are reserved now.
    fn record(&self, device: &Device<'_>, place: Place) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let context = self.still(place).ok_or(Errno::EINVAL)?;
        if self.is_frozen(context) {
            return Err(Errno::EIO);
        }
        context.exclusively(self.gate, || {
            // A range that a guest has mapped already cannot become the device's own.
            let clear = device.enforced().all(
                |range| with_format!(self.iommu.format(), F => self.is_clear::<F>(context, range)),
            );
            if !clear {
                return Err(Errno::EADDRINUSE);
            }
            context.reserved.add(device.reserved())
        })
    }

    /// Paints the ranges of `device`; what it takes to go on, if anything.
    fn paint_reserved(
        &self,
        device: &Device<'_>,
        place: Place,
        edit: &mut Edit<'_>,
    ) -> Result<Option<Stop>, Errno> {
        let _admin = self.domain.administer();
        let context = self.still(place).ok_or(Errno::EINVAL)?;
        let aperture = context.aperture();
        Ok(context.exclusively(self.gate, || {
            device.reserved().iter().find_map(|reserved| {
                let (range, paint) = painted(reserved, aperture)?;
                with_format!(self.iommu.format(), F => {
                    self.table::<F>(context).paint(range, paint, edit).err()
                })
            })
        }))
    }

    /// Gives what was reserved for `device` back to the background, as far as no other device
    /// reserves it.
    pub(super) fn unprepare(
        &self,
        device: &Device<'_>,
        place: Place,
        stash: &mut Stash,
        room: &mut EditRoom,
    ) {
        // A unit that has failed may walk the table for the device still.
        self.withdraw(device, place, stash, room, |context| !self.is_frozen(context));
    }

    /// The same, if the context is one that it `may` be taken out of.
    fn withdraw(
        &self,
        device: &Device<'_>,
        place: Place,
        stash: &mut Stash,
        room: &mut EditRoom,
        may: impl FnOnce(&Context) -> bool,
    ) {
        if device.reserved().is_empty() {
            return;
        }
        let mut edit = Edit::new(stash, PendingFlush::new(&mut room.flush));
        let context = {
            let _admin = self.domain.administer();
            let Some(context) = self.still(place).filter(|context| may(context)) else { return };
            context.exclusively(self.gate, || {
                context.reserved.remove(device.reserved());
                with_format!(self.iommu.format(), F => {
                    self.restore_background::<F>(context, device.enforced(), &mut edit);
                });
            });
            context
        };
        // Nothing that anybody holds was there: a unit that does not answer has failed, and is known
        // to have.
        let _ = self.complete(context, &mut edit.pending);
    }

    /// Counts one more device behind its unit, which must be able to walk the table; the tag it is to
    /// be attached under. `spare` tags of the unit are for others.
    pub(super) fn add_user(
        &self,
        context: &Context,
        device: &Device<'_>,
        spare: u32,
    ) -> Result<Tag, Errno> {
        let id = device.unit();
        if let Some(user) = context.users.find(id) {
            let devices = user.devices.checked_add(1).ok_or(Errno::ENOSPC)?;
            context.users.set(User { devices, ..user });
            return Ok(user.tag);
        }
        let unit = self.iommu.unit(id).ok_or(Errno::ENODEV)?;
        policy::may_walk(unit.facts(), self.iommu.shape())?;
        let tag = unit.take_tag(spare).ok_or(Errno::ENOSPC)?;
        if context.users.set(User { unit: id, tag, devices: 1 }) {
            Ok(tag)
        } else {
            unit.give_tag(tag);
            Err(Errno::ENOSPC)
        }
    }

    /// Forgets a device whose entries do not name this context any more: what its unit has cached, and
    /// what is under way.
    pub(super) fn remove_user(&self, context: &Context, device: &Device<'_>) -> Result<(), Errno> {
        let Some(user) = context.users.find(device.unit()) else { return Ok(()) };
        self.drain(user)?;
        let devices = user.devices.saturating_sub(1);
        context.users.set(User { devices, ..user });
        if let Some(unit) = self.iommu.unit(user.unit).filter(|_| devices == 0) {
            unit.give_tag(user.tag);
        }
        Ok(())
    }

    /// Has a unit forget all that it has cached for a context, and finish what is under way.
    pub(super) fn drain(&self, user: User) -> Result<(), Errno> {
        self.invalidate(user, Invalidation::Everything).map_err(|_| Errno::EIO)
    }
}

/// What becomes of a reserved range in a context with this aperture; `None` if nothing does.
pub(super) fn painted(reserved: &Reserved, aperture: BfnRange) -> Option<(BfnRange, Paint)> {
    match reserved.kind {
        // Also where the guest may map nothing.
        ReservedKind::Direct => Some((reserved.range, Paint::Direct(reserved.access))),
        _ if !reserved.enforced() => None,
        _ => reserved.range.intersection(aperture).map(|range| (range, Paint::Blocked)),
    }
}
