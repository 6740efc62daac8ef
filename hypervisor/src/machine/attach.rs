//! Moving devices: between contexts, to a domain, and away from it.
//!
//! Always in this order: the new context takes the device in, the device entry is switched in one
//! step, the old tag is flushed, the old context lets the device go (INV-09, INV-41, INV-42). So
//! every DMA is translated by one table or the other, and an edit of either flushes for it.

use pviommu_abi::{ContextId, Errno};

use super::{Device, EditRoom, Iommu, device::DeviceState, membership::Stopped};
use crate::{
    context::{Context, End, Session, State},
    domain::DomainIommu,
    flush::PendingFlush,
    platform::{Platform, Pool},
    policy,
    table::{Edit, Stash},
};

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

    pub(super) fn let_go(
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
}
