//! What guests call, and what they must be answered.

use pviommu_abi::{
    AllocContextExt, Background as Wire, Batch, BatchElement, BatchOp, Bfn, ContextId, DomId,
    ElementFlags, Errno, MapFlags, Origin, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Role, platform::Access};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    ops::By,
    run::{CONTEXTS, Run, status},
    world::{Mapping, Space, World},
};
use crate::acts::{batch_one, element};
use crate::kit::err;

/// A range of bus frames in a context of a domain.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) dom: usize,
    pub(super) ctx: u16,
    pub(super) bfn: u64,
    pub(super) pages: u32,
}

/// How an unmap is asked for.
#[derive(Clone, Copy)]
pub(super) enum How {
    Alone,
    Batch(ElementFlags),
}

impl Run<'_> {
    /// Why a call that edits `ctx` is refused as a whole; `batch` is told so in other words.
    fn refused(&self, dom: usize, ctx: u16, batch: bool) -> Option<Errno> {
        let domain = &self.world.domains[dom];
        match () {
            () if domain.dead => Some(Errno::ENODEV),
            () if ctx == 0 && !domain.owned && batch => Some(Errno::EACCES),
            () if (ctx == 0 && !domain.owned) || !domain.spaces.contains_key(&ctx) => {
                Some(Errno::EINVAL)
            }
            () => None,
        }
    }

    /// An element of a batch.
    fn in_batch(
        &mut self,
        Target { dom, ctx, .. }: Target,
        answer: (i64, i32, u32),
        apply: impl FnOnce(&mut World) -> (Option<Errno>, u32),
    ) {
        let expected = match self.refused(dom, ctx, true) {
            Some(errno) => (err(errno), 0, 0),
            None => {
                let (errno, done) = apply(&mut self.world);
                (0, i32::try_from(errno.map_or(0, err)).unwrap(), done)
            }
        };
        self.answered(answer, expected);
    }

    /// An edit by one of v7's own calls.
    fn alone(
        &mut self,
        Target { dom, ctx, .. }: Target,
        answer: (i64, u32),
        apply: impl FnOnce(&mut World) -> (Option<Errno>, u32),
    ) {
        let expected = match self.refused(dom, ctx, false) {
            Some(errno) => (err(errno), 0),
            None => {
                let (errno, done) = apply(&mut self.world);
                (errno.map_or(0, err), done)
            }
        };
        self.answered(answer, expected);
    }

    pub(super) fn map(&mut self, at: Target, gfn: u64, access: Access, by: By) {
        let Target { dom, ctx, bfn, pages } = at;
        let owner = if let By::BatchOf(owner) = by { owner } else { dom };
        let may = owner == dom || self.world.domains[dom].role == Role::Hardware;
        let apply = |world: &mut World| match may {
            true => world.map(at, |world, i| world.acquire(owner, gfn + i, access)),
            false => (Some(Errno::EPERM), 0),
        };
        let flags = element_flags(access);
        match by {
            By::Alone => {
                let flags = map_flags(access);
                let answer = self.vm(dom).map(ContextId(ctx), bfn, gfn, pages, flags);
                self.alone(at, answer, apply);
            }
            By::Batch | By::BatchOf(_) => {
                let own = matches!(by, By::Batch);
                let owner = if own { DomId::SELF } else { self.id(owner) };
                let element = element(BatchOp::MAP, flags, bfn, gfn, pages);
                let answer = batch_one(&self.vm(dom), ContextId(ctx), owner, element);
                self.in_batch(at, answer, apply);
            }
            By::List => {
                let gfns: Vec<u64> = (gfn..gfn + u64::from(pages)).collect();
                let element = element(BatchOp::MAP_LIST, flags, bfn, 0, pages);
                let answer = self.list(dom, ctx, element, &gfns);
                self.in_batch(at, answer, apply);
            }
        }
    }

    pub(super) fn map_grant(&mut self, at: Target, share: usize, access: Access) {
        let its = &self.world.shares[share];
        let (owner, reference) = (self.id(its.owner), its.grant.unwrap().reference);
        let element = element(BatchOp::MAP_GRANT, element_flags(access), at.bfn, reference, 1);
        let answer = batch_one(&self.vm(at.dom), ContextId(at.ctx), owner, element);
        self.in_batch(at, answer, |world| {
            world.map(at, |world, _| world.acquire_grant(at.dom, share, access))
        });
    }

    pub(super) fn unmap(&mut self, at: Target, how: How) {
        let Target { dom, ctx, bfn, pages } = at;
        match how {
            How::Alone => {
                let answer = self.vm(dom).unmap(ContextId(ctx), bfn, pages);
                self.alone(at, answer, |world| world.unmap(at, false));
            }
            How::Batch(flags) => {
                let skip_holes = flags.contains(ElementFlags::SKIP_HOLES);
                let element = element(BatchOp::UNMAP, flags, bfn, 0, pages);
                let answer = batch_one(&self.vm(dom), ContextId(ctx), DomId::SELF, element);
                self.in_batch(at, answer, |world| world.unmap(at, skip_holes));
            }
        }
    }

    fn list(
        &mut self,
        dom: usize,
        ctx: u16,
        element: BatchElement,
        gfns: &[u64],
    ) -> (i64, i32, u32) {
        let mut header = Batch { ctx_id: u32::from(ctx), nr_ops: 1, ..Batch::default() };
        // The list lies behind the element.
        let mut bytes = BatchElement { page: 32, ..element }.as_bytes().to_vec();
        bytes.extend_from_slice(gfns.as_bytes());
        let vm = self.vm(dom);
        let status = vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(&mut bytes));
        let (after, _) = BatchElement::read_from_prefix(&bytes).unwrap();
        (status, after.status, after.done)
    }

    pub(super) fn alloc(&mut self, dom: usize, background: Wire, (first, last): (u64, u64)) {
        let mut argument = AllocContextExt {
            background,
            aperture_first: Bfn(first),
            aperture_last: Bfn(last),
            ..AllocContextExt::default()
        };
        let vm = self.vm(dom);
        let usual = (background, first, last) == (Wire::DEFAULT, 0, 0);
        let answer = if usual && dom == 1 {
            // By v7's own call.
            let opened = vm.alloc();
            argument.ctx_id = opened.map_or(0, |context| u32::from(context.0));
            opened.err().unwrap_or(0)
        } else {
            vm.op(Subop::ALLOC_CONTEXT_EXT, &mut argument)
        };
        let domain = &self.world.domains[dom];
        let used = domain.spaces.keys().filter(|id| **id != 0).count();
        let expected = match () {
            () if domain.dead => Err(Errno::ENODEV),
            () if last > self.world.top => Err(Errno::EINVAL),
            () if used == usize::from(CONTEXTS) => Err(Errno::ENOSPC),
            () => Ok(()),
        };
        self.answered(answer, status(expected));
        if expected.is_ok() && answer == 0 {
            let id = u16::try_from(argument.ctx_id).unwrap();
            assert!(id != 0 && id <= CONTEXTS);
            let all = (first, last) == (0, 0);
            let aperture = if all { (0, self.world.top) } else { (first, last) };
            let space = Space::new(self.world.background(background), aperture);
            assert!(self.world.domains[dom].spaces.insert(id, space).is_none(), "it is in use");
        }
    }
}

