//! Has a step of a sequence happen, with what fails meanwhile, and makes the model what came of it.

use pviommu_abi::ElementFlags;
use pviommu_hypervisor::Outcome;

use super::{
    super::{
        edits::{Edit, How, Target},
        ops::Op,
        run::Run,
        told::Told,
        world::World,
    },
    Event, Fault,
    asks::Ask,
    learn::Lost,
    standing::Standing,
};
use crate::machine::GIVEN_UP;

/// A sequence that failures are part of.
pub(super) struct Chaos<'b> {
    pub(super) run: Run<'b>,
    /// Looks between two times to give way, where nothing else is said.
    yields: u64,
    /// References that are held for ever.
    pub(super) held: u64,
    /// Calls that have not been continued yet.
    pub(super) standing: Vec<Standing>,
}

impl Run<'_> {
    /// A domain begins to die: it gets nothing any more, and others notice nothing (INV-61).
    fn begin_end(&mut self, dom: usize) {
        let begun = self.bed.iommu().teardown(self.bed.domain(self.id(dom)), 0);
        let dead = std::mem::replace(&mut self.world.domains[dom].dead, true);
        self.ask(dom, Ask::Noop);
        self.world.domains[dom].dead = dead;
        for other in (0..self.world.domains.len()).filter(|other| *other != dom) {
            self.ask(other, Ask::Limits { ctx: 1 });
        }
        if let Outcome::Done(status) = begun {
            self.answered(status, 0);
        }
    }
}

/// What has come of a step.
pub(super) struct Came<'e> {
    pub(super) op: &'e Op,
    pub(super) before: World,
    pub(super) told: Vec<Told>,
    pub(super) leaked: u64,
    pub(super) fault: Option<(Fault, bool)>,
}

impl<'b> Chaos<'b> {
    pub(super) fn new(run: Run<'b>, yields: u64) -> Self {
        Self { run, yields, held: 0, standing: Vec::new() }
    }

    pub(super) fn step(&mut self, event: &Event) {
        match event {
            Event::Plain(op) => self.op(op, None, false),
            Event::Failing(op, fault, dies) => self.op(op, Some(*fault), *dies),
            Event::Ask(dom, ask, fault) => self.ask(*dom, *ask, *fault),
            Event::Begin { op, cpu, entries } => self.begin(op, *cpu, *entries),
            Event::GoOn { number, entries, fault } => self.go_on(*number, *entries, *fault),
            Event::Dma { device, at, pages } => {
                let first = self.run.target(0, 0, *at, *pages).bfn;
                for bfn in first..first + u64::from(*pages) {
                    self.run.check_dma(*device, bfn);
                }
            }
        }
        self.run.check();
    }

    pub(super) fn is_all_known(&self) -> bool {
        self.run.world.domains.iter().all(|domain| !domain.unknown)
    }

    /// Pages that the service says are never given back.
    pub(super) fn leaked(&self) -> u64 {
        let domains = self.run.world.domains.iter();
        domains.map(|domain| self.run.bed.domain(domain.id).stats().leaked_pages).sum()
    }

    pub(super) fn op(&mut self, op: &Op, fault: Option<Fault>, dies: bool) {
        let well = self.run.bed.failed_units().is_empty();
        let careful = fault.is_some() || !well;
        let told = well && fault.is_none_or(|fault| fault.leaves_told());
        self.play(fault, dies, |run| {
            match op {
                Op::Later { dom, ctx, at, pages, .. } if careful => {
                    // Alone: what comes next would depend on it.
                    let at = run.target(*dom, *ctx, *at, *pages);
                    run.touch(at.bfn, u64::from(at.pages));
                    let flags = ElementFlags::NO_FLUSH | ElementFlags::SKIP_HOLES;
                    run.edit(at, Edit::Unmap(How::Batch(flags)));
                    run.flush_what_waits();
                }
                Op::Batch { dom, ctx, items, .. } if !told => {
                    // The first element alone: others may undo what it does, and nobody would tell.
                    let (at, pages, edit) = items[0].first();
                    let at = run.target(*dom, *ctx, at, pages);
                    run.touch(at.bfn, u64::from(at.pages));
                    run.edit(at, edit);
                    return edit.op(&run.world, at);
                }
                Op::Kill { dom } if dies => {
                    run.begin_end(*dom);
                    run.step(op);
                }
                op => run.step(op),
            }
            Some(op.clone())
        });
    }

