//! What the rest of a hypervisor does with guest pages behind the service's back: balloon,
//! transfer, change of type. All under the platform's lock, as a P2M change is.

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::addr::Mfn;

use super::{
    board::Board,
    frames::{FrameKind, Refused, lock},
    p2m::P2m,
};

impl Board {
    fn ram(&self, domain: DomId, gfn: Gfn) -> Result<(&P2m, Mfn), Refused> {
        let p2m = self.p2m(domain).ok_or(Refused)?;
        let backed = p2m.lookup(gfn).filter(|b| !b.mmio).ok_or(Refused)?;
        Ok((p2m, backed.frame))
    }

    /// The machine frame behind a guest frame, RAM or registers.
    #[must_use]
    pub fn machine_frame(&self, domain: DomId, gfn: Gfn) -> Option<Mfn> {
        self.p2m(domain)?.lookup(gfn).map(|backed| backed.frame)
    }

    /// References that devices hold on a page of RAM.
    #[must_use]
    pub fn references(&self, domain: DomId, gfn: Gfn) -> u32 {
        let info = self.ram(domain, gfn).ok().and_then(|(_, f)| self.memory.frames.info(f));
        info.map_or(0, |info| info.references)
    }

    /// Takes a page from a guest and frees it: the guest frame becomes a hole, the machine frame
    /// is filled with a pattern.
    ///
    /// # Errors
    /// [`Refused`] while a reference is held (INV-27), or if there is no such page.
    pub fn free_page(&self, domain: DomId, gfn: Gfn) -> Result<(), Refused> {
        let _held = self.lock.enter("free_page");
        let (p2m, frame) = self.ram(domain, gfn)?;
        self.memory.frames.free(frame)?;
        p2m.set(gfn, None);
        Ok(())
    }

    /// Puts a fresh page of zeros behind a guest frame that has none.
    ///
    /// # Errors
    /// [`Refused`] if it has one, or no frame is left.
    pub fn populate_page(&self, domain: DomId, gfn: Gfn) -> Result<(), Refused> {
        let _held = self.lock.enter("populate_page");
        let p2m = self.p2m(domain).ok_or(Refused)?;
        if p2m.lookup(gfn).is_some() {
            return Err(Refused);
        }
        let frame = lock(&self.spare).pop().ok_or(Refused)?;
        self.memory.frames.give(frame, domain)?;
        p2m.set(gfn, Some(frame));
        Ok(())
    }

    /// Transfers a page of `from` to `to`, where it appears, zeroed, as `to_gfn`.
    ///
    /// # Errors
    /// [`Refused`] while a reference is held, or if there is no such page.
    pub fn give_page(&self, from: DomId, gfn: Gfn, to: DomId, to_gfn: Gfn) -> Result<(), Refused> {
        let _held = self.lock.enter("give_page");
        let (p2m, frame) = self.ram(from, gfn)?;
        let its_p2m = self.p2m(to).ok_or(Refused)?;
        self.memory.frames.give(frame, to)?;
        p2m.set(gfn, None);
        its_p2m.set(to_gfn, Some(frame));
        Ok(())
    }

    /// Changes what a page of a guest is used for.
    ///
    /// # Errors
    /// [`Refused`] while a reference is held, or if there is no such page.
    pub fn set_page_kind(&self, domain: DomId, gfn: Gfn, kind: FrameKind) -> Result<(), Refused> {
        let _held = self.lock.enter("set_page_kind");
        let (_, frame) = self.ram(domain, gfn)?;
        self.memory.frames.set_kind(frame, domain, kind)
    }

    /// Calls `act` with the platform's lock held, as an embedder that changes its P2M would.
    pub fn under_platform_lock<R>(&self, act: impl FnOnce() -> R) -> R {
        let _held = self.lock.enter("under_platform_lock");
        act()
    }
}
