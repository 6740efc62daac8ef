//! Maps and unmaps: how they are asked for, and what they must be answered.

use pviommu_abi::{
    Batch, BatchElement, BatchOp, ContextId, DomId, ElementFlags, Errno, MapFlags, Origin, Subop,
};
use pviommu_guest::Hypercall;
use pviommu_hypervisor::{Role, platform::Access};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    ops::{By, Op, Place},
    run::Run,
    told::Numbers,
    world::{Mapping, World},
};
use crate::vm::{Vm, batch_one, element, err};

/// A range of bus frames in a context of a domain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) dom: usize,
    pub(super) ctx: u16,
    pub(super) bfn: u64,
    pub(super) pages: u32,
}

/// How an unmap is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    Alone,
    Batch(ElementFlags),
}

/// What is to become of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    Map { gfn: u64, access: Access, by: By },
    Grant { share: usize, access: Access },
    Unmap(How),
}

impl Edit {
    /// One of v7's own calls, and not a batch.
    pub(super) fn is_alone(self) -> bool {
        matches!(self, Self::Map { by: By::Alone, .. } | Self::Unmap(How::Alone))
    }

    /// What is left of it behind its first pages.
    pub(super) fn behind(self, pages: u32) -> Self {
        match self {
            Self::Map { gfn, access, by } => Self::Map { gfn: gfn + u64::from(pages), access, by },
            it => it,
        }
    }

    /// The operation that does it at `at`, if it is one.
    pub(super) fn op(self, world: &World, at: Target) -> Option<Op> {
        let Target { dom, ctx, bfn, pages } = at;
        let at = Place::Number(bfn);
        match self {
            Self::Map { gfn, access, by } => Some(Op::Map { dom, ctx, at, pages, gfn, access, by }),
            Self::Unmap(how) => {
                let skip = |flags: ElementFlags| flags.contains(ElementFlags::SKIP_HOLES);
                let (alone, skip_holes) = match how {
                    How::Alone => (true, false),
                    How::Batch(flags) => (false, skip(flags)),
                };
                Some(Op::Unmap { dom, ctx, at, pages, skip_holes, alone })
            }
            Self::Grant { share, access } => {
                let grant = world.grants.iter().position(|it| *it == share)?;
                Some(Op::MapGrant { other: Some(dom), ctx, at, grant, access })
            }
        }
    }
}

impl Target {
    /// What is left of it behind its first pages.
    pub(super) fn behind(self, pages: u32) -> Self {
        Self { bfn: self.bfn + u64::from(pages), pages: self.pages - pages, ..self }
    }
}

