//! Devices change hands: a group is given whole and taken away whole (INV-46).
//!
//! Who has what is settled first, for all members under one lock; then each is moved. What came by one
//! gift goes together, whatever has become of its group meanwhile.

use pviommu_abi::{ContextId, Errno};

use super::{Device, EditRoom, Home, Move, Risks, Ticket};
use crate::{
    context::{End, Session},
    domain::{DomainIommu, GroupRule, OptIns, Role},
    platform::{DeviceFacts, Platform},
    policy::{self, Member, Part, Taker},
    table::Stash,
};

/// Devices on their way from one domain to another.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    /// What they are held for.
    pub(super) ticket: Ticket,
    /// They go without the rest of their group.
    alone: bool,
}

impl<P: Platform> Session<'_, P> {
    /// Makes the domain the owner of the group of `device`, and puts it into the default context: all of
    /// it, or nothing stays. With a `pass` what is held for that, and nothing else. As whom it took them:
    /// [`tell_risks`](Self::tell_risks) is for the caller, when no lock is held.
    pub(super) fn take(
        &self,
        device: &Device<'_>,
        pass: Option<Pass>,
        room: &mut EditRoom,
    ) -> Result<Taker, Errno> {
        let together = self.domain.group_rule() == GroupRule::TogetherOnly;
        // Nobody moves some of the group meanwhile.
        let _moving = together.then(|| self.domain.moves().lock());
        let taker = self.taker(device);
        let taker = Taker { alone: pass.map_or(taker.alone, |pass| pass.alone), ..taker };
        let pass = pass.map(|pass| pass.ticket);
        let (gift, claimed) = self.claim(device, &taker, pass)?;
        let taken = claimed.and_then(|()| self.settle_in(gift, room));
        if taken.is_err() {
            // It is nobody's again; what cannot be taken back is broken.
            let _ = self.take_back(gift, room);
        }
        taken.map(|()| taker)
    }

    fn taker(&self, device: &Device<'_>) -> Taker {
        let domain = self.domain;
        let split = device.risks().contains(Risks::SPLIT_GROUP)
            || domain.opt_ins().contains(OptIns::SPLIT_GROUPS);
        Taker {
            domain: domain.id(),
            role: domain.role(),
            opt_ins: domain.opt_ins(),
            rule: domain.group_rule(),
            alone: split && self.iommu.members(device).nth(1).is_some(),
        }
    }

    /// Makes the domain the owner of all that `taker` gets with `device`, if nothing is against it. The
    /// gift, and whether what others had under way has arrived.
    fn claim(
        &self,
        device: &Device<'_>,
        taker: &Taker,
        pass: Option<Ticket>,
    ) -> Result<(Ticket, Result<(), Errno>), Errno> {
        let _admin = self.domain.administer();
        if self.domain.is_dying() {
            return Err(Errno::ESRCH);
        }
        let mut grouping = self.iommu.grouping.lock();
        self.may_take(device, taker, |member| self.facts_of(member, pass))?;
        let gift = grouping.ticket();
        for member in self.iommu.members(device) {
            let mut state = member.state.lock();
            let asked = member.function() == device.function();
            let eligible = pass.is_none() || state.held == pass;
            if state.owner.is_some() || !eligible || taker.alone && !asked {
                continue;
            }
            if state.home == Home::Quarantine {
                // What the last owner had under way arrives before the page is wiped.
                if let Err(errno) = self.go(member, Home::Quarantine) {
                    return Ok((gift, Err(errno)));
                }
                self.wipe_quarantine(member);
            }
            (state.gift, state.alone) = (gift, taker.alone);
            member.give_to(&mut state, Some(self.domain.id()));
        }
        Ok((gift, Ok(())))
    }

    /// Keeps what `from` got with `device` for the domain, if nothing that can be known now is against its
    /// getting it: as it goes there, and as it would come back.
    ///
    /// # Errors
    /// As of [`Iommu::assign`](super::Iommu::assign); `-ENODEV` also if `from` does not have it, and
    /// `-EINVAL` if it is the domain itself.
    pub(super) fn claim_from(
        &self,
        device: &Device<'_>,
        from: &DomainIommu<'_>,
    ) -> Result<(Pass, Pass), Errno> {
        if from.id() == self.domain.id() {
            return Err(Errno::EINVAL);
        }
        if self.domain.is_dying() {
            return Err(Errno::ESRCH);
        }
        let mut grouping = self.iommu.grouping.lock();
        let state = *device.state.lock();
        if state.owner != Some(from.id()) {
            return Err(Errno::ENODEV);
        }
        let came = |member: &Device<'_>| member.state.lock().is_of(from.id(), state.gift);
        let taker = self.taker(device);
        // It goes as it came.
        let taker = Taker { alone: taker.alone && state.alone, ..taker };
        self.may_take(device, &taker, |member| {
            let facts = self.facts_of(member, None);
            // It will be nobody's.
            let eligible = came(member);
            Member { owner: facts.owner.filter(|_| !eligible), eligible, ..facts }
        })?;
        let ticket = grouping.ticket();
        for member in self.iommu.devices().iter().filter(|member| came(member)) {
            member.state.lock().held = Some(ticket);
        }
        Ok((Pass { ticket, alone: taker.alone }, Pass { ticket, alone: state.alone }))
    }

    /// Checks that `taker` may have the group of `device`, of whose members these are the facts. The caller
    /// holds the lock of groups.
    fn may_take(
        &self,
        device: &Device<'_>,
        taker: &Taker,
        facts: impl Fn(&Device<'_>) -> Member,
    ) -> Result<(), Errno> {
        for member in self.iommu.members(device) {
            let asked = member.function() == device.function();
            let facts = Member { asked, ..facts(member) };
            if policy::part_of(taker, &facts)? == Part::Given {
                self.may_have(member)?;
            }
        }
        Ok(())
    }

    /// What there is to know of a member of a group, of which what is held for `pass` is free.
    fn facts_of(&self, member: &Device<'_>, pass: Option<Ticket>) -> Member {
        let state = *member.state.lock();
        let in_default = match state.home {
            Home::In(slot) => self.domain.id_of(slot) == ContextId::DEFAULT,
            Home::Blocked | Home::Quarantine => true,
        };
        Member {
            asked: false,
            owner: state.owner,
            eligible: pass.is_none() || state.held == pass,
            alone: state.alone,
            in_default,
            unfit: state.broken || member.faults.is_stopped(),
            tainted: state.tainted,
            held: state.held.is_some() && state.held != pass,
            isolated: member.facts().contains(DeviceFacts::INTERRUPTS_ISOLATED),
            untranslated: member.is_beside_untranslated(),
            risks: member.risks(),
        }
    }

    /// Checks that the domain may have this device, whatever others of its group there are.
    fn may_have(&self, device: &Device<'_>) -> Result<(), Errno> {
        if device.is_absent() {
            return Err(Errno::ENODEV);
        }
        let direct = device.direct().next().is_some();
        let unit = self.iommu.unit(device.unit()).ok_or(Errno::ENODEV)?;
        policy::may_walk(unit.facts(), self.iommu.shape())?;
        policy::may_have_direct(self.domain.role(), self.domain.opt_ins(), direct)?;
        // It has come into the group since that was built.
        if self.iommu.lacks_quarantine(device) { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// Puts what came by `gift` into the default context.
    fn settle_in(&self, gift: Ticket, room: &mut EditRoom) -> Result<(), Errno> {
        let owner = self.domain.id();
        for device in self.iommu.devices() {
            if !device.state.lock().is_of(owner, gift) {
                continue;
            }
            loop {
                let moved = self.transfer(device, Move::default(), room, |state| {
                    let still = state.is_of(owner, gift);
                    still.then(|| self.default_home(device)).ok_or(Errno::ENODEV)
                });
                match moved {
                    End::Finished => break,
                    End::Yield => {}
                    End::Failed(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }

    /// Takes a device away from the domain, with all that came with it.
    pub(super) fn take_away(&self, device: &Device<'_>, room: &mut EditRoom) -> Result<(), Errno> {
        let state = *device.state.lock();
        if state.owner != Some(self.domain.id()) {
            return Err(Errno::ENODEV);
        }
        self.take_back(state.gift, room)
    }

    /// Takes away what came by `gift`, all of it, whatever goes wrong; the first error.
    fn take_back(&self, gift: Ticket, room: &mut EditRoom) -> Result<(), Errno> {
        let mut end = Ok(());
        for device in self.iommu.devices() {
            let came = || device.state.lock().is_of(self.domain.id(), gift);
            if !came() {
                continue;
            }
            let switched = {
                let _admin = self.domain.administer();
                let mut state = device.state.lock();
                let still = state.is_of(self.domain.id(), gift);
                still.then(|| self.let_go(device, &mut state))
            };
            let Some(switched) = switched else { continue };
            if let Some(left) = switched.left {
                let mut stash = Stash::new();
                self.forget_ranges(device, left, &mut stash, room);
            }
            end = end.and(switched.end);
        }
        end
    }

    /// Tells the log of each risk by which the domain has got `device`.
    pub(super) fn tell_risks(&self, device: &Device<'_>, taker: &Taker) {
        let (id, function) = (self.domain.id().0, device.function());
        if taker.alone {
            crate::report::warn!(
                "pviommu: domain {id} has {function} without the rest of its group, as was accepted"
            );
        }
        if taker.role == Role::Guest && device.is_beside_untranslated() {
            crate::report::warn!(
                "pviommu: domain {id} has {function}, and a function beside it is behind no unit, as was \
                 accepted"
            );
        }
        let unsafe_one = |member: &&Device<'_>| {
            !member.facts().contains(DeviceFacts::INTERRUPTS_ISOLATED) && taker.role == Role::Guest
        };
        for member in self.iommu.members(device).filter(unsafe_one) {
            let member = member.function();
            crate::report::warn!(
                "pviommu: domain {id} has {function}, and the interrupts of {member} are not isolated, \
                 as was accepted"
            );
        }
    }
}
