//! What domains do with pages that they share: grants, and the ends of foreign mappings.

use pviommu_abi::{DomId, Errno, Gfn};
use pviommu_hypervisor::platform::Access;

use super::{bed::Bed, board::Board, frames::Refused, p2m::Entry};

impl Board {
    /// Grants a page of `granter` to `to`; the reference.
    pub fn grant(&self, granter: DomId, gfn: Gfn, to: DomId, read_only: bool) -> u64 {
        self.shares.grant(granter, gfn, to, read_only)
    }

    /// Lets nobody pin a grant any more.
    ///
    /// # Errors
    /// [`Refused`] if there is none.
    pub fn close_grant(&self, granter: DomId, reference: u64) -> Result<(), Refused> {
        self.shares.close(granter, reference)
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// [`Refused`] while it is pinned, or if there is none.
    pub fn end_grant(&self, granter: DomId, reference: u64) -> Result<(), Refused> {
        let _held = self.lock.enter("end_grant");
        self.shares.end_grant(granter, reference)
    }

    /// How often a grant is pinned.
    #[must_use]
    pub fn grant_pins(&self, granter: DomId, reference: u64) -> u32 {
        self.shares.grant_pins(granter, reference)
    }

    /// How often the foreign mapping at a guest frame of `domain` is pinned; 0 if it is none.
    #[must_use]
    pub fn foreign_pins(&self, domain: DomId, gfn: Gfn) -> u32 {
        let backed = self.p2m(domain).and_then(|p2m| p2m.lookup(gfn));
        backed.and_then(|backed| backed.foreign).map_or(0, |handle| self.shares.pins(handle))
    }

    /// A foreign mapping of a page of `owner`, to be put into a P2M.
    pub(crate) fn foreign_entry(
        &self,
        owner: DomId,
        gfn: Gfn,
        read_only: bool,
    ) -> Result<Entry, Refused> {
        let p2m = self.p2m(owner).ok_or(Refused)?;
        let _p2m = p2m.lock.enter("map_foreign");
        let backed = p2m.lookup(gfn).filter(|backed| backed.is_own_ram()).ok_or(Refused)?;
        self.memory.frames.hold(backed.frame, owner)?;
        let handle = self.shares.map(owner, backed.frame, read_only);
        let access = if read_only { Access::READ } else { Access::all() };
        Ok(Entry { frame: backed.frame, mmio: false, access, foreign: Some(handle) })
    }

    /// Ends a foreign mapping that goes out of a P2M.
    pub(crate) fn drop_foreign(&self, entry: Entry) -> Result<(), Refused> {
        self.shares.end(entry.foreign.ok_or(Refused)?)?;
        self.memory.frames.unhold(entry.frame)
    }
}

impl Bed<'_> {
    /// Grants a page of `granter` to `to`; the reference.
    #[must_use]
    pub fn grant(&self, granter: DomId, gfn: Gfn, to: DomId, read_only: bool) -> u64 {
        self.board().grant(granter, gfn, to, read_only)
    }

    /// Lets nobody pin a grant any more; for a granter that dies, before its pages are retargeted.
    ///
    /// # Errors
    /// `-ENOENT`: there is none.
    pub fn close_grant(&self, granter: DomId, reference: u64) -> Result<(), Errno> {
        self.board().close_grant(granter, reference).map_err(|_| Errno::ENOENT)
    }

    /// Ends a grant.
    ///
    /// # Errors
    /// `-EBUSY`: it is pinned, or there is none.
    pub fn end_grant(&self, granter: DomId, reference: u64) -> Result<(), Errno> {
        self.board().end_grant(granter, reference).map_err(|_| Errno::EBUSY)
    }
}
