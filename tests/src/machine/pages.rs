//! What the rest of a hypervisor does with guest pages behind the service's back: balloon,
//! transfer, change of type. All under the P2M lock and the platform's. The service is not told:
//! these are for domains whose default map nobody maintains, see `changes` for the others.

use pviommu_abi::{DomId, Gfn};
use pviommu_hypervisor::{DefaultMap, addr::Mfn};

use super::{
    board::Board,
    frames::{FrameKind, Refused, lock},
    p2m::{Entry, P2m},
};

impl Board {
    fn ram(&self, domain: DomId, gfn: Gfn) -> Result<(&P2m, Mfn), Refused> {
        let p2m = self.p2m(domain).ok_or(Refused)?;
        let backed = p2m.lookup(gfn).filter(|b| b.is_own_ram()).ok_or(Refused)?;
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
        let _p2m = self.p2m(domain).ok_or(Refused)?.lock.enter("free_page");
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
        let p2m = self.p2m(domain).ok_or(Refused)?;
        let _p2m = p2m.lock.enter("populate_page");
        let _held = self.lock.enter("populate_page");
        if p2m.lookup(gfn).is_some() {
            return Err(Refused);
        }
        let frame = self.fresh_page(domain)?;
        p2m.set(gfn, Some(Entry::ram(frame)));
        Ok(())
    }

    /// Transfers a page of `from` to `to`, where it appears, zeroed, as `to_gfn`.
    ///
    /// # Errors
    /// [`Refused`] while a reference is held, or if there is no such page.
    pub fn give_page(&self, from: DomId, gfn: Gfn, to: DomId, to_gfn: Gfn) -> Result<(), Refused> {
        let (p2m, its_p2m) = (self.p2m(from).ok_or(Refused)?, self.p2m(to).ok_or(Refused)?);
        // Always in one order, and one lock once.
        let (first, second) = if from <= to { (p2m, its_p2m) } else { (its_p2m, p2m) };
        let _first = first.lock.enter("give_page");
        let _second = (from != to).then(|| second.lock.enter("give_page"));
        let _held = self.lock.enter("give_page");
        let (p2m, frame) = self.ram(from, gfn)?;
        self.memory.frames.give(frame, to)?;
        p2m.set(gfn, None);
        its_p2m.set(to_gfn, Some(Entry::ram(frame)));
        Ok(())
    }

    /// Changes what a page of a guest is used for.
    ///
    /// # Errors
    /// [`Refused`] while a reference is held, or if there is no such page.
    pub fn set_page_kind(&self, domain: DomId, gfn: Gfn, kind: FrameKind) -> Result<(), Refused> {
        let _p2m = self.p2m(domain).ok_or(Refused)?.lock.enter("set_page_kind");
        let _held = self.lock.enter("set_page_kind");
        let (_, frame) = self.ram(domain, gfn)?;
        self.memory.frames.set_kind(frame, domain, kind)
    }

    /// Calls `act` with the platform's lock held, as an embedder that changes its P2M would.
    pub fn under_platform_lock<R>(&self, act: impl FnOnce() -> R) -> R {
        let _held = self.lock.enter("under_platform_lock");
        act()
    }

    /// Has the checks take `map` for the default map of `domain`; for tests without the service.
    pub fn assume_default_map(&self, domain: DomId, map: DefaultMap) {
        self.memory.rules.set_default(domain, map);
    }

    /// Calls `act` with the P2M lock of `domain` held.
    ///
    /// # Panics
    /// If there is no such domain.
    pub fn under_p2m_lock<R>(&self, domain: DomId, act: impl FnOnce() -> R) -> R {
        let _p2m = self.p2m(domain).expect("a domain of the machine").lock.enter("under_p2m_lock");
        act()
    }

    /// A frame that nobody has used yet becomes memory of `domain`.
    pub(crate) fn fresh_page(&self, domain: DomId) -> Result<Mfn, Refused> {
        let frame = lock(&self.spare).pop().ok_or(Refused)?;
        self.memory.frames.give(frame, domain)?;
        Ok(frame)
    }

    /// A frame that left the P2M of `domain` is freed, now or with the last that holds it. True if
    /// it is free.
    pub(crate) fn retire_page(&self, domain: DomId, frame: Mfn) -> Result<bool, Refused> {
        let _held = self.lock.enter("retire_page");
        for unit in &self.units {
            unit.check_left(&self.memory, frame);
        }
        self.memory.frames.retire(frame, domain)
    }
}
