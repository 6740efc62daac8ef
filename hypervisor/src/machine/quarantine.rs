//! Quarantine: where a device is that nobody owns.
//!
//! Each device has a context of its own there, of a pseudo-domain that the embedder lends. What its
//! firmware needs is mapped in it, and all else is blocked or leads to a scratch page that no other
//! device reaches (INV-43, INV-44). It is built before the device is first given away and stays, so
//! that taking the device back needs no memory and cannot fail for want of it.

use pviommu_abi::Errno;

use super::{Cpu, Device, EditRoom, Home, Iommu, Session, membership::painted};
use crate::{
    context::{Context, State},
    domain::{Background, DomainIommu},
    format::with_format,
    platform::Platform,
    sync::Ordering,
};

impl<'a, P: Platform> Iommu<'a, P> {
    /// The pseudo-domain whose contexts devices are in that nobody owns.
    pub(crate) fn quarantine_domain(&self) -> Option<&'a DomainIommu<'a>> {
        self.machine.quarantine
    }

    /// The context in which `device` is in quarantine; `None` if it is blocked there.
    pub(crate) fn quarantine_of(&self, device: &Device<'_>) -> Option<&'a Context> {
        let domain = self.quarantine_domain()?;
        let scratch = domain.background() == Background::Scratch;
        let wanted = scratch || device.direct().next().is_some();
        domain.lent(self.index(device)?).filter(|_| wanted)
    }

    /// True if `device` is to have a context in quarantine, and it is not built.
    pub(super) fn lacks_quarantine(&self, device: &Device<'_>) -> bool {
        self.quarantine_of(device).is_some_and(|context| context.state() != State::Live)
    }

    /// Where a device goes that is taken from its owner.
    pub(crate) fn released(&self, device: &Device<'_>) -> Home {
        let built = |context: &&Context| context.state() == State::Live;
        let context = self.quarantine_of(device).filter(built);
        context.map_or(Home::Blocked, |_| Home::Quarantine)
    }

    /// Has the context of `device` in quarantine built, if it is to have one.
    ///
    /// # Errors
    /// `-ENOMEM`, `-ENOSPC`: no table frame, no tag. `-EAGAIN`: another CPU is building it.
    pub(super) fn build_quarantine(
        &self,
        device: &Device<'_>,
        own: &Cpu,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        let (Some(context), Some(domain)) = (self.quarantine_of(device), self.quarantine_domain())
        else {
            return Ok(());
        };
        if context.state() == State::Live {
            return Ok(());
        }
        let session = self.session(domain, own);
        let claim = || context.claim().then_some(context);
        let (aperture, background) = (self.aperture(), domain.background());
        let built = session.construct(claim, aperture, background, room)?;
        let Some(context) = built else { return Err(Errno::EAGAIN) };
        let finished = session.fill_quarantine(context, device, room);
        if finished.is_err() {
            session.abandon(context, room);
            return finished;
        }
        let _admin = domain.administer();
        context.open();
        context.end_sweep();
        Ok(())
    }
}

impl<P: Platform> Session<'_, P> {
    /// Maps what the firmware of `device` needs, and takes a tag for it.
    fn fill_quarantine(
        &self,
        context: &Context,
        device: &Device<'_>,
        room: &mut EditRoom,
    ) -> Result<(), Errno> {
        for reserved in device.reserved() {
            if let Some((range, paint)) = painted(reserved, context.aperture()) {
                with_format!(self.iommu.format(), F => {
                    self.paint::<F>(context, range, paint, room)
                })?;
            }
        }
        context.reserved.add(device.reserved())?;
        self.add_user(context, device, 0).map(|_| ())
    }

    /// Makes the scratch page of `device` in quarantine zeros again: what is there is another owner's.
    pub(super) fn wipe_quarantine(&self, device: &Device<'_>) {
        let Some(context) = self.iommu.quarantine_of(device) else { return };
        let page = with_format!(self.iommu.format(), F => context.beside.vacancy.page::<F>());
        for word in page.map_or(&[][..], |page| self.platform().table(page)) {
            word.store(0, Ordering::Relaxed);
        }
    }
}
