//! The end of a domain: its devices, its contexts, everything in them.

use pviommu_abi::Errno;

use super::EditRoom;
use crate::{
    context::{End, Session, State},
    platform::Platform,
};

impl<P: Platform> Session<'_, P> {
    /// Takes all devices away and lets nobody use a context any more; the first error.
    fn let_everything_go(&self) -> Option<Errno> {
        let _admin = self.domain.administer();
        self.domain.set_dying();
        let mut first_error = None;
        for device in self.iommu.devices() {
            let mut state = device.state.lock();
            if state.owner == Some(self.domain.id()) {
                first_error = first_error.or(self.let_go(device, &mut state).end.err());
            }
        }
        let contexts = self.domain.slots();
        for (_, context) in
            contexts.filter(|(_, context)| matches!(context.state(), State::Live | State::Building))
        {
            context.close(self.gate);
        }
        first_error
    }

    /// A piece of taking everything from the domain.
    pub(super) fn tear_down(&self, room: &mut EditRoom) -> End {
        let mut first_error = self.let_everything_go();
        for (_, context) in self.domain.slots() {
            if !context.users.is_empty() {
                // Behind a failed unit: what it may still reach is never given back.
                first_error = first_error.or(Some(Errno::EIO));
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