impl Run<'_> {
    /// The edit that an operation asks for, and where.
    pub(super) fn edit_of(&self, op: &Op) -> Option<(Target, Edit)> {
        match *op {
            Op::Map { dom, ctx, at, pages, gfn, access, by } => {
                Some((self.target(dom, ctx, at, pages), Edit::Map { gfn, access, by }))
            }
            Op::Unmap { dom, ctx, at, pages, skip_holes, alone } => {
                let mut flags = ElementFlags::empty();
                flags.set(ElementFlags::SKIP_HOLES, skip_holes);
                let how = if alone { How::Alone } else { How::Batch(flags) };
                Some((self.target(dom, ctx, at, pages), Edit::Unmap(how)))
            }
            Op::MapGrant { other, ctx, at, grant, access } => {
                let share = *self.world.grants.get(grant)?;
                let dom = other.or(self.world.shares[share].grant.map(|grant| grant.to))?;
                Some((self.target(dom, ctx, at, 1), Edit::Grant { share, access }))
            }
            _ => None,
        }
    }

    pub(super) fn edit(&mut self, at: Target, edit: Edit) {
        let (looks, splits) = (self.count_looks(at, edit), self.count_splits(at, edit));
        let given = self.ask_for(&self.vm(at.dom), at, edit);
        self.check_looks(&looks, given);
        self.check_splits(&splits, at, given);
        let expected = self.expected(at, edit);
        self.answered(given, expected);
    }

    /// Why a call that edits `ctx` is refused as a whole; `batch` is told so in other words.
    pub(super) fn refused(&self, dom: usize, ctx: u16, batch: bool) -> Option<Errno> {
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

    /// What an edit must answer; it has happened in the model then.
    pub(super) fn expected(&mut self, at: Target, edit: Edit) -> Numbers {
        if let Some(errno) = self.refused(at.dom, at.ctx, !edit.is_alone()) {
            return (err(errno), 0, 0);
        }
        let (errno, done) = self.world.edit(at, edit);
        let (errno, done) = (errno.map_or(0, err), i64::from(done));
        if edit.is_alone() { (errno, 0, done) } else { (0, errno, done) }
    }

    /// Makes the call.
    pub(super) fn ask_for(&self, vm: &Vm<'_>, at: Target, edit: Edit) -> Numbers {
        let context = ContextId(at.ctx);
        match edit {
            Edit::Map { gfn, access, by: By::Alone } => {
                let flags = map_flags(access);
                let (status, done) = vm.map(context, at.bfn, gfn, at.pages, flags);
                (status, 0, i64::from(done))
            }
            Edit::Unmap(How::Alone) => {
                let (status, done) = vm.unmap(context, at.bfn, at.pages);
                (status, 0, i64::from(done))
            }
            Edit::Map { gfn, access, by: By::List } => {
                let flags = element_flags(access);
                let element = element(BatchOp::MAP_LIST, flags, at.bfn, 0, at.pages);
                let gfns: Vec<u64> = (gfn..gfn + u64::from(at.pages)).collect();
                list(vm, at.ctx, element, &gfns)
            }
            edit => {
                let (owner, element) = self.as_element(at, edit);
                let (status, of_element, done) = batch_one(vm, context, owner, element);
                (status, i64::from(of_element), i64::from(done))
            }
        }
    }

    fn as_element(&self, at: Target, edit: Edit) -> (DomId, BatchElement) {
        match edit {
            Edit::Map { gfn, access, by } => {
                let owner = if let By::BatchOf(owner) = by { self.id(owner) } else { DomId::SELF };
                let flags = element_flags(access);
                (owner, element(BatchOp::MAP, flags, at.bfn, gfn, at.pages))
            }
            Edit::Grant { share, access } => {
                let its = &self.world.shares[share];
                let (owner, reference) = (self.id(its.owner), its.grant.unwrap().reference);
                (owner, element(BatchOp::MAP_GRANT, element_flags(access), at.bfn, reference, 1))
            }
            Edit::Unmap(how) => {
                let flags = if let How::Batch(flags) = how { flags } else { ElementFlags::empty() };
                (DomId::SELF, element(BatchOp::UNMAP, flags, at.bfn, 0, at.pages))
            }
        }
    }
}

/// A batch of one element whose list lies behind it.
fn list(vm: &Vm<'_>, ctx: u16, element: BatchElement, gfns: &[u64]) -> Numbers {
    let mut header = Batch { ctx_id: u32::from(ctx), nr_ops: 1, ..Batch::default() };
    let mut bytes = BatchElement { page: 32, ..element }.as_bytes().to_vec();
    bytes.extend_from_slice(gfns.as_bytes());
    let status = vm.guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), Some(&mut bytes));
    let (after, _) = BatchElement::read_from_prefix(&bytes).unwrap();
    (status, i64::from(after.status), i64::from(after.done))
}

pub(super) fn element_flags(access: Access) -> ElementFlags {
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
    /// What an edit must answer, page by page.
    fn edit(&mut self, at: Target, edit: Edit) -> (Option<Errno>, u32) {
        match edit {
            Edit::Map { gfn, access, by } => {
                let owner = if let By::BatchOf(owner) = by { owner } else { at.dom };
                if owner != at.dom && self.domains[at.dom].role != Role::Hardware {
                    return (Some(Errno::EPERM), 0);
                }
                self.map(at, |world, i| world.acquire(owner, gfn + i, access))
            }
            Edit::Grant { share, access } => {
                self.map(at, |world, _| world.acquire_grant(at.dom, share, access))
            }
            Edit::Unmap(How::Alone) => self.unmap(at, false),
            Edit::Unmap(How::Batch(flags)) => {
                self.unmap(at, flags.contains(ElementFlags::SKIP_HOLES))
            }
        }
    }

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
