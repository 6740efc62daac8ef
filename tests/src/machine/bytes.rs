//! What frames hold, and who reads and writes it: CPUs at once, devices now or a little later.

use pviommu_hypervisor::addr::Mfn;

use super::{
    Basis,
    frames::{Backing, Frames, Reach, Refused, lock},
    late::LateWrite,
};
use crate::iommu::Landing;

impl Frames {
    /// Reads bytes of a frame; nothing is backed outside RAM and registers.
    ///
    /// # Errors
    /// [`Refused`] if there is no such frame.
    ///
    /// # Panics
    /// If the bytes reach over the end of the page.
    pub fn read(&self, frame: Mfn, offset: usize, to: &mut [u8]) -> Result<(), Refused> {
        self.late.settle(frame, |write| self.land(write));
        match &self.region(frame).ok_or(Refused)?.backing {
            Backing::Ram { .. } => self.cell(frame).ok_or(Refused)?.page().read(offset, to),
            Backing::Mmio(pages) => match lock(pages).get(&frame.0) {
                Some(page) => page.read(offset, to),
                None => to.fill(0),
            },
        }
        Ok(())
    }

    /// Writes bytes of a frame.
    ///
    /// # Errors
    /// [`Refused`] if there is no such frame.
    ///
    /// # Panics
    /// If the bytes reach over the end of the page.
    pub fn write(&self, frame: Mfn, offset: usize, from: &[u8]) -> Result<(), Refused> {
        self.late.settle(frame, |write| self.land(write));
        self.store(frame, offset, from)
    }

    /// Writes bytes of a frame as a device does, now or later.
    pub(super) fn device_writes(
        &self,
        at: &Landing,
        offset: usize,
        from: &[u8],
    ) -> Result<(), Refused> {
        let may_wait = match at.basis {
            Basis::Held => at.reach == Reach::Held,
            Basis::Maintained => matches!(at.reach, Reach::Held | Reach::NotHeld),
            Basis::Trusted | Basis::Direct => false,
        };
        if !may_wait || !self.late.keeps() {
            return self.store(at.frame, offset, from);
        }
        let write = LateWrite { at: *at, offset, bytes: from.into() };
        self.late.keep(write, |write| self.land(write));
        Ok(())
    }

    /// Carries a late write out, if a device may still be there; what there is.
    pub(super) fn land(&self, write: &LateWrite) -> Reach {
        let reach = self.reach(write.at.frame);
        let stored =
            write.may_land(reach).then(|| self.store(write.at.frame, write.offset, &write.bytes));
        if stored == Some(Err(Refused)) { Reach::Forbidden } else { reach }
    }

    fn store(&self, frame: Mfn, offset: usize, from: &[u8]) -> Result<(), Refused> {
        match &self.region(frame).ok_or(Refused)?.backing {
            Backing::Ram { .. } => self.cell(frame).ok_or(Refused)?.page().write(offset, from),
            Backing::Mmio(pages) => {
                lock(pages).entry(frame.0).or_default().write(offset, from);
            }
        }
        Ok(())
    }
}
