//! The default context changes hands: the map a domain starts with, and the ownership switch.
//!
//! ```text
//!            in use: every DMA goes through it        beside it
//!  begin     old table                                a new one, with a tag of its own
//!  fill      old table                                … and the map the domain starts with
//!  move      old table ──── device by device ───►     new table
//!            one entry in one step each, then flushed
//!  finish    (no device, flushed) goes away           new table
//! ```
//!
//! Every DMA is translated by one complete table or the other, and what a device's firmware needs is
//! mapped in both (INV-71). A call that gives way goes on where it was; whoever comes next finishes
//! what was begun, whatever they came for. If a device cannot be moved, those that were go back.

use pviommu_abi::Errno;

use super::{Context, End, Session, State};
use crate::{
    domain::{Background, DefaultMap, Role, Switch},
    machine::EditRoom,
    platform::Platform,
};

/// What the default context is to become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// The map a domain starts with, chosen once.
    Start(DefaultMap),
    /// The guest's, without mappings.
    Clear(Background),
    /// The guest's, as it is.
    Keep,
    /// The hypervisor's, as the domain started.
    GiveBack,
}

/// What has to be built for a wish.
struct Plan {
    switch: Switch,
    background: Background,
}

impl<P: Platform> Session<'_, P> {
    /// Makes the default context what `wish` says, and ends what was begun before.
    pub(crate) fn switch_default(&self, wish: Wish, room: &mut EditRoom) -> End {
        // Once an entry: two CPUs that wish the opposite would each go on for as long as the other does.
        let mut begun = false;
        loop {
            if self.domain.is_dying() {
                return End::Failed(Errno::ENODEV);
            }
            let slot = self.domain.other_default_slot();
            let Some(other) = self.domain.at(slot) else { return End::Failed(Errno::EINVAL) };
            let end = match (other.state(), self.domain.default.switching()) {
                // Behind a failed unit: what it may still reach is never given back.
                (State::Dying, _) if !other.users.is_empty() => End::Failed(Errno::EIO),
                (State::Dying, _) => match self.sweep(other, room) {
                    End::Finished => {
                        self.told_failure().map_or_else(End::Failed, |()| End::Finished)
                    }
                    end => end,
                },
                (State::Building, _) => self.fill(other, room),
                (_, Some(switch)) => self.move_devices(switch, slot, room),
                (_, None) if begun => return self.come_true(wish),
                (_, None) => match self.told_failure().and_then(|()| self.begin(wish, room)) {
                    Ok(Some(end)) => {
                        begun = true;
                        end
                    }
                    Ok(None) => return End::Finished,
                    Err(errno) => return End::Failed(errno),
                },
            };
            if end != End::Finished {
                return end;
            }
            if self.platform().should_yield() {
                return End::Yield;
            }
        }
    }

    /// How what was begun for `wish` ended. If another CPU has undone it since, or was told why it failed, it takes a
    /// new beginning.
    fn come_true(&self, wish: Wish) -> End {
        let _admin = self.domain.administer();
        match self.told_failure().and_then(|()| self.plan(wish)) {
            Ok(None) => End::Finished,
            Ok(Some(_)) => End::Yield,
            Err(errno) => End::Failed(errno),
        }
    }

    /// Why the switch before failed, told once, when all that it left is gone.
    fn told_failure(&self) -> Result<(), Errno> {
        self.domain.default.take_failure().map_or(Ok(()), Err)
    }

    /// Begins what `wish` takes, or gives way to another CPU that is about to; `None` if nothing is to be done.
    fn begin(&self, wish: Wish, room: &mut EditRoom) -> Result<Option<End>, Errno> {
        let plan = {
            let _admin = self.domain.administer();
            match self.plan(wish)? {
                Some(plan) => plan,
                None => return Ok(None),
            }
        };
        if plan.switch == Switch::ToBlocked {
            let _admin = self.domain.administer();
            self.domain.default.set_switching(Some(plan.switch));
            return Ok(Some(End::Finished));
        }
        let claim = || {
            // Somebody else may have begun meanwhile.
            let same = self.plan(wish).ok().flatten().is_some();
            let free = same && self.domain.default.switching().is_none();
            let other = self.domain.at(self.domain.other_default_slot())?;
            (free && other.claim()).then_some(other)
        };
        let built = self.construct(claim, self.iommu.aperture(), plan.background, room)?;
        let Some(other) = built else { return Ok(Some(End::Yield)) };
        let _admin = self.domain.administer();
        if let Wish::Start(map) = wish {
            self.domain.default.set_map(map, false);
        }
        self.domain.default.set_switching(Some(plan.switch));
        other.set_state(State::Building);
        other.end_sweep();
        Ok(Some(End::Finished))
    }

    /// What `wish` takes; `None` if it has come true, by this if need be. The caller holds the
    /// administration lock.
    fn plan(&self, wish: Wish) -> Result<Option<Plan>, Errno> {
        let state = &self.domain.default;
        let (map, owned) = (state.map(), state.is_owned());
        if self.domain.is_dying() {
            return Err(Errno::ENODEV);
        }
        let domains = self.domain.background();
        let start = |background| Some(Plan { switch: Switch::ToInitial, background });
        let guests = |background| Some(Plan { switch: Switch::ToGuest, background });
        Ok(match wish {
            Wish::Start(same) if state.is_set() && same == map => None,
            Wish::Start(_) if state.is_set() || owned => return Err(Errno::EBUSY),
            Wish::Start(DefaultMap::Host) if self.domain.role() != Role::Hardware => {
                return Err(Errno::EPERM);
            }
            Wish::Start(DefaultMap::Blocked) => {
                state.set_map(DefaultMap::Blocked, true);
                None
            }
            Wish::Start(_) => start(domains),
            _ if map.need_iommu() => return Err(Errno::EACCES),
            Wish::Clear(_) | Wish::Keep if owned => None,
            Wish::Clear(background) => guests(background),
            Wish::Keep if map == DefaultMap::Blocked => guests(domains),
            Wish::Keep => {
                let active = self.domain.at(self.domain.default_slot()).ok_or(Errno::EINVAL)?;
                active.exclusively(self.gate, || state.set_owned(true));
                None
            }
            Wish::GiveBack if !owned => None,
            Wish::GiveBack if map == DefaultMap::Blocked => {
                Some(Plan { switch: Switch::ToBlocked, background: domains })
            }
            Wish::GiveBack => start(domains),
        })
    }

    /// Does a piece of filling the new table, and opens it when it is full.
    fn fill(&self, other: &Context, room: &mut EditRoom) -> End {
        if !other.try_sweep() {
            // Another CPU is at it.
            return End::Yield;
        }
        let initial = self.domain.default.switching() == Some(Switch::ToInitial);
        let end = match other.state() {
            State::Building if initial => self.fill_initial(other, self.domain.default.map(), room),
            _ => End::Finished,
        };
        {
            let _admin = self.domain.administer();
            match end {
                _ if other.state() != State::Building => {}
                End::Yield => {}
                End::Finished => other.open(),
                End::Failed(errno) => {
                    other.set_state(State::Dying);
                    self.give_up(errno);
                }
            }
        }
        other.end_sweep();
        if end == End::Yield { End::Yield } else { End::Finished }
    }

    /// Notes that the switch failed: `errno` is told when what it left is gone. The caller holds the
    /// administration lock.
    fn give_up(&self, errno: Errno) {
        let state = &self.domain.default;
        state.set_switching(None);
        state.set_failure(errno);
        if !state.is_set() {
            state.set_map(DefaultMap::Blocked, false);
        }
    }
}
