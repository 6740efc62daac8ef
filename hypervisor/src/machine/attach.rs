//! Moving devices: between contexts, to a domain, and away from it.
//!
//! Always in this order: the new context takes the device in, the device entry is switched in one
//! step, the old tag is flushed, the old context lets the device go (INV-09, INV-41, INV-42). So
//! every DMA is translated by one table or the other, and an edit of either flushes for it.

use pviommu_abi::{ContextId, Errno};

use super::{Device, Iommu, device::DeviceState};
use crate::{
    addr::BfnRange,
    context::{Context, End, Session, State, User},
    domain::DomainIommu,
    flush::PendingFlush,
    machine::{EditRoom, with_format},
    platform::{Invalidation, Platform, Pool, Tag},
    policy,
    sync::full_fence,
    table::{Edit, Paint, Stash, Stop},
};

/// Why a device was not moved.
enum Stopped {
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

impl<P: Platform> Iommu<'_, P> {
    /// Makes `domain` the owner of a device that has none.
    pub(super) fn give(&self, domain: &DomainIommu<'_>, device: &Device<'_>) -> Result<(), Errno> {
        let _admin = domain.administer();
        if domain.is_dying() {
            return Err(Errno::ESRCH);
        }
        let mut state = device.state.lock();
        policy::may_be_given(state.owner, state.broken)?;
        self.on_unit(device.unit(), |hw| hw.block(device.unit(), device.source()))
            .map_err(|_| Errno::EIO)?;
        *state =
            DeviceState { owner: Some(domain.id()), context: ContextId::DEFAULT, broken: false };
        Ok(())
    }
}

