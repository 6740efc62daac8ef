//! Devices of one group move between contexts together, where the embedder wants that.
//!
//! All that the domain has of a group are in one context, except while they are on their way: one call of
//! a guest at a time moves them, one device after the other. If one cannot go, those that went come back.

use pviommu_abi::ContextId;

use super::{Device, EditRoom, Home, Move, parked};
use crate::{
    context::{Context, End, Session, State},
    domain::GroupRule,
    platform::Platform,
};

impl<P: Platform> Session<'_, P> {
    /// Moves a device of the domain to the context that the guest calls `to`, and all others of its group if
    /// they may not be apart.
    pub(crate) fn reattach(&self, device: &Device<'_>, to: ContextId, room: &mut EditRoom) -> End {
        if self.domain.group_rule() == GroupRule::EachAlone {
            return self.move_to(device, to, room);
        }
        // Who comes meanwhile comes again.
        let Some(_moving) = self.domain.moves().try_lock() else { return End::Yield };
        let Some(groups) = self.iommu.group_changes() else { return End::Yield };
        // The one that was named first: its refusal is the answer.
        match self.move_one(device, to, room) {
            End::Finished => {}
            end => return end,
        }
        let others = self.iommu.members(device).filter(|it| it.function() != device.function());
        for member in others.filter(|member| self.may_go(member)) {
            match self.move_one(member, to, room) {
                End::Finished => {}
                end => return end,
            }
        }
        // If it is another group by now, some may have been left out.
        if self.iommu.group_changes() == Some(groups) { End::Finished } else { End::Yield }
    }

    /// Moves one of a group, or brings back those that were moved before it. Gives way behind it, if it is
    /// time: the next call goes on.
    fn move_one(&self, device: &Device<'_>, to: ContextId, room: &mut EditRoom) -> End {
        let before = device.state.lock().home;
        let could_go = self.may_go(device);
        match self.move_to(device, to, room) {
            End::Finished if device.state.lock().home == before => End::Finished,
            End::Finished if self.platform().should_yield() => End::Yield,
            End::Failed(errno) if could_go => {
                self.gather(device, before, room);
                End::Failed(errno)
            }
            end => end,
        }
    }

    /// Brings all of the group of `device` to where that was before; if one cannot go there, to the default
    /// context; and if it cannot go there either, where it needs nothing. This does not give way: they are
    /// no more than the group has.
    fn gather(&self, device: &Device<'_>, before: Home, room: &mut EditRoom) {
        let live = |slot| self.domain.at(slot).map(Context::state) == Some(State::Live);
        let here = match before {
            Home::In(slot) if live(slot) => self.domain.id_of(slot),
            _ => ContextId::DEFAULT,
        };
        let members = || self.iommu.members(device).filter(|member| self.may_go(member));
        let mut all_go = |to| {
            members().all(|member| {
                let mut moved = self.move_to(member, to, room);
                while moved == End::Yield {
                    moved = self.move_to(member, to, room);
                }
                moved == End::Finished || !self.may_go(member)
            })
        };
        if all_go(here) || all_go(ContextId::DEFAULT) {
            return;
        }
        for member in members() {
            let how = Move::default();
            // What goes wrong here breaks the device.
            let _ = self.transfer(member, how, room, |state| {
                let own = state.owner == Some(self.domain.id()) && !state.broken;
                Ok(if own { parked(member) } else { state.home })
            });
        }
    }

    /// True if the domain has it, and it goes where it is sent.
    fn may_go(&self, member: &Device<'_>) -> bool {
        let state = *member.state.lock();
        state.owner == Some(self.domain.id()) && !state.broken
    }
}
