//! Has each thing happen, on the machine and in the model, and compares what is answered.

use super::{
    edits::{Edit, How, Target},
    ops::{Op, Place},
    told::Told,
    world::World,
};
use crate::{
    machine::Bed,
    vm::{Vm, err, take},
};
use pviommu_abi::{ContextId, DomId, ElementFlags, Errno, FreeFlags};

/// Contexts that each domain asked for.
pub(super) const CONTEXTS: u16 = 4;

pub(super) fn status(result: Result<(), Errno>) -> i64 {
    result.map_or_else(err, |()| 0)
}

pub(super) struct Run<'b> {
    pub(super) bed: &'b Bed<'b>,
    pub(super) world: World,
    /// Bus frames to look at after this step.
    pub(super) touched: Vec<u64>,
    /// Entries into the service after which a guest gives a call up; all that it takes, if not said.
    pub(super) patience: Option<u32>,
    /// What was answered while something fails, and what the model says, which knows of no failure.
    pub(super) told: Option<Vec<Told>>,
}

impl<'b> Run<'b> {
    pub(super) fn vm(&self, dom: usize) -> Vm<'b> {
        let vm = Vm::new(self.bed, self.world.domains[dom].id, 0);
        if let Some(entries) = self.patience {
            vm.guest.gives_up_after(entries);
        }
        vm
    }

    pub(super) fn id(&self, dom: usize) -> DomId {
        self.world.domains[dom].id
    }

    pub(super) fn touch(&mut self, first: u64, pages: u64) {
        let last = first + pages.max(1) - 1;
        let middle = first + pages / 2;
        self.touched.extend([first.saturating_sub(1), first, first + 1, middle, last, last + 1]);
    }

    pub(super) fn touch_gfn(&mut self, dom: usize, gfn: u64) {
        let frame = self.world.domains[dom].p2m.get(gfn).map(|page| page.frame);
        self.touched.extend(frame.into_iter().chain([gfn]));
    }

    fn resolve(&self, place: Place) -> u64 {
        match place {
            Place::Number(bfn) => bfn,
            Place::FrameOf(dom, gfn) => {
                self.world.domains[dom].p2m.get(gfn).map_or(gfn, |page| page.frame)
            }
        }
    }

    pub(super) fn step(&mut self, op: &Op) {
        match *op {
            Op::Map { .. } | Op::Unmap { .. } | Op::MapGrant { .. } => {
                let Some((at, edit)) = self.edit_of(op) else { return };
                self.edit(at, edit);
                self.touch(at.bfn, u64::from(at.pages));
                if let Edit::Map { gfn, .. } = edit {
                    self.touch_gfn(at.dom, gfn);
                }
            }
            Op::Batch { dom, ctx, run_all, ref items } => self.batch(dom, ctx, run_all, items),
            Op::Later { dom, ctx, at, pages, ref then } => {
                let flags = ElementFlags::NO_FLUSH | ElementFlags::SKIP_HOLES;
                self.touch_place(at, pages);
                // So that units have cached what is about to go.
                self.check_mapped(dom, ctx);
                self.edit(self.target(dom, ctx, at, pages), Edit::Unmap(How::Batch(flags)));
                self.step(then);
                self.check_mapped(dom, ctx);
                self.flush_what_waits();
            }
            Op::Alloc { dom, background, aperture } => self.alloc(dom, background, aperture),
            Op::Free { dom, ctx, reattach } => {
                let flags = if reattach { FreeFlags::REATTACH_DEFAULT } else { FreeFlags::empty() };
                let answer = self.vm(dom).free(ContextId(ctx), flags);
                let expected = status(self.world.free(dom, ctx, reattach));
                self.answered(answer, expected);
            }
            Op::Attach { dom, device, ctx } => {
                let function = self.world.devices[device].function;
                let answer = self.vm(dom).attach(function, ContextId(ctx));
                let expected = status(self.world.attach(dom, device, ctx));
                self.answered(answer, expected);
            }
            Op::Take { dom, mode, background } => {
                let answer = take(&self.vm(dom), mode, background);
                let expected = status(self.world.take(dom, mode, background));
                self.answered(answer, expected);
            }
            Op::Change { dom, gfn, pages, change } => self.change(dom, gfn, pages, change),
            Op::Grant { dom, gfn, to, read_only } => self.add_grant(dom, gfn, to, read_only),
            Op::CloseGrant { grant } => self.close_grant(grant),
            Op::EndGrant { grant } => self.end_grant(grant),
            Op::MapForeign { dom, gfn, of, of_gfn, read_only } => {
                self.map_foreign((dom, gfn), (of, of_gfn), read_only);
            }
            Op::UnmapForeign { number, none } => {
                if let Some(at) = none.or(self.world.foreign(number)) {
                    self.unmap_foreign(at);
                }
            }
            Op::Retarget { dom, of, gfn, what_left } => self.retarget(dom, (of, gfn), what_left),
            Op::Revoke { number, other } => {
                if let Some((dom, frame)) = self.registers(number, other) {
                    self.revoke(dom, frame);
                }
            }
            Op::Assign { dom, device } => {
                let function = self.world.devices[device].function;
                let assigned = self.bed.assign(self.id(dom), function);
                let expected = self.world.assign(dom, device);
                self.answered(assigned, expected);
            }
            Op::Unassign { dom, device } => {
                let function = self.world.devices[device].function;
                let gone = self.bed.unassign(self.id(dom), 0, function);
                let expected = self.world.unassign(dom, device);
                self.answered(gone, expected);
            }
            Op::Trim { dom } => {
                let trimmed = self.bed.trim(self.id(dom), 0);
                self.answered(trimmed, Ok(()));
            }
            Op::Kill { dom } => self.kill(dom),
        }
    }

    pub(super) fn target(&self, dom: usize, ctx: u16, at: Place, pages: u32) -> Target {
        Target { dom, ctx, bfn: self.resolve(at), pages }
    }

    pub(super) fn touch_place(&mut self, at: Place, pages: u32) {
        self.touch(self.resolve(at), u64::from(pages));
    }
}
