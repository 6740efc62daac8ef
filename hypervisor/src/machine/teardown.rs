//! The end of a domain: its devices, its contexts, everything in them.

use pviommu_abi::Errno;

use super::EditRoom;
use crate::{
    context::{End, Session, State},
    platform::Platform,
};

impl<P: Platform> Session<'_, P> {
    /// Takes all devices away, one at a time, and lets nobody use a context any more. False if it is time
    /// to give way before that is done.
    fn let_everything_go(&self, first_error: &mut Option<Errno>) -> bool {
        {
            let _admin = self.domain.administer();
            self.domain.set_dying();
        }
        for device in self.iommu.devices() {
            let gone = {
                let _admin = self.domain.administer();
                let mut state = device.state.lock();
                let own = state.owner == Some(self.domain.id());
                own.then(|| self.let_go(device, &mut state).end)
            };
            let Some(gone) = gone else { continue };
            *first_error = first_error.or(gone.err());
            // It is nobody's: the next call goes on behind it.
            if self.platform().should_yield() {
                return false;
            }
        }
        let _admin = self.domain.administer();
        for (_, context) in self.domain.slots() {
            if matches!(context.state(), State::Live | State::Building) {
                context.close(self.gate);
            }
        }
        true
    }

    /// A piece of taking everything from the domain.
    pub(super) fn tear_down(&self, room: &mut EditRoom) -> End {
        let mut first_error = None;
        if !self.let_everything_go(&mut first_error) {
            return End::Yield;
        }
        for (_, context) in self.domain.slots() {
            if !context.users.is_empty() {
                // Behind a failed unit: what it may still reach is never given back.
                first_error = first_error.or(Some(Errno::EIO));
                continue;
            }
            let worked = context.state() != State::Free;
            match self.sweep(context, room) {
                End::Finished if worked && self.platform().should_yield() => return End::Yield,
                End::Finished => {}
                End::Yield => return End::Yield,
                End::Failed(errno) => first_error = first_error.or(Some(errno)),
            }
        }
        first_error.map_or(End::Finished, End::Failed)
    }
}