    /// Has something happen, with what fails meanwhile; it says which operation that was in the end, if any
    /// was.
    pub(super) fn play(
        &mut self,
        fault: Option<Fault>,
        dies: bool,
        happens: impl FnOnce(&mut Run<'_>) -> Option<Op>,
    ) {
        let before = self.run.world.clone();
        let (leaked, failed) = (self.leaked(), self.run.bed.failed_units().len());
        let careful = fault.is_some() || failed > 0;
        if careful {
            self.run.told = Some(Vec::new());
        }
        if let Some(fault) = &fault {
            fault.arm(&mut self.run);
        }
        let op = happens(&mut self.run);
        let fault = fault.map(|fault| (fault, fault.disarm(&mut self.run, self.yields)));
        if matches!(op, Some(Op::Later { .. })) && careful {
            self.run.flush_what_waits();
        }
        let told = self.run.told.take().unwrap_or_default();
        let Some(op) = &op else { return };
        let came = Came { op, before, told, leaked, fault };
        let failed = self.run.bed.failed_units().len() > failed;
        if failed || self.is_behind_a_failed_unit(&came) {
            self.after_a_unit(came, failed);
        } else {
            self.after(came, dies);
        }
    }

    fn ask(&mut self, dom: usize, ask: Ask, fault: Option<Fault>) {
        let failed = self.run.bed.failed_units().len();
        self.run.told = Some(Vec::new());
        if let Some(fault) = &fault {
            fault.arm(&mut self.run);
        }
        self.run.ask(dom, ask);
        let hit = fault.is_some_and(|fault| fault.disarm(&mut self.run, self.yields));
        let told = self.run.told.take().unwrap_or_default();
        let now = self.run.bed.failed_units().len();
        if now > failed {
            self.note_failed_units();
        }
        for told in &told {
            let lost = now > 0 && told.given.0 < 0;
            let allowed = fault.is_some_and(|fault| fault.allows(told, hit));
            assert!(lost || allowed || told.given == told.expected, "{ask:?}: {told:?}");
        }
    }

    /// What is true after a step, whatever failed but a unit.
    fn after(&mut self, came: Came<'_>, dies: bool) {
        let Came { op, before, told, fault, .. } = came;
        let given_up = told.iter().any(|told| told.given.0 == GIVEN_UP);
        let Some((fault, hit)) = fault.filter(|(_, hit)| *hit || given_up) else {
            return assert!(told.iter().all(|it| it.given == it.expected), "{told:?}");
        };
        for told in &told {
            assert!(fault.allows(told, hit), "{told:?}: {fault:?}");
        }
        let first = told.first();
        let fails = told.iter().any(|told| told.given != told.expected);
        match op {
            // It has told what it did.
            Op::Batch { .. } => {}
            Op::Map { .. } | Op::Unmap { .. } | Op::MapGrant { .. } | Op::Later { .. } => {
                self.after_an_edit(op, &before, first, &fault);
            }
            Op::Free { .. } | Op::Take { .. } if fails => {
                self.after_a_move(op, before, &told, &fault, dies);
            }
            Op::Attach { .. } | Op::Assign { .. } | Op::Unassign { .. } if fails => {
                self.run.world = before;
                if let Op::Attach { dom, device, ctx } = *op {
                    self.run.learn_ranges(dom, ctx, device);
                } else if let Op::Assign { dom, device } = *op {
                    self.run.learn_ranges(dom, 0, device);
                }
                self.learn_who_is_not_blocked();
            }
            Op::Unassign { .. } | Op::Kill { .. } if fault.is_refusal() => {
                self.learn_who_is_blocked(&before);
            }
            _ => self.run.learn(&before, fault.costs(op)),
        }
        let held = self.run.recount();
        if self.is_all_known() {
            assert_eq!(held, self.held, "references that no mapping accounts for");
        }
        self.held = held;
    }

    fn after_an_edit(&mut self, op: &Op, before: &World, told: Option<&Told>, fault: &Fault) {
        let asked = self.run.world.clone();
        self.run.learn(before, Lost::Nothing);
        let silent = fault.is_of_the_answer() || matches!(op, Op::Later { .. });
        let done = told.filter(|_| !silent).map(|told| told.given.2);
        if let Some(at) = self.target(op) {
            self.run.check_prefix(at, before, done, &asked);
        }
    }

    /// What an edit is about.
    pub(super) fn target(&self, op: &Op) -> Option<Target> {
        Some(match *op {
            Op::Map { dom, ctx, at, pages, .. }
            | Op::Unmap { dom, ctx, at, pages, .. }
            | Op::Later { dom, ctx, at, pages, .. } => self.run.target(dom, ctx, at, pages),
            Op::MapGrant { other, ctx, at, grant, .. } => {
                let share = *self.run.world.grants.get(grant)?;
                let to = self.run.world.shares[share].grant.map(|grant| grant.to);
                self.run.target(other.or(to)?, ctx, at, 1)
            }
            _ => return None,
        })
    }

    /// Devices move one by one, and tables are taken apart in pieces. What was not finished is finished
    /// when it is asked for again, and then it is as if nothing had failed; or the domain dies of it.
    fn after_a_move(&mut self, op: &Op, before: World, told: &[Told], fault: &Fault, dies: bool) {
        let (Op::Free { dom, .. } | Op::Take { dom, .. }) = *op else { return };
        let interrupted = told.iter().any(|told| fault.interrupts(told));
        self.run.check_between(&before);
        self.run.world = before.clone();
        if interrupted && dies {
            self.run.step(&Op::Kill { dom });
        } else if interrupted || matches!(op, Op::Free { .. }) {
            self.run.step(op);
            // What could not be had when it was begun.
            self.run.learn(&before, fault.costs(op));
        }
    }

    /// One that was, and could not be given away, was put into quarantine again.
    pub(super) fn learn_who_is_not_blocked(&mut self) {
        for device in 0..self.run.world.devices.len() {
            let may_be = self.run.world.devices[device].owner.is_none();
            if may_be && !self.run.reaches_nothing(device) {
                self.run.world.devices[device].blocked = false;
            }
        }
    }

    /// A device that its unit would not put into quarantine is blocked.
    pub(super) fn learn_who_is_blocked(&mut self, before: &World) {
        for device in 0..self.run.world.devices.len() {
            let left = before.devices[device].owner.is_some()
                && self.run.world.devices[device].owner.is_none();
            if left && self.run.reaches_nothing(device) {
                self.run.world.devices[device].blocked = true;
            }
        }
    }
}
