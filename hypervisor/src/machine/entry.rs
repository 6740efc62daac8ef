//! Switching the entries of a device: all of them, or none.

use pviommu_abi::{ContextId, Errno};

use super::{Device, DeviceState, Home, Place};
use crate::{
    context::{Context, Session},
    domain::Slot,
    platform::{AttachError, Platform, SourceId, TableRoot, Tag, UnitError},
    policy,
    sync::full_fence,
};

/// What an entry names; `None` blocks.
type Target = Option<(TableRoot, Tag)>;

/// What a switch has left to be done.
pub(crate) struct Switched {
    /// The context that the device is not in any more.
    pub(super) left: Option<Place>,
    pub(super) end: Result<(), Errno>,
}

impl Switched {
    fn failed(errno: Errno) -> Self {
        Self { left: None, end: Err(errno) }
    }
}

impl<P: Platform> Session<'_, P> {
    /// Points all entries of `device` at its new home, and flushes what was cached for the old one.
    ///
    /// If one of the entries cannot be switched, those before it are put back (INV-40). A device that
    /// cannot be put back is blocked, and is broken from then on. The caller holds the administration
    /// lock.
    pub(crate) fn switch(
        &self,
        device: &Device<'_>,
        state: &mut DeviceState,
        to: Home,
    ) -> Switched {
        let from = state.home;
        if from == to {
            return Switched { left: None, end: Ok(()) };
        }
        let target = match self.come(device, to) {
            Ok(target) => target,
            Err(errno) => return Switched::failed(errno),
        };
        // An edit that does not see the unit yet was stored before the unit can walk the table.
        full_fence();
        let mut done = 0usize;
        let switched = device.sources().try_for_each(|source| {
            self.point(device, source, target)?;
            done = done.saturating_add(1);
            Ok(())
        });
        match switched {
            Ok(()) => {
                device.settle(state, to);
                let left = self.left(from);
                let end = self.go(device, from).inspect_err(|_| state.broken = true);
                Switched { left, end }
            }
            Err(AttachError::Refused) => self.put_back(device, state, done, to),
            Err(AttachError::Failed) => {
                // Either entry may be in force: both contexts keep the unit, which has failed, and
                // nothing behind it is edited or freed any more.
                state.broken = true;
                Switched::failed(Errno::EIO)
            }
        }
    }

    /// The first `done` entries of the device go back to what they were before they were switched `to`
    /// something else.
    fn put_back(
        &self,
        device: &Device<'_>,
        state: &mut DeviceState,
        done: usize,
        to: Home,
    ) -> Switched {
        let from = state.home;
        let old = self.target(device, from);
        let back =
            device.sources().take(done).try_for_each(|source| self.point(device, source, old));
        if back.is_ok() {
            // What was translated by the new table for an instant is cached under its tag.
            let gone = self.go(device, to);
            return Switched::failed(gone.err().unwrap_or(Errno::ENOMEM));
        }
        state.broken = true;
        let blocked = device.sources().try_for_each(|source| self.point(device, source, None));
        if blocked.is_err() {
            return Switched::failed(Errno::EIO);
        }
        device.settle(state, Home::Blocked);
        let left = self.left(from);
        let end = self.go(device, to).and(self.go(device, from)).and(Err(Errno::EIO));
        Switched { left, end }
    }

    /// Points one entry.
    fn point(
        &self,
        device: &Device<'_>,
        source: SourceId,
        target: Target,
    ) -> Result<(), AttachError> {
        let unit = device.unit();
        let mut refused = false;
        let done = self.iommu.on_unit(unit, |hw| match target {
            None => hw.block(unit, source),
            Some((root, tag)) => match hw.attach(unit, source, root, tag) {
                Err(AttachError::Refused) => {
                    refused = true;
                    Ok(())
                }
                Err(AttachError::Failed) => Err(UnitError),
                Ok(()) => Ok(()),
            },
        });
        match done {
            Ok(()) if refused => Err(AttachError::Refused),
            done => done.map_err(AttachError::from),
        }
    }

    /// Counts the device in its new home; what its entries are to name.
    fn come(&self, device: &Device<'_>, to: Home) -> Result<Target, Errno> {
        match to {
            Home::Blocked => Ok(None),
            Home::Quarantine => {
                self.wipe_quarantine(device);
                self.target(device, to).map(Some).ok_or(Errno::ENOENT)
            }
            Home::In(slot) => {
                let context = self.domain.at(slot).ok_or(Errno::ENOENT)?;
                if self.domain.id_of(slot) != ContextId::DEFAULT
                    && context.users.find(device.unit()).is_none()
                {
                    let tags = self.domain.tags_of(device.unit());
                    policy::may_take_tag(self.domain.limits(), tags)?;
                }
                let tag = self.add_user(context, device, self.spare_tags(slot))?;
                Ok(Some((context.root(), tag)))
            }
        }
    }

    /// What the entries of `device` name at `home`.
    fn target(&self, device: &Device<'_>, home: Home) -> Target {
        let context = self.context_at(device, home)?;
        let user = context.users.find(device.unit())?;
        Some((context.root(), user.tag))
    }

    /// The device has left `home`: flushes, and counts.
    pub(super) fn go(&self, device: &Device<'_>, home: Home) -> Result<(), Errno> {
        let Some(context) = self.context_at(device, home) else { return Ok(()) };
        if home != Home::Quarantine {
            return self.remove_user(context, device);
        }
        // The tag stays, for the next time.
        context.users.find(device.unit()).map_or(Ok(()), |user| self.drain(user))
    }

    fn context_at(&self, device: &Device<'_>, home: Home) -> Option<&Context> {
        match home {
            Home::Blocked => None,
            Home::Quarantine => self.iommu.quarantine_of(device),
            Home::In(slot) => self.domain.at(slot),
        }
    }

    fn left(&self, home: Home) -> Option<Place> {
        match home {
            Home::In(slot) => self.place(slot),
            Home::Blocked | Home::Quarantine => None,
        }
    }

    /// Tags that a context leaves to others. A switch of the default context needs one for as long as
    /// both tables are there, and finds one.
    fn spare_tags(&self, slot: Slot) -> u32 {
        let switches = self.domain.default.switching().is_some();
        let takes_last = switches && slot == self.domain.other_default_slot();
        if takes_last { 0 } else { 1 }
    }
}
