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
    machine::{Scratch, with_format},
    platform::{Invalidation, Platform, Tag},
    policy,
    sync::full_fence,
};

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
    pub(crate) fn reattach(&self, device: &Device<'_>, to: ContextId) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let mut state = device.state.lock();
        let target = self.domain.context(to).map(|context| (context, context.state()));
        policy::may_be_moved(self.domain.id(), state.owner, to, target.map(|(_, state)| state))?;
        if state.context == to {
            return Ok(());
        }
        self.move_to(device, &mut state, to, target.map(|(context, _)| context))
    }

    /// Moves every device in `from` to the default context. The caller holds the administration
    /// lock.
    pub(crate) fn evacuate(&self, from: ContextId) -> Result<(), Errno> {
        for device in self.iommu.devices() {
            let mut state = device.state.lock();
            if state.owner == Some(self.domain.id()) && state.context == from {
                self.move_to(device, &mut state, ContextId::DEFAULT, None)?;
            }
        }
        Ok(())
    }

    /// Takes a device away from the domain.
    pub(super) fn take_away(&self, device: &Device<'_>) -> Result<(), Errno> {
        let _admin = self.domain.administer();
        let mut state = device.state.lock();
        if state.owner != Some(self.domain.id()) {
            return Err(Errno::ENODEV);
        }
        self.let_go(device, &mut state)
    }

    fn let_go(&self, device: &Device<'_>, state: &mut DeviceState) -> Result<(), Errno> {
        if state.context != ContextId::DEFAULT {
            self.move_to(device, state, ContextId::DEFAULT, None)?;
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
    ) -> Result<(), Errno> {
        let tag = match target {
            Some(target) => Some((target, self.take_in(target, device)?)),
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
            return Err(Errno::EIO);
        }
        let from = self.domain.context(state.context);
        state.context = to;
        match from {
            Some(from) => self.leave(from, device).inspect_err(|_| state.broken = true),
            None => Ok(()),
        }
    }

    /// Prepares `context` for one more device: reserved ranges, tag and count.
    fn take_in(&self, context: &Context, device: &Device<'_>) -> Result<Tag, Errno> {
        let ranges = enforced(device);
        context.exclusively(self.gate, || {
            // A range that a guest has mapped already cannot become the device's own.
            let clear = ranges.clone().all(|range| {
                with_format!(self.iommu.format(), F => self.is_unmapped::<F>(context, range))
            });
            if !clear {
                return Err(Errno::EADDRINUSE);
            }
            context.add_reserved(ranges.clone()).then_some(()).ok_or(Errno::ENOSPC)
        })?;
        let taken = self.add_user(context, device);
        if taken.is_err() {
            context.exclusively(self.gate, || context.remove_reserved(ranges));
        }
        // An edit that does not see the unit yet was stored before the unit can walk the table.
        full_fence();
        taken
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
    fn leave(&self, context: &Context, device: &Device<'_>) -> Result<(), Errno> {
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
        context.exclusively(self.gate, || context.remove_reserved(enforced(device)));
        Ok(())
    }

    /// Takes all devices away and lets nobody use a context any more; the first error.
    fn let_everything_go(&self) -> Option<Errno> {
        let _admin = self.domain.administer();
        self.domain.set_dying();
        let mut first_error = None;
        for device in self.iommu.devices() {
            let mut state = device.state.lock();
            if state.owner == Some(self.domain.id()) {
                first_error = first_error.or(self.let_go(device, &mut state).err());
            }
        }
        let contexts = self.domain.granted_contexts();
        for (_, context) in contexts.filter(|(_, context)| context.state() == State::Live) {
            context.close(self.gate);
        }
        first_error
    }

    /// A piece of taking everything from the domain.
    pub(super) fn tear_down(&self, scratch: &mut Scratch) -> End {
        let mut first_error = self.let_everything_go();
        for (_, context) in self.domain.granted_contexts() {
            if !context.users.is_empty() {
                // Behind a failed unit: what it may still reach is never given back.
                continue;
            }
            match self.sweep(context, scratch) {
                End::Finished => {}
                End::Yield => return End::Yield,
                End::Failed(errno) => first_error = first_error.or(Some(errno)),
            }
        }
        first_error.map_or(End::Finished, End::Failed)
    }
}
