//! What the hypervisor asks of the service besides P2M changes: default maps, quarantine, and pages
//! that are taken out of every context.

use pviommu_abi::{DomId, Errno, Gfn, PciDevice};
use pviommu_hypervisor::{Backing, DefaultMap, Outcome, P2mChange, Sweep, addr::MfnRange};

use super::bed::Bed;
use crate::sync::again;

/// Times a call may be continued before it counts as stuck.
const CONTINUATIONS: u32 = 1 << 20;

/// Makes a call until it is done.
pub(super) fn finish(mut call: impl FnMut() -> Outcome) -> Result<(), Errno> {
    for _ in 0..CONTINUATIONS {
        if let Outcome::Done(status) = call() {
            return Errno::from_ret(status).map_or(Ok(()), Err);
        }
        again();
    }
    unreachable!("a call makes no progress");
}

impl Bed<'_> {
    /// Gives `domain` its default map; one that is maintained is filled with all its RAM, stretch by
    /// stretch, as its P2M is made.
    ///
    /// # Errors
    /// What the service says; `-ENOMEM` and others of a part of the RAM, too.
    pub fn set_default(&self, domain: DomId, map: DefaultMap) -> Result<(), Errno> {
        let rules = &self.board().memory.rules;
        let before = rules.default_map(domain);
        // From its first entry on the checks know it, and the platform which map it is asked for.
        rules.set_default(domain, map);
        let (state, cpu) = (self.domain(domain), self.own_cpu());
        let made = finish(|| self.iommu().set_default(state, cpu, map));
        if made.is_err() {
            rules.set_default(domain, before);
            return made;
        }
        if map.need_iommu() { self.fill(domain) } else { Ok(()) }
    }

    /// The default map that was last given to `domain`.
    #[must_use]
    pub fn default_map(&self, domain: DomId) -> DefaultMap {
        self.board().memory.rules.default_map(domain)
    }

    fn fill(&self, domain: DomId) -> Result<(), Errno> {
        let p2m = self.board().p2m(domain).ok_or(Errno::ESRCH)?;
        let _held = p2m.lock.enter("set_default");
        let mut from = Gfn(0);
        while let Some((gfns, first, access)) = p2m.next_stretch(from) {
            let new = Backing { first, access, mmio: false };
            self.carry(domain, P2mChange::new(gfns, None, Some(new)))?;
            from = Gfn(gfns.last().0 + 1);
        }
        Ok(())
    }

    /// Tells the service of a change of the P2M of `domain`, whose lock the caller holds.
    pub(super) fn carry(&self, domain: DomId, mut change: P2mChange) -> Result<(), Errno> {
        let (state, cpu) = (self.domain(domain), self.own_cpu());
        finish(|| {
            self.board().pieces.end();
            self.iommu().p2m_changed(state, cpu, &mut change)
        })
    }

    /// Takes every mapping of `frames` out of the contexts of `domain`.
    ///
    /// # Errors
    /// What the service says.
    pub fn retarget(&self, domain: DomId, frames: &[MfnRange]) -> Result<(), Errno> {
        let (state, cpu) = (self.domain(domain), self.own_cpu());
        let mut sweep = Sweep::default();
        finish(|| self.iommu().retarget(state, cpu, frames, &mut sweep))
    }

    /// Takes every mapping of the registers `frames` out of the contexts of `domain`.
    ///
    /// # Errors
    /// What the service says.
    pub fn revoke_mmio(&self, domain: DomId, frames: MfnRange) -> Result<(), Errno> {
        let (state, cpu) = (self.domain(domain), self.own_cpu());
        let mut sweep = Sweep::default();
        finish(|| self.iommu().revoke_mmio(state, cpu, frames, &mut sweep))
    }

    /// Puts a device that nobody owns into quarantine. From then on its direct ranges must always be
    /// mapped.
    ///
    /// # Errors
    /// What the service says.
    pub fn quarantine(&self, function: PciDevice) -> Result<(), Errno> {
        self.iommu().quarantine(self.own_cpu(), function)?;
        self.board().guard(function);
        Ok(())
    }

    /// Looks whether `function` can use its direct ranges now; records nothing.
    ///
    /// # Panics
    /// If it cannot.
    pub fn check_direct(&self, function: PciDevice) {
        assert_eq!(self.board().check_direct(function), Ok(()), "INV-31");
    }
}
