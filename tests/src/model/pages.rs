//! Whose pages may be mapped, and what becomes of mappings when a P2M changes.

use pviommu_abi::{Errno, Origin};
use pviommu_hypervisor::{DefaultMap, platform::Access};

use super::{
    ops::Change,
    p2m::Page,
    world::{Hold, Kept, Mapping, World},
};

impl World {
    /// A page of `owner` for a mapping of a guest.
    pub(super) fn acquire(&self, owner: usize, gfn: u64, access: Access) -> Result<Mapping, Errno> {
        let page = self.domains[owner].p2m.get(gfn).ok_or(Errno::ENOENT)?;
        let (frame, mmio) = (page.frame, page.mmio);
        let less = page.access & access;
        if less.is_empty() || (less != access && !mmio) {
            return Err(Errno::EPERM);
        }
        let hold = match page.share {
            Some(share) => {
                self.pin(share, access)?;
                Hold::Share(share)
            }
            None if mmio => Hold::Nothing,
            None => Hold::Page,
        };
        Ok(Mapping { frame, access: less, origin: Origin::GUEST, hold, mmio })
    }

    fn pin(&self, share: usize, access: Access) -> Result<(), Errno> {
        let its = &self.shares[share];
        let refused = its.closed || (its.read_only && access.contains(Access::WRITE));
        if refused { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// The page of a grant for a mapping of `dom`.
    pub(super) fn acquire_grant(
        &self,
        dom: usize,
        share: usize,
        access: Access,
    ) -> Result<Mapping, Errno> {
        let its = &self.shares[share];
        let grant = its.grant.filter(|_| !its.ended).ok_or(Errno::ENOENT)?;
        if grant.to != dom {
            return Err(Errno::EPERM);
        }
        let frame = match its.frame.filter(|_| its.pins > 0) {
            Some(frame) => frame,
            None => {
                let page = self.domains[its.owner].p2m.get(grant.gfn);
                page.filter(|page| page.is_own_ram()).ok_or(Errno::ENOENT)?.frame
            }
        };
        self.pin(share, access)?;
        let hold = Hold::Share(share);
        Ok(Mapping { frame, access, origin: Origin::GUEST, hold, mmio: false })
    }

    /// The pages of a guest map of `dom` as its P2M is now.
    pub(super) fn guest_map(&self, dom: usize) -> Vec<(u64, Mapping)> {
        let memory = self.domains[dom].p2m.iter().filter(|(_, page)| !page.mmio);
        let map = memory.filter_map(|(gfn, page)| {
            let acquired = self.acquire(dom, gfn, page.access).ok()?;
            Some((gfn, Mapping { origin: Origin::INITIAL, ..acquired }))
        });
        map.collect()
    }

    /// Why a P2M cannot be changed so.
    pub(super) fn may_change(&self, dom: usize, gfn: u64, change: Change) -> Result<(), Errno> {
        let page = self.domains[dom].p2m.get(gfn);
        let right = match change {
            Change::Populate if page.is_some() => return Err(Errno::EEXIST),
            Change::Populate => true,
            Change::Access(_) => page.is_some(),
            Change::Balloon | Change::Exchange => page.is_some_and(Page::is_own_ram),
        };
        right.then_some(()).ok_or(Errno::ENOENT)
    }

    /// Puts another page, or none, behind a guest frame; what a maintained map makes of it.
    pub(super) fn change(&mut self, dom: usize, gfn: u64, new: Option<Page>) -> Result<(), Errno> {
        let old = self.domains[dom].p2m.set(gfn, new);
        let told = self.carry_over(dom, gfn, old, new);
        let moved = new.map(|new| new.frame) != old.map(|old| old.frame);
        if let Some(old) = old.filter(|old| old.is_own_ram() && moved) {
            self.frames.entry(old.frame).or_default().left = true;
        }
        told
    }

    fn carry_over(
        &mut self,
        dom: usize,
        gfn: u64,
        old: Option<Page>,
        new: Option<Page>,
    ) -> Result<(), Errno> {
        let map = self.domains[dom].default;
        if !map.need_iommu() || self.space(dom, 0).is_none() {
            return Ok(());
        }
        let own = |page: Option<Page>| page.filter(|page| page.share.is_none());
        let (old, new) = (own(old), own(new).filter(|new| !new.access.is_empty()));
        let place = |page: Page| if map == DefaultMap::IdentityMfn { page.frame } else { gfn };
        if let Some(out) = old.map(place)
            && self.get(dom, 0, out).is_some()
        {
            self.put(dom, 0, out, None);
        }
        let Some(new) = new else { return Ok(()) };
        let at = place(new);
        if at > self.top {
            return Err(Errno::ERANGE);
        }
        if self.space(dom, 0).unwrap().is_reserved(at) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.put(dom, 0, at, Some(maintained(new)));
        Ok(())
    }

    /// Takes every mapping of `frame`, registers or memory, out of the contexts of `dom`.
    pub(super) fn retarget(&mut self, dom: usize, frame: u64, mmio: bool) {
        let ids: Vec<u16> = self.domains[dom].spaces.keys().copied().collect();
        for ctx in ids {
            let maps = &self.space(dom, ctx).unwrap().maps;
            let hit = |(bfn, it): (&u64, &Option<Mapping>)| {
                it.is_some_and(|it| (it.frame, it.mmio) == (frame, mmio)).then_some(*bfn)
            };
            let mut bfns: Vec<u64> = maps.iter().filter_map(hit).collect();
            let initial = self.get(dom, ctx, frame);
            let initial = initial.filter(|it| (it.frame, it.mmio) == (frame, mmio));
            bfns.extend(initial.map(|_| frame));
            bfns.dedup();
            for bfn in bfns {
                if self.get(dom, ctx, bfn).is_some() {
                    self.put(dom, ctx, bfn, None);
                }
            }
        }
    }

    /// Who keeps `frame`.
    pub(super) fn kept(&self, frame: u64) -> Kept {
        self.frames.get(&frame).copied().unwrap_or_default()
    }
}

/// An entry of a map that the hypervisor keeps in step with the P2M.
pub(super) fn maintained(page: Page) -> Mapping {
    let Page { frame, access, mmio, .. } = page;
    Mapping { frame, access, origin: Origin::MAINTAINED, hold: Hold::Nothing, mmio }
}
