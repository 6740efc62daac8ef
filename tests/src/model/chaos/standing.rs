//! Calls of other CPUs that are left standing where they gave way, and go on when the sequence says so:
//! meanwhile anything else happens.
//!
//! How far such a call has come it has told in the memory of its guest. So in the model it is several
//! edits, each of the pages that were done in one go.

use pviommu_abi::{Batch, BatchElement, MapPages, Subop, UnmapPages};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    super::{
        edits::{Edit, Target},
        ops::Op,
        run::Run,
        told::Numbers,
    },
    Fault,
    play::Chaos,
};
use crate::{machine::GIVEN_UP, vm::Vm};

/// A call that stands.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Standing {
    cpu: usize,
    /// What is left of it.
    at: Target,
    edit: Edit,
    /// Pages that it has told are done.
    done: u32,
}

impl Run<'_> {
    /// Makes a call on `cpu`, or has one go on that stands there, and does in the model what it says it
    /// has done; what is left of it then, and the operation that this was.
    fn advance(
        &mut self,
        call: Standing,
        begins: bool,
        entries: u32,
        keeps: bool,
    ) -> (Option<Standing>, Option<Op>) {
        let Standing { cpu, at, edit, done } = call;
        let vm = Vm::new(self.bed, self.id(at.dom), cpu);
        vm.guest.gives_up_after(entries);
        let (status, of_element, all) =
            if begins { self.ask_for(&vm, at, edit) } else { go_on(&vm, edit) };
        let here = all - i64::from(done);
        let given: Numbers = (status, of_element, here);
        self.touch(at.bfn, u64::from(at.pages));
        if status != GIVEN_UP || !keeps {
            let expected = self.expected(at, edit);
            self.answered(given, expected);
            return (None, edit.op(&self.world, at));
        }
        let pages = u32::try_from(here).ok().filter(|pages| *pages <= at.pages);
        let pages = pages.unwrap_or_else(|| unreachable!("{all} pages are done, {call:?}"));
        let rest =
            Standing { cpu, at: at.behind(pages), edit: edit.behind(pages), done: done + pages };
        if pages == 0 {
            return (Some(rest), None);
        }
        let at = Target { pages, ..at };
        let expected = self.expected(at, edit);
        self.answered((0, 0, here), expected);
        (Some(rest), edit.op(&self.world, at))
    }
}

/// Has a call that [`Run::ask_for`] made, and that was given up, go on where it stands in the memory of its guest.
fn go_on(vm: &Vm<'_>, edit: Edit) -> Numbers {
    let at = vm.guest.argument_address();
    let subop = match edit {
        _ if !edit.is_alone() => Subop::BATCH,
        Edit::Unmap(_) => Subop::UNMAP_PAGES,
        _ => Subop::MAP_PAGES,
    };
    let status = vm.guest.call(u64::from(subop.0), at);
    match subop {
        Subop::MAP_PAGES => {
            let mut argument = MapPages::default();
            vm.bed.guest_read(vm.guest.domain(), at, argument.as_mut_bytes());
            (status, 0, i64::from(argument.mapped))
        }
        Subop::UNMAP_PAGES => {
            let mut argument = UnmapPages::default();
            vm.bed.guest_read(vm.guest.domain(), at, argument.as_mut_bytes());
            (status, 0, i64::from(argument.unmapped))
        }
        _ => {
            let mut header = Batch::default();
            vm.bed.guest_read(vm.guest.domain(), at, header.as_mut_bytes());
            let mut after = [0; size_of::<BatchElement>()];
            vm.bed.guest_read(vm.guest.domain(), header.ops.0, &mut after);
            let after = BatchElement::read_from_bytes(&after).unwrap();
            (status, i64::from(after.status), i64::from(after.done))
        }
    }
}

impl Chaos<'_> {
    pub(super) fn begin(&mut self, op: &Op, cpu: usize, entries: u32) {
        let Some((at, edit)) = self.run.edit_of(op) else { return self.op(op, None, false) };
        let there = |it: &Standing| (it.cpu, it.at.dom) == (cpu, at.dom);
        match self.standing.iter().position(there) {
            // A CPU makes one call at a time.
            Some(number) => self.go_on(number, entries, None),
            None => {
                let call = Standing { cpu, at, edit, done: 0 };
                self.advance(call, true, entries, None);
            }
        }
    }

    pub(super) fn go_on(&mut self, number: usize, entries: u32, fault: Option<Fault>) {
        if number < self.standing.len() {
            let call = self.standing.remove(number);
            self.advance(call, false, entries, fault);
        }
    }

    fn advance(&mut self, call: Standing, begins: bool, entries: u32, fault: Option<Fault>) {
        let entries = fault.map_or(entries, |fault| fault.patience.unwrap_or(u32::MAX));
        let mut rest = None;
        self.play(fault, false, |run| {
            let (left, op) = run.advance(call, begins, entries, fault.is_none());
            rest = left;
            op
        });
        self.standing.extend(rest);
    }
}
