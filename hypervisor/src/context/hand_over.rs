//! The devices of the default context go from one of its tables to the other.

use super::{End, Session, State};
use crate::{
    domain::{DefaultMap, Slot, Switch},
    machine::{Device, DeviceState, EditRoom, Home, Move, parked},
    platform::Platform,
};

impl<P: Platform> Session<'_, P> {
    /// Moves the devices of the default context, one at a time.
    pub(super) fn move_devices(&self, switch: Switch, other: Slot, room: &mut EditRoom) -> End {
        let how = Move { keeps_old: true, prepared: switch == Switch::Back };
        for device in self.iommu.devices() {
            if self.new_home(device, switch, other).is_none() {
                continue;
            }
            let moved = self.transfer(device, how, room, |state| {
                let still = self.domain.default.switching() == Some(switch);
                let home = self.home_after(device, state, switch, other).filter(|_| still);
                Ok(home.unwrap_or(state.home))
            });
            match moved {
                End::Finished if self.platform().should_yield() => return End::Yield,
                End::Finished => {}
                End::Yield => return End::Yield,
                End::Failed(_) if switch == Switch::Back => self.strand(device),
                End::Failed(errno) => {
                    let _admin = self.domain.administer();
                    if self.domain.default.switching() == Some(switch) {
                        self.domain.default.set_failure(errno);
                        self.domain.default.set_switching(Some(Switch::Back));
                    }
                    return End::Finished;
                }
            }
        }
        self.finish(switch, other);
        End::Finished
    }

    /// Blocks a device that can go neither on nor back; it is broken.
    fn strand(&self, device: &Device<'_>) {
        let _admin = self.domain.administer();
        let mut state = device.state.lock();
        if state.owner == Some(self.domain.id()) && !state.broken {
            // If that fails, too, its unit has failed, and nothing behind it is given back.
            let _ = self.switch(device, &mut state, Home::Blocked);
            state.broken = true;
        }
    }

    fn new_home(&self, device: &Device<'_>, switch: Switch, other: Slot) -> Option<Home> {
        self.home_after(device, &device.state.lock(), switch, other)
    }

    /// Where a device goes that the switch has to move; `None` for any other.
    fn home_after(
        &self,
        device: &Device<'_>,
        state: &DeviceState,
        switch: Switch,
        other: Slot,
    ) -> Option<Home> {
        if state.owner != Some(self.domain.id()) || state.broken {
            return None;
        }
        let (old, new) = (self.default_home(device), Home::In(other));
        let to = match switch {
            Switch::ToInitial | Switch::ToGuest => (state.home == old).then_some(new),
            Switch::ToBlocked => (state.home == old).then(|| parked(device)),
            // From the new table, or from where it was blocked.
            Switch::Back => (state.home == new || state.home == parked(device)).then_some(old),
        };
        to.filter(|to| *to != state.home)
    }

    /// Ends the switch, if no device is left to be moved.
    fn finish(&self, switch: Switch, other: Slot) {
        let _admin = self.domain.administer();
        let state = &self.domain.default;
        let mut devices = self.iommu.devices().iter();
        let left = devices.any(|device| self.new_home(device, switch, other).is_some());
        if left || state.switching() != Some(switch) {
            return;
        }
        // An edit that was validated before is stale from the moment that its table is closed: so the
        // guest owns nothing before that, and nothing any more after.
        match switch {
            Switch::ToInitial => {
                state.set_owned(false);
                self.change_over();
                state.set_map(state.map(), true);
            }
            Switch::ToBlocked => {
                state.set_owned(false);
                self.change_over();
            }
            Switch::ToGuest => {
                self.change_over();
                state.set_owned(true);
            }
            Switch::Back => {
                if let Some(other) = self.domain.at(other).filter(|it| it.state() == State::Live) {
                    other.close(self.gate);
                }
                if !state.is_set() {
                    state.set_map(DefaultMap::Blocked, false);
                }
            }
        }
        state.set_switching(None);
    }

    /// The new table is the default context's, and the old one goes.
    fn change_over(&self) {
        let old = self.domain.at(self.domain.default_slot());
        self.domain.default.flip();
        if let Some(old) = old.filter(|old| old.state() == State::Live) {
            old.close(self.gate);
        }
    }
}