impl<P: Platform> Session<'_, P> {
    /// Moves a device of the domain to the context `to`.
    pub(crate) fn reattach(&self, device: &Device<'_>, to: ContextId, room: &mut EditRoom) -> End {
        let mut stash = Stash::new();
        let end = loop {
            let edit = Edit::new(&mut stash, PendingFlush::new(&mut room.flush));
            match self.try_reattach(device, to, edit) {
                Ok(()) => break End::Finished,
                Err(Stopped::Because(errno)) => break End::Failed(errno),
                Err(Stopped::NeedTables(frames)) => {
                    // Outside the locks: the embedder's memory may have locks of its own.
                    let Some(target) = self.domain.context(to) else {
                        break End::Failed(Errno::ENOENT);
                    };
                    let aside = &mut room.aside;
                    if let Err(end) = self.stock(target, &mut stash, frames, Pool::Open, aside) {
                        break end;
                    }
                }
            }
        };
        if let Some(target) = self.domain.context(to).filter(|_| end != End::Finished) {
            // What was prepared for the device and is nobody's now.
            let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room.flush));
            let _admin = self.domain.administer();
            if target.state() == State::Live {
                target.exclusively(self.gate, || self.restore(target, device, &mut edit));
            }
            // Only entries that were not present have changed: nothing has to be released.
            let _ = self.complete(target, &mut edit.pending);
        }
        self.empty(&mut stash);
        end
    }

    fn try_reattach(
        &self,
        device: &Device<'_>,
        to: ContextId,
        mut edit: Edit<'_>,
    ) -> Result<(), Stopped> {
        let _admin = self.domain.administer();
        let mut state = device.state.lock();
        let target = self.domain.context(to).map(|context| (context, context.state()));
        policy::may_be_moved(self.domain.id(), state.owner, to, target.map(|(_, state)| state))?;
        if state.context == to {
            return Ok(());
        }
        self.move_to(device, &mut state, to, target.map(|(context, _)| context), &mut edit)
    }

    /// Moves a device to the default context, which takes nothing but a device entry.
    fn block(
        &self,
        device: &Device<'_>,
        state: &mut DeviceState,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        let mut stash = Stash::new();
        let mut edit = Edit::new(&mut stash, PendingFlush::new(&mut room.flush));
        let moved = self.move_to(device, state, ContextId::DEFAULT, None, &mut edit);
        moved.map_err(|stopped| match stopped {
            Stopped::Because(errno) => errno,
            Stopped::NeedTables(_) => Errno::ENOMEM,
        })
    }

    /// Moves every device in `from` to the default context. The caller holds the administration
    /// lock.
    pub(crate) fn evacuate(&self, from: ContextId, room: &mut EditRoom) -> Result<(), Errno> {
        for device in self.iommu.devices() {
            let mut state = device.state.lock();
            if state.owner == Some(self.domain.id()) && state.context == from {
                self.block(device, &mut state, room)?;
            }
        }
        Ok(())
    }

    /// Takes a device away from the domain.
    pub(super) fn take_away(&self, device: &Device<'_>, room: &mut EditRoom) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let mut state = device.state.lock();
        if state.owner != Some(self.domain.id()) {
            return Err(Errno::ENODEV);
        }
        self.let_go(device, &mut state, room)
    }

    fn let_go(
        &self,
        device: &Device<'_>,
        state: &mut DeviceState,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        if state.context != ContextId::DEFAULT {
            self.block(device, state, room)?;
        }
        state.owner = None;
        Ok(())
    }

    /// Switches the device entry and keeps account of it on both sides. `target` is `None` for
    /// the default context, which blocks.
    fn move_to(
        &self,
        device: &Device<'_>,
        state: &mut DeviceState,
        to: ContextId,
        target: Option<&Context>,
        edit: &mut Edit<'_>,
    ) -> Result<(), Stopped> {
        let tag = match target {
            Some(target) => Some((target, self.take_in(target, device, edit)?)),
            None => None,
        };
        let (unit, source) = (device.unit(), device.source());
        let switched = self.iommu.on_unit(unit, |hw| match tag {
            Some((target, tag)) => hw.attach(unit, source, target.root(), tag),
            None => hw.block(unit, source),
        });
        if switched.is_err() {
            // Either entry may be in force: both contexts keep the unit, which has failed, and
            // nothing behind it is edited or freed any more.
            state.broken = true;
            return Err(Errno::EIO.into());
        }
        let from = self.domain.context(state.context);
        state.context = to;
        match from {
            Some(from) => {
                let left = self.leave(from, device, edit).inspect_err(|_| state.broken = true);
                left.map_err(Stopped::from)
            }
            None => Ok(()),
        }
    }

    /// Prepares `context` for one more device: reserved ranges, tag and count.
    fn take_in(
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
    fn restore(&self, context: &Context, device: &Device<'_>, edit: &mut Edit<'_>) {
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
    fn leave(
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

    /// Takes all devices away and lets nobody use a context any more; the first error.
    fn let_everything_go(&self, room: &mut EditRoom) -> Option<Errno> {
        let _admin = self.domain.administer();
        self.domain.set_dying();
        let mut first_error = None;
        for device in self.iommu.devices() {
            let mut state = device.state.lock();
            if state.owner == Some(self.domain.id()) {
                first_error = first_error.or(self.let_go(device, &mut state, room).err());
            }
        }
        let contexts = self.domain.granted_contexts();
        for (_, context) in contexts.filter(|(_, context)| context.state() == State::Live) {
            context.close(self.gate);
        }
        first_error
    }

    /// A piece of taking everything from the domain.
    pub(super) fn tear_down(&self, room: &mut EditRoom) -> End {
        let mut first_error = self.let_everything_go(room);
        for (_, context) in self.domain.granted_contexts() {
            if !context.users.is_empty() {
                // Behind a failed unit: what it may still reach is never given back.
                continue;
            }
            match self.sweep(context, room) {
                End::Finished => {}
                End::Yield => return End::Yield,
                End::Failed(errno) => first_error = first_error.or(Some(errno)),
            }
        }
        first_error.map_or(End::Finished, End::Failed)
    }
}
