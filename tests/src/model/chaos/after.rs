//! After a unit failed. What devices behind it do is not known any more; contexts that they are in are
//! frozen, and everything else goes on as ever.

use std::mem;

use pviommu_abi::Errno;

use super::{
    super::{
        ops::Op,
        run::Run,
        told::Told,
        world::{Space, World},
    },
    learn::Lost,
    play::{Came, Chaos},
};
use crate::vm::{Found, both, err};

impl Run<'_> {
    /// True if a device finds nothing at all.
    pub(super) fn reaches_nothing(&self, device: usize) -> bool {
        let function = self.world.devices[device].function;
        let nothing = |bfn| both(self.bed, function, bfn) == [Found::Fault; 2];
        [3, 0x2ff, 0x8000, 0x8002, 0x8003].into_iter().all(nothing)
    }
}

impl World {
    fn is_frozen(&self, dom: usize, ctx: u16) -> bool {
        self.space(dom, ctx).is_some_and(|space| space.frozen)
    }

    /// True if a unit that failed has a part in what becomes of a device of `dom`.
    fn is_lost(&self, device: usize, dom: usize) -> bool {
        let its = &self.devices[device];
        its.unknown || its.context.is_some_and(|ctx| self.is_frozen(dom, ctx))
    }

    fn has_lost(&self, dom: usize) -> bool {
        let mut devices = (0..self.devices.len()).filter(|it| self.devices[*it].owner == Some(dom));
        self.domains[dom].spaces.values().any(|space| space.frozen)
            || devices.any(|device| self.is_lost(device, dom))
    }

    /// Nothing is known any more of what a domain has.
    fn forget(&mut self, dom: usize) {
        self.domains[dom].unknown = true;
        self.domains[dom].spaces.clear();
        for device in self.devices.iter_mut().filter(|device| device.owner == Some(dom)) {
            device.context = None;
        }
    }
}

