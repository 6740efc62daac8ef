//! Where devices go, and what they bring along; the ownership switch.

use pviommu_abi::{Background as Wire, Errno, Origin, OwnershipMode};
use pviommu_hypervisor::{DefaultMap, Reserved, ReservedKind, Role};

use super::{
    pages::maintained,
    world::{Space, World, bounds, contains},
};
use crate::vm::Found;

impl World {
    pub(super) fn background(&self, asked: Wire) -> Found {
        match asked {
            Wire::SCRATCH => Found::Scratch,
            Wire::FAULT => Found::Fault,
            _ => self.background,
        }
    }

    /// The default context of `dom`, as the domain starts.
    pub(super) fn build_initial(&mut self, dom: usize) -> Option<Space> {
        let mut space = self.empty(self.background, (0, self.top));
        let mut maps = Vec::new();
        match self.domains[dom].default {
            DefaultMap::Blocked => return None,
            DefaultMap::Host => space.host = true,
            DefaultMap::Guest => maps = self.guest_map(dom),
            map => {
                let pages = self.domains[dom].p2m.iter();
                for (gfn, page) in pages.filter(|(_, page)| !page.mmio) {
                    let at = if map == DefaultMap::IdentityMfn { page.frame } else { gfn };
                    maps.push((at, maintained(*page)));
                }
            }
        }
        for (bfn, mapping) in maps {
            self.hold(mapping.frame, mapping.hold);
            space.maps.insert(bfn, Some(mapping));
        }
        Some(space)
    }

    /// Where a device is that is in the default context.
    fn default_context(&self, dom: usize) -> Option<u16> {
        self.space(dom, 0).map(|_| 0)
    }

    /// Makes room for `device` in a context: what it has reserved is its own from then on.
    fn come(&mut self, device: usize, dom: usize, ctx: u16) -> Result<(), Errno> {
        let ranges = self.devices[device].reserved.clone();
        for range in &ranges {
            let (first, last) = bounds(range);
            let mut there = (first..=last).filter_map(|bfn| self.get(dom, ctx, bfn));
            if there.any(|it| it.origin != Origin::INITIAL) {
                return Err(Errno::EADDRINUSE);
            }
            if self.space(dom, ctx).unwrap().reserved.iter().any(|(it, _)| conflicts(it, range)) {
                return Err(Errno::EADDRINUSE);
            }
        }
        for range in &ranges {
            let (first, last) = bounds(range);
            for bfn in first..=last {
                if self.get(dom, ctx, bfn).is_some() {
                    self.put(dom, ctx, bfn, None);
                }
            }
            let reserved = &mut self.domains[dom].spaces.get_mut(&ctx).unwrap().reserved;
            match reserved.iter_mut().find(|(it, _)| it == range) {
                Some((_, uses)) => *uses += 1,
                None => reserved.push((*range, 1)),
            }
        }
        Ok(())
    }

    /// It leaves the context that it is in.
    fn go(&mut self, device: usize) {
        let its = &self.devices[device];
        if let (Some(dom), Some(ctx)) = (its.owner, its.context)
            && let Some(space) = self.domains[dom].spaces.get_mut(&ctx)
        {
            for range in &its.reserved {
                let used = space.reserved.iter_mut().find(|(it, _)| it == range);
                used.unwrap().1 -= 1;
            }
            space.reserved.retain(|(_, uses)| *uses > 0);
        }
    }

    fn place(&mut self, device: usize, dom: usize, to: Option<u16>) -> Result<(), Errno> {
        if self.devices[device].context == to && self.devices[device].owner == Some(dom) {
            return Ok(());
        }
        if let Some(ctx) = to {
            self.come(device, dom, ctx)?;
        }
        self.go(device);
        self.devices[device].owner = Some(dom);
        self.devices[device].context = to;
        self.devices[device].blocked = false;
        Ok(())
    }

    pub(super) fn attach(&mut self, dom: usize, device: usize, ctx: u16) -> Result<(), Errno> {
        if self.domains[dom].dead || self.devices[device].owner != Some(dom) {
            return Err(Errno::ENODEV);
        }
        if ctx == 0 {
            return self.place(device, dom, self.default_context(dom));
        }
        self.space(dom, ctx).ok_or(Errno::ENOENT)?;
        self.place(device, dom, Some(ctx))
    }

