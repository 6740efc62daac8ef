//! Moving devices: between contexts, to a domain, and away from it.
//!
//! Always in this order: the new context takes the device in, the device entries are switched in one
//! step each, the old tag is flushed, the old context lets the device go (INV-09, INV-41, INV-42). So
//! every DMA is translated by one table or the other, and an edit of either flushes for it.

use pviommu_abi::{ContextId, Errno};

use super::{
    Device, DeviceState, EditRoom, Home, Switched,
    membership::{Place, Prepared},
};
use crate::{
    context::{Context, End, Session, State},
    domain::GroupRule,
    platform::Platform,
    policy,
    table::Stash,
};

/// How a device is moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Move {
    /// What the device's firmware needs stays mapped where it comes from: that table goes as a whole,
    /// or the device may come back.
    pub(crate) keeps_old: bool,
    /// What its firmware needs is still mapped where it goes.
    pub(crate) prepared: bool,
}

/// What is to be done next.
enum Next {
    Finish(End),
    Prepare(Place),
}

impl<P: Platform> Session<'_, P> {
    /// Moves one device of the domain to the context that the guest calls `to`.
    pub(super) fn move_to(&self, device: &Device<'_>, to: ContextId, room: &mut EditRoom) -> End {
        self.transfer(device, Move::default(), room, |state| {
            let slot = self.domain.slot_of(to);
            let target = slot.and_then(|slot| self.domain.at(slot)).map(Context::state);
            let of = (state.owner, state.broken);
            policy::may_be_moved(self.domain.id(), of, to, target)?;
            match slot {
                Some(slot) if to != ContextId::DEFAULT => Ok(Home::In(slot)),
                // It is in the default context already, in the table that comes next.
                _ if state.home == Home::In(self.domain.other_default_slot()) => Ok(state.home),
                _ => Ok(self.default_home(device)),
            }
        })
    }

    /// Where a device is that is in the default context.
    pub(crate) fn default_home(&self, device: &Device<'_>) -> Home {
        let slot = self.domain.default_slot();
        let live = self.domain.at(slot).is_some_and(|context| context.state() == State::Live);
        if live { Home::In(slot) } else { parked(device) }
    }

    /// Moves a device to where `goal` says that it belongs, asked under the locks each time.
    pub(crate) fn transfer(
        &self,
        device: &Device<'_>,
        how: Move,
        room: &mut EditRoom,
        goal: impl Fn(&DeviceState) -> Result<Home, Errno>,
    ) -> End {
        let mut stash = Stash::new();
        let mut ready: Option<Prepared> = None;
        let end = loop {
            let mut left = None;
            let next = {
                let _admin = self.domain.administer();
                let mut state = device.state.lock();
                match goal(&state) {
                    Err(errno) => Next::Finish(End::Failed(errno)),
                    Ok(home) if home == state.home => Next::Finish(End::Finished),
                    Ok(Home::In(slot)) if !how.prepared && !self.is_ready(&ready, slot) => self
                        .place(slot)
                        .map_or_else(|| Next::Finish(End::Failed(Errno::ENOENT)), Next::Prepare),
                    Ok(home) => {
                        let switched = self.switch(device, &mut state, home);
                        left = switched.left;
                        if state.home == home {
                            // It is the device's now.
                            ready = None;
                        }
                        Next::Finish(switched.end.map_or_else(End::Failed, |()| End::Finished))
                    }
                }
            };
            if let Some(left) = left.filter(|_| !how.keeps_old) {
                self.forget_ranges(device, left, &mut stash, room);
            }
            match next {
                Next::Finish(end) => break end,
                Next::Prepare(place) => {
                    if let Some(other) = ready.take() {
                        self.unprepare(device, other.place, &mut stash, room);
                    }
                    match self.prepare(device, place, &mut stash, room) {
                        Ok(prepared) => ready = Some(prepared),
                        Err(end) => break end,
                    }
                }
            }
        };
        if let Some(unused) = ready {
            self.unprepare(device, unused.place, &mut stash, room);
        }
        self.empty(&mut stash);
        end
    }

    /// Moves every device in the context at `place` to the default context, one at a time, or one group.
    pub(crate) fn evacuate(&self, place: Place, room: &mut EditRoom) -> End {
        let here = |state: &DeviceState| {
            state.owner == Some(self.domain.id()) && state.home == Home::In(place.slot)
        };
        for device in self.iommu.devices() {
            if !here(&device.state.lock()) {
                continue;
            }
            let moved = match self.domain.group_rule() {
                GroupRule::EachAlone => self.transfer(device, Move::default(), room, |state| {
                    Ok(if here(state) { self.default_home(device) } else { state.home })
                }),
                GroupRule::TogetherOnly => self.reattach(device, ContextId::DEFAULT, room),
            };
            match moved {
                End::Finished if self.platform().should_yield() => return End::Yield,
                End::Finished => {}
                end => return end,
            }
        }
        End::Finished
    }

    /// Takes what the firmware of `device` needs out of the context that it has left: of the default
    /// context also out of the table that it was in before, if one is about to take its place.
    pub(super) fn forget_ranges(
        &self,
        device: &Device<'_>,
        left: Place,
        stash: &mut Stash,
        room: &mut EditRoom,
    ) {
        self.unprepare(device, left, stash, room);
        if left.slot == self.domain.other_default_slot()
            && let Some(before) = self.place(self.domain.default_slot())
        {
            self.unprepare(device, before, stash, room);
        }
    }

    /// Puts a device into quarantine, and makes it nobody's. The caller holds the administration lock.
    pub(super) fn let_go(&self, device: &Device<'_>, state: &mut DeviceState) -> Switched {
        let mut switched = self.switch(device, state, self.iommu.released(device));
        if switched.end.is_err() && !state.broken {
            // No room for its entry: blocked, it needs none.
            switched = self.switch(device, state, Home::Blocked);
        }
        device.give_to(state, None);
        switched
    }
}

/// Where a device is that may do no DMA but its firmware's.
pub(crate) fn parked(device: &Device<'_>) -> Home {
    if device.direct().next().is_some() { Home::Quarantine } else { Home::Blocked }
}
