//! What the embedder calls to give devices to domains and take them away.

use core::fmt;

use pviommu_abi::{Errno, PciDevice};

use super::Iommu;
use crate::{domain::DomainIommu, platform::Platform, policy};

/// Who has a group that could not be given to another domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReassignError {
    /// Who had it. For the errors see [`Iommu::assign`].
    Kept(Errno),
    /// Nobody, or at least not all of it has an owner: it could not be given back either. The error is
    /// that of giving it to the other domain.
    Lost(Errno),
}

impl fmt::Display for ReassignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(errno) => write!(f, "not given ({errno:?}); who had it has it"),
            Self::Lost(errno) => {
                write!(f, "not given ({errno:?}), and not given back: nobody has it")
            }
        }
    }
}

impl core::error::Error for ReassignError {}

impl<P: Platform> Iommu<'_, P> {
    /// Puts a device that nobody owns into quarantine: what its firmware needs is mapped, and all
    /// else blocked or led to a scratch page of its own. For devices at boot; one that is taken from
    /// a domain goes there by itself.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EBUSY`: it has an owner. `-EBADF`: it is broken.
    /// `-EXDEV`: its unit cannot walk this machine's tables. `-ENOMEM`, `-ENOSPC`: no table frame, no
    /// tag. `-EIO`: its unit has failed. `-EINVAL`: no such CPU.
    pub fn quarantine(&self, cpu: usize, function: PciDevice) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let own = self.cpu(cpu).ok_or(Errno::EINVAL)?;
        self.with_room(own, |room| {
            self.build_quarantine(device, own, &mut room.edit)?;
            let Some(domain) = self.machine.quarantine else { return Ok(()) };
            let mut state = device.state.lock();
            policy::may_be_given(state.owner, state.broken)?;
            self.session(domain, own).switch(device, &mut state, self.released(device)).end
        })
    }

    /// Gives the device `function` to `domain`, and with it all others of its group, each in the default
    /// context: all of them, or none.
    ///
    /// With [`Risks::SPLIT_GROUP`](super::Risks::SPLIT_GROUP), or
    /// [`OptIns::SPLIT_GROUPS`](crate::OptIns::SPLIT_GROUPS) of `domain`, the device is given alone.
    ///
    /// # Errors
    /// `-ENODEV`: it is not behind an IOMMU. `-EBUSY`: it has an owner, or one of its group has another.
    /// `-EBADF`: one of them is broken, or was stopped because of its faults.
    /// `-EXDEV`: the unit of one cannot walk this machine's tables. `-EPERM`: one needs an opt-in that
    /// `domain` does not have: its firmware uses memory of its own, its interrupts are not isolated, or a
    /// function beside it is behind no unit.
    /// `-EAGAIN`: the group is being changed, or given to another domain.
    /// `-EADDRINUSE`: what firmware needs is mapped otherwise. `-ENOMEM`, `-ENOSPC`:
    /// no table frame, no tag, no room. `-ESRCH`: the domain is dying. `-EIO`: a unit has failed.
    /// `-EINVAL`: no such CPU.
    pub fn assign(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        function: PciDevice,
    ) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let own = self.cpu(cpu).ok_or(Errno::EINVAL)?;
        let session = self.session(domain, own);
        let taker = self.with_room(own, |room| {
            for member in self.members(device) {
                self.build_quarantine(member, own, &mut room.edit)?;
            }
            session.take(device, None, &mut room.edit)
        })?;
        session.tell_risks(device, &taker);
        Ok(())
    }

    /// Takes the device `function` away from `domain`, and with it all that were given in the same call:
    /// its whole group, unless it was given alone. They go into quarantine, and what they had under
    /// way is drained.
    ///
    /// # Errors
    /// `-ENODEV`: the domain does not have it. `-EINVAL`: no such CPU. `-EIO`: a unit has
    /// failed; a device behind it then counts as broken. None of them is the domain's any more.
    pub fn unassign(
        &self,
        domain: &DomainIommu<'_>,
        cpu: usize,
        function: PciDevice,
    ) -> Result<(), Errno> {
        let device = self.device(function).ok_or(Errno::ENODEV)?;
        let own = self.cpu(cpu).ok_or(Errno::EINVAL)?;
        self.with_room(own, |room| self.session(domain, own).take_away(device, &mut room.edit))
    }

    /// Takes `function` away from one domain, with all that were given in the same call, and gives them to
    /// another, and to nobody else in between. What can be known before is checked before; if it fails later, the
    /// first domain gets it back, in its default context.
    ///
    /// # Errors
    /// [`ReassignError`] says who has it.
    pub fn reassign(
        &self,
        from: &DomainIommu<'_>,
        to: &DomainIommu<'_>,
        cpu: usize,
        function: PciDevice,
    ) -> Result<(), ReassignError> {
        let kept = ReassignError::Kept;
        let device = self.device(function).ok_or(kept(Errno::ENODEV))?;
        let own = self.cpu(cpu).ok_or(kept(Errno::EINVAL))?;
        let (from, to) = (self.session(from, own), self.session(to, own));
        // Who has it in the end, if anybody.
        let mut taker = None;
        let ended = self.with_room(own, |room| {
            for member in self.members(device) {
                self.build_quarantine(member, own, &mut room.edit).map_err(kept)?;
            }
            let (on, back) = to.claim_from(device, from.domain).map_err(kept)?;
            // One that cannot leave is broken, and nobody gets it.
            let left = from.take_away(device, &mut room.edit);
            let taken = left.and_then(|()| to.take(device, Some(on), &mut room.edit));
            let ended = taken.map(|by| taker = Some((&to, by))).map_err(|errno| {
                match from.take(device, Some(back), &mut room.edit) {
                    Ok(by) => {
                        taker = Some((&from, by));
                        ReassignError::Kept(errno)
                    }
                    Err(_) => ReassignError::Lost(errno),
                }
            });
            self.release(on.ticket);
            ended
        });
        if let Some((session, taker)) = taker {
            session.tell_risks(device, &taker);
        }
        ended
    }
}