fn element_flags(access: Access) -> ElementFlags {
    let mut flags = ElementFlags::empty();
    flags.set(ElementFlags::READ, access.contains(Access::READ));
    flags.set(ElementFlags::WRITE, access.contains(Access::WRITE));
    flags
}

fn map_flags(access: Access) -> MapFlags {
    let mut flags = MapFlags::empty();
    flags.set(MapFlags::READABLE, access.contains(Access::READ));
    flags.set(MapFlags::WRITEABLE, access.contains(Access::WRITE));
    flags
}

impl World {
    /// What a map must answer, page by page.
    fn map(
        &mut self,
        Target { dom, ctx, bfn, pages }: Target,
        page: impl Fn(&Self, u64) -> Result<Mapping, Errno>,
    ) -> (Option<Errno>, u32) {
        if let Err(errno) = self.space(dom, ctx).unwrap().editable(bfn, pages) {
            return (Some(errno), 0);
        }
        for i in 0..pages {
            let at = bfn + u64::from(i);
            let mapping = match page(self, u64::from(i)) {
                Ok(mapping) => mapping,
                Err(errno) => return (Some(errno), i),
            };
            if self.get(dom, ctx, at).is_some_and(|it| it.origin != Origin::INITIAL) {
                return (Some(Errno::EADDRINUSE), i);
            }
            self.put(dom, ctx, at, Some(mapping));
        }
        (None, pages)
    }

    fn unmap(
        &mut self,
        Target { dom, ctx, bfn, pages }: Target,
        skip_holes: bool,
    ) -> (Option<Errno>, u32) {
        if let Err(errno) = self.space(dom, ctx).unwrap().editable(bfn, pages) {
            return (Some(errno), 0);
        }
        for i in 0..pages {
            let at = bfn + u64::from(i);
            match self.get(dom, ctx, at) {
                Some(_) => self.put(dom, ctx, at, None),
                None if skip_holes => {}
                None => return (Some(Errno::ENOENT), i),
            }
        }
        (None, pages)
    }
}
