//! What the embedder does with P2Ms, and domains with pages that they share.

use pviommu_abi::{DomId, Errno, Gfn};
use pviommu_hypervisor::{
    Outcome,
    addr::{GfnRange, Mfn, MfnRange},
    platform::Access,
};

use super::{
    ops::Change,
    p2m::Page,
    run::Run,
    world::{Grant, Share, World},
};

impl Run<'_> {
    pub(super) fn change(&mut self, dom: usize, gfn: u64, pages: u64, change: Change) {
        let (bed, id) = (self.bed, self.id(dom));
        self.touch(gfn, pages);
        self.touch_gfn(dom, gfn);
        let gfns = GfnRange::of_pages(Gfn(gfn), pages).unwrap();
        let answer = match change {
            Change::Balloon => bed.balloon_out_range(id, gfns).map(|_| ()),
            Change::Populate => bed.populate_range(id, gfns).map(|_| ()),
            Change::Exchange => bed.exchange_range(id, gfns).map(|_| ()),
            Change::Access(access) => bed.set_access_range(id, gfns, access),
        };
        let mut told = Ok(());
        let mut refused = Ok(());
        for gfn in gfn..gfn + pages {
            refused = self.world.may_change(dom, gfn, change);
            if refused.is_err() {
                break;
            }
            let old = self.world.domains[dom].p2m.get(gfn).copied();
            let fresh = || {
                let frame = bed.board().machine_frame(id, Gfn(gfn)).unwrap().0;
                assert!(!self.world.frames.contains_key(&frame), "a frame that is in use");
                Page { frame, access: Access::all(), share: None, mmio: false }
            };
            let new = match change {
                Change::Balloon => None,
                Change::Populate | Change::Exchange => Some(fresh()),
                Change::Access(access) => old.map(|old| Page { access, ..old }),
            };
            told = told.and(self.world.change(dom, gfn, new));
        }
        self.answered(answer, told.and(refused));
        self.touch_gfn(dom, gfn);
    }

    pub(super) fn map_foreign(
        &mut self,
        (dom, gfn): (usize, u64),
        (of, of_gfn): (usize, u64),
        read_only: bool,
    ) {
        if dom == of {
            return;
        }
        let page = self.world.domains[of].p2m.get(of_gfn).filter(|page| page.is_own_ram());
        let page = page.copied();
        let free = self.world.domains[dom].p2m.get(gfn).is_none();
        let from = (self.id(of), Gfn(of_gfn));
        let answer = self.bed.map_foreign(self.id(dom), Gfn(gfn), from, read_only);
        let expected = match page {
            None => Err(Errno::EPERM),
            Some(_) if !free => Err(Errno::EEXIST),
            Some(page) => {
                let share = self.world.add_share(of, read_only, Some(page.frame), None);
                self.world.frames.entry(page.frame).or_default().holds += 1;
                let access = if read_only { Access::READ } else { Access::all() };
                let (frame, share) = (page.frame, Some(share));
                let new = Page { frame, access, share, mmio: false };
                self.world.change(dom, gfn, Some(new))
            }
        };
        self.answered(answer, expected);
        self.touch_gfn(dom, gfn);
    }

    pub(super) fn unmap_foreign(&mut self, (dom, gfn): (usize, u64)) {
        let page = self.world.domains[dom].p2m.get(gfn).copied();
        let expected = match page.and_then(|page| Some((page, page.share?))) {
            None => Err(Errno::ENOENT),
            Some((_, share)) if self.world.shares[share].pins > 0 => Err(Errno::EBUSY),
            Some((page, share)) => {
                self.world.shares[share].ended = true;
                self.world.frames.get_mut(&page.frame).unwrap().holds -= 1;
                self.world.change(dom, gfn, None)
            }
        };
        let answer = self.bed.unmap_foreign(self.id(dom), Gfn(gfn));
        // INV-25.
        self.answered(answer, expected);
        self.touch_gfn(dom, gfn);
    }

    pub(super) fn add_grant(&mut self, dom: usize, gfn: u64, to: usize, read_only: bool) {
        let reference = self.bed.grant(self.id(dom), Gfn(gfn), self.id(to), read_only);
        let grant = Some(Grant { gfn, to, reference });
        let share = self.world.add_share(dom, read_only, None, grant);
        // The oldest are not chosen any more.
        self.world.grants.insert(0, share);
    }

    pub(super) fn close_grant(&mut self, grant: usize) {
        let Some((share, granter, reference)) = self.grant(grant) else { return };
        let closed = self.bed.close_grant(granter, reference);
        let there = !self.world.shares[share].ended;
        assert_eq!(closed, there.then_some(()).ok_or(Errno::ENOENT));
        self.world.shares[share].closed = true;
    }

    pub(super) fn end_grant(&mut self, grant: usize) {
        let Some((share, granter, reference)) = self.grant(grant) else { return };
        let share = &mut self.world.shares[share];
        let may = !share.ended && (share.pins == 0);
        let ended = self.bed.end_grant(granter, reference);
        assert_eq!(ended, may.then_some(()).ok_or(Errno::EBUSY), "INV-25");
        share.ended |= may;
    }

    fn grant(&self, grant: usize) -> Option<(usize, DomId, u64)> {
        let share = *self.world.grants.get(grant)?;
        let its = &self.world.shares[share];
        Some((share, self.id(its.owner), its.grant?.reference))
    }

    /// Pages that left their owner go first: that is what it is for.
    pub(super) fn retarget(&mut self, dom: usize, (of, gfn): (usize, u64), what_left: bool) {
        let mut left = self.world.frames.iter().filter(|(_, kept)| kept.left);
        let zombie = left.find(|(_, kept)| kept.references > 0).map(|(frame, _)| *frame);
        let page = self.world.domains[of].p2m.get(gfn).filter(|page| !page.mmio);
        let page = page.map(|page| page.frame);
        let Some(frame) = zombie.filter(|_| what_left).or(page) else { return };
        let frames = [MfnRange::single(Mfn(frame))];
        let answer = self.bed.retarget(self.id(dom), &frames);
        self.answered(answer, Ok(()));
        self.world.retarget(dom, frame, false);
        self.touched.push(frame);
        self.touch_gfn(of, gfn);
    }

    /// Registers of a device, and a domain that may have them mapped.
    pub(super) fn registers(
        &self,
        number: usize,
        other: Option<(usize, usize, u64)>,
    ) -> Option<(usize, u64)> {
        if let Some((dom, of, gfn)) = other {
            let page = self.world.domains[of].p2m.get(gfn).filter(|page| page.mmio);
            return page.map(|page| (dom, page.frame));
        }
        let domains = self.world.domains.iter().enumerate();
        let mut mapped = domains.flat_map(|(dom, domain)| {
            let maps = domain.spaces.values().flat_map(|space| space.maps.values().flatten());
            maps.filter(|it| it.mmio).map(move |it| (dom, it.frame))
        });
        mapped.nth(number)
    }

    pub(super) fn revoke(&mut self, dom: usize, frame: u64) {
        let frames = MfnRange::single(Mfn(frame));
        let answer = self.bed.revoke_mmio(self.id(dom), frames);
        self.answered(answer, Ok(()));
        self.world.retarget(dom, frame, true);
        self.touched.push(frame);
    }

    /// The timer.
    pub(super) fn flush_what_waits(&mut self) {
        for dom in 0..self.world.domains.len() {
            if self.world.domains[dom].dead {
                continue;
            }
            let state = self.bed.domain(self.id(dom));
            let flushed = loop {
                if let Outcome::Done(status) = self.bed.iommu().flush_deferred(state, 0) {
                    break status;
                }
            };
            self.answered(flushed, 0);
        }
    }

    pub(super) fn kill(&mut self, dom: usize) {
        let ended = self.bed.teardown(self.id(dom), 0);
        self.answered(ended, 0);
        // Behind a unit that failed it may still do what it did.
        let failed = self.bed.failed_units();
        let gone = self.world.devices.iter().filter(|it| it.owner == Some(dom));
        for device in gone.filter(|it| !failed.contains(&it.unit)) {
            self.bed.board().set_device_owner(device.function, None);
        }
        self.world.kill(dom);
    }
}

impl World {
    /// A guest frame that is a foreign mapping.
    pub(super) fn foreign(&self, number: usize) -> Option<(usize, u64)> {
        let domains = self.domains.iter().enumerate();
        let mut foreign = domains.flat_map(|(dom, domain)| {
            let pages = domain.p2m.iter().filter(|(_, page)| page.share.is_some());
            pages.map(move |(gfn, _)| (dom, gfn))
        });
        foreign.nth(number)
    }

    fn add_share(
        &mut self,
        owner: usize,
        read_only: bool,
        frame: Option<u64>,
        grant: Option<Grant>,
    ) -> usize {
        let (closed, ended, pins) = (false, false, 0);
        self.shares.push(Share { owner, read_only, closed, ended, pins, frame, grant });
        self.shares.len() - 1
    }
}