impl Chaos<'_> {
    /// True if a unit that failed before has a part in what was asked for.
    pub(super) fn is_behind_a_failed_unit(&self, came: &Came<'_>) -> bool {
        let world = &came.before;
        if self.run.bed.failed_units().is_empty() {
            return false;
        }
        let unknown = |dom: usize| world.domains[dom].unknown || world.domains[dom].dead;
        match *came.op {
            Op::Map { .. }
            | Op::Unmap { .. }
            | Op::Batch { .. }
            | Op::MapGrant { .. }
            | Op::Later { .. } => {
                let at = self.target(came.op);
                at.is_some_and(|at| unknown(at.dom) || world.is_frozen(at.dom, at.ctx))
            }
            Op::Attach { dom, device, ctx } => {
                unknown(dom) || world.is_lost(device, dom) || world.is_frozen(dom, ctx)
            }
            Op::Assign { dom, device } | Op::Unassign { dom, device } => {
                unknown(dom) || world.is_lost(device, dom) || world.is_frozen(dom, 0)
            }
            Op::Alloc { dom, .. } => unknown(dom),
            Op::Free { dom, .. }
            | Op::Take { dom, .. }
            | Op::Change { dom, .. }
            | Op::MapForeign { dom, .. }
            | Op::Retarget { dom, .. }
            | Op::Trim { dom } => unknown(dom) || world.has_lost(dom),
            Op::UnmapForeign { .. } | Op::Revoke { .. } | Op::Kill { .. } => true,
            Op::Grant { .. } | Op::CloseGrant { .. } | Op::EndGrant { .. } => false,
        }
    }

    /// Devices behind units that failed are lost, and the contexts they are in are frozen.
    pub(super) fn note_failed_units(&mut self) {
        let failed = self.run.bed.failed_units();
        let World { devices, domains, .. } = &mut self.run.world;
        for device in devices.iter_mut().filter(|device| failed.contains(&device.unit)) {
            device.unknown = true;
            if let (Some(dom), Some(ctx)) = (device.owner, device.context)
                && let Some(space) = domains[dom].spaces.get_mut(&ctx)
            {
                space.frozen = true;
            }
        }
    }

    /// What is true after a unit failed in a step, or had failed before.
    pub(super) fn after_a_unit(&mut self, came: Came<'_>, now: bool) {
        let Came { op, before, told, leaked, fault } = came;
        let asked = mem::replace(&mut self.run.world, before);
        self.note_failed_units();
        let before = mem::replace(&mut self.run.world, asked);
        self.note_failed_units();
        if fault.is_some_and(|(fault, hit)| hit && fault.is_refusal()) {
            self.learn_who_is_blocked(&before);
        }
        let eio = err(Errno::EIO);
        let is_eio = |told: &Told| told.given.0 == eio || told.given.1 == eio;
        let allowed = |told: &Told| {
            let other = fault.is_some_and(|(fault, hit)| fault.allows(told, hit));
            is_eio(told) || other || told.given == told.expected
        };
        match *op {
            Op::Map { .. }
            | Op::Unmap { .. }
            | Op::Batch { .. }
            | Op::MapGrant { .. }
            | Op::Later { .. } => {
                let dom = self.target(op).map(|at| at.dom);
                if dom.is_some_and(|dom| before.domains[dom].unknown) {
                    return self.know_less();
                }
                assert!(told.iter().all(allowed), "{told:?}");
                if now {
                    assert!(told.iter().any(is_eio), "{told:?}");
                    self.run.learn(&before, Lost::Nothing);
                } else {
                    let nothing = told.iter().all(|told| told.given.2 == 0);
                    assert!(nothing, "it is frozen: {told:?}");
                    self.run.world = before;
                }
            }
            Op::Kill { dom } => {
                let ended = told.last().is_some_and(|told| told.given.0 == 0);
                let its = &before.domains[dom];
                let may_fail = now || its.dead || its.unknown || before.has_lost(dom);
                assert!(ended || may_fail, "{told:?}");
                if !ended || before.domains[dom].unknown {
                    return self.know_less();
                }
            }
            Op::Trim { dom }
            | Op::Change { dom, .. }
            | Op::MapForeign { dom, .. }
            | Op::Retarget { dom, .. }
                if before.domains[dom].unknown =>
            {
                return self.know_less();
            }
            Op::Trim { .. }
            | Op::Change { .. }
            | Op::MapForeign { .. }
            | Op::UnmapForeign { .. }
            | Op::Retarget { .. }
            | Op::Revoke { .. } => {
                assert!(told.iter().all(allowed), "{told:?}");
                let lost = fault.filter(|(_, hit)| *hit).map(|(fault, _)| fault.costs(op));
                self.run.learn(&before, lost.unwrap_or(Lost::Nothing));
            }
            Op::Attach { dom, .. }
            | Op::Assign { dom, .. }
            | Op::Unassign { dom, .. }
            | Op::Free { dom, .. }
            | Op::Take { dom, .. }
            | Op::Alloc { dom, .. } => {
                let as_asked = told.iter().all(|told| told.given == told.expected);
                if before.domains[dom].dead {
                    self.run.world = before;
                } else if now || before.domains[dom].unknown || !as_asked {
                    if told.iter().any(|told| told.given.0 != 0) {
                        self.run.world = before;
                    }
                    self.run.world.forget(dom);
                    return self.know_less();
                }
            }
            Op::Grant { .. } | Op::CloseGrant { .. } | Op::EndGrant { .. } => {}
        }
        let held = self.run.recount();
        if self.is_all_known() {
            // INV-15: what may be reached still is held, and it is counted.
            assert_eq!(held - self.held, self.leaked() - leaked, "of {op:?}");
        }
        self.held = held;
        self.run.count_foreign();
    }

    /// Not all that is held is known of.
    fn know_less(&mut self) {
        self.learn_who_is_not_blocked();
        self.held = self.run.recount();
        self.run.count_foreign();
    }

    /// The end of all domains, twice, and what is left then.
    pub(super) fn end(self) {
        let (bed, domains) = (self.run.bed, &self.run.world.domains);
        let mut ended = true;
        for domain in domains {
            let statuses = [0; 2].map(|_: i32| bed.teardown(domain.id, 0));
            let well = statuses == [0; 2];
            assert!(well || !bed.failed_units().is_empty(), "{statuses:?}");
            ended &= well;
            let stats = bed.domain(domain.id).stats();
            assert_eq!(stats.deferred_pages, 0);
            if well {
                let frames = u64::from(stats.table_frames);
                assert_eq!(frames, stats.leaked_tables, "table frames of {:?}", domain.id);
                assert_eq!(stats.pinned_pages, stats.leaked_pages, "pages of {:?}", domain.id);
            }
        }
        let leaked = self.leaked();
        if bed.failed_units().is_empty() {
            assert_eq!(leaked, 0);
            return bed.assert_clean();
        }
        assert_eq!(bed.violations(), []);
        let held = bed.counters().references_live;
        assert!(held == leaked || (!ended && held > leaked), "{held} held, {leaked} leaked");
    }
}

impl Run<'_> {
    /// Counts the pages of others that are held for ever.
    fn count_foreign(&mut self) {
        for domain in self.world.domains.iter_mut().filter(|domain| !domain.unknown) {
            let told = self.bed.domain(domain.id).stats().foreign_pages;
            let foreign: usize = domain.spaces.values().map(Space::foreign).sum();
            domain.leaked_foreign = told.checked_sub(u32::try_from(foreign).unwrap()).unwrap();
        }
    }
}