    pub(super) fn assign(&mut self, dom: usize, device: usize) -> Result<(), Errno> {
        let direct = self.devices[device].reserved.iter().any(|it| it.kind == ReservedKind::Direct);
        let domain = &self.domains[dom];
        if domain.dead {
            return Err(Errno::ESRCH);
        }
        if self.devices[device].owner.is_some() {
            return Err(Errno::EBUSY);
        }
        if direct && domain.role != Role::Hardware && !domain.may_have_direct {
            return Err(Errno::EPERM);
        }
        self.place(device, dom, self.default_context(dom))
    }

    pub(super) fn unassign(&mut self, dom: usize, device: usize) -> Result<(), Errno> {
        if self.devices[device].owner != Some(dom) {
            return Err(Errno::ENODEV);
        }
        self.go(device);
        self.devices[device].owner = None;
        self.devices[device].context = None;
        Ok(())
    }

    fn of(&self, dom: usize, context: Option<u16>) -> Vec<usize> {
        let here = |i: &usize| {
            let device = &self.devices[*i];
            device.owner == Some(dom) && device.context == context
        };
        (0..self.devices.len()).filter(here).collect()
    }

    pub(super) fn free(&mut self, dom: usize, ctx: u16, reattach: bool) -> Result<(), Errno> {
        if self.domains[dom].dead {
            return Err(Errno::ENODEV);
        }
        if ctx == 0 {
            return Err(Errno::EINVAL);
        }
        self.space(dom, ctx).ok_or(Errno::ENOENT)?;
        let devices = self.of(dom, Some(ctx));
        if !devices.is_empty() && !reattach {
            return Err(Errno::EBUSY);
        }
        for device in devices {
            self.place(device, dom, self.default_context(dom))?;
        }
        self.drop_space(dom, ctx);
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        dom: usize,
        mode: OwnershipMode,
        wire: Wire,
    ) -> Result<(), Errno> {
        let domain = &self.domains[dom];
        if domain.dead {
            return Err(Errno::ENODEV);
        }
        if mode != OwnershipMode::CLEAR && wire != Wire::DEFAULT {
            return Err(Errno::EINVAL);
        }
        if domain.default.need_iommu() {
            return Err(Errno::EACCES);
        }
        let gives = mode == OwnershipMode::GIVE_BACK;
        if domain.owned != gives {
            return Ok(());
        }
        let empty = self.empty(self.background(wire), (0, self.top));
        let new = match mode {
            OwnershipMode::GIVE_BACK => self.build_initial(dom),
            OwnershipMode::KEEP if domain.default != DefaultMap::Blocked => {
                self.domains[dom].owned = true;
                return Ok(());
            }
            _ => Some(empty),
        };
        self.replace_default(dom, new)?;
        self.domains[dom].owned = !gives;
        Ok(())
    }

    /// The devices of the default context go to `new`, all or none.
    fn replace_default(&mut self, dom: usize, new: Option<Space>) -> Result<(), Errno> {
        let devices = self.of(dom, self.default_context(dom));
        let to = new.as_ref().map(|_| 0);
        let old = self.domains[dom].spaces.remove(&0);
        self.domains[dom].spaces.extend(new.map(|new| (0, new)));
        for device in &devices {
            if to.is_some()
                && let Err(errno) = self.come(*device, dom, 0)
            {
                self.drop_space(dom, 0);
                self.domains[dom].spaces.extend(old.map(|old| (0, old)));
                return Err(errno);
            }
        }
        for device in devices {
            self.devices[device].context = to;
        }
        for mapping in old.into_iter().flat_map(|old| old.maps.into_values()).flatten() {
            self.release(mapping);
        }
        Ok(())
    }

    pub(super) fn kill(&mut self, dom: usize) {
        for device in 0..self.devices.len() {
            let _ = self.unassign(dom, device);
        }
        let ids: Vec<u16> = self.domains[dom].spaces.keys().copied().collect();
        ids.into_iter().for_each(|ctx| self.drop_space(dom, ctx));
        self.domains[dom].dead = true;
    }
}

/// One of them direct, and not meaning the same.
fn conflicts(there: &Reserved, added: &Reserved) -> bool {
    let direct = |it: &Reserved| it.kind == ReservedKind::Direct;
    let (first, last) = bounds(added);
    let overlaps = (first..=last).any(|bfn| contains(bounds(there), bfn));
    there != added && overlaps && (direct(there) || direct(added))
}
