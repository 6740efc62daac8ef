//! Batches of several elements: each does what it would do alone, in their order.

use pviommu_abi::{BatchElement, BatchFlags, BatchOp, ContextId, DomId, ElementFlags};

use super::{
    edits::{Edit, How, Target, element_flags},
    ops::{By, Item, Place},
    run::Run,
    told::Numbers,
};
use crate::vm::{batch, element, err};

impl Item {
    /// The first of its elements, alone.
    pub(super) fn first(&self) -> (Place, u32, Edit) {
        match *self {
            Self::Map { at, pages, gfn, access, .. } => {
                (at, pages, Edit::Map { gfn, access, by: By::Batch })
            }
            Self::Unmap { at, pages, skip_holes, .. } => {
                let mut flags = ElementFlags::empty();
                flags.set(ElementFlags::SKIP_HOLES, skip_holes);
                (at, pages, Edit::Unmap(How::Batch(flags)))
            }
        }
    }

    fn times(&self) -> u32 {
        match *self {
            Self::Map { times, .. } | Self::Unmap { times, .. } => times,
        }
    }
}

impl Run<'_> {
    pub(super) fn batch(&mut self, dom: usize, ctx: u16, run_all: bool, items: &[Item]) {
        let mut edits = Vec::new();
        for item in items {
            let (at, pages, mut edit) = item.first();
            let mut at = self.target(dom, ctx, at, pages);
            self.touch(at.bfn, u64::from(pages * item.times()));
            for _ in 0..item.times() {
                edits.push((at, edit));
                at.bfn += u64::from(pages);
                edit = edit.behind(pages);
            }
        }
        let mut elements: Vec<_> = edits.iter().map(|(at, edit)| as_element(*at, *edit)).collect();
        let flags = if run_all { BatchFlags::RUN_ALL } else { BatchFlags::empty() };
        let vm = self.vm(dom);
        let status = batch(&vm, ContextId(ctx), DomId::SELF, flags, &mut elements);
        if let Some(errno) = self.refused(dom, ctx, true) {
            return self.answered(status, err(errno));
        }
        self.answered(status, 0);
        let mut stopped = false;
        for (number, ((at, edit), element)) in edits.iter().zip(&elements).enumerate() {
            let expected: Numbers = if stopped { (0, 0, 0) } else { self.expected(*at, *edit) };
            stopped |= expected.1 != 0 && !run_all;
            let given = (0, i64::from(element.status), i64::from(element.done));
            assert_eq!(given, expected, "element {number} of {}", elements.len());
        }
    }
}

fn as_element(at: Target, edit: Edit) -> BatchElement {
    let (op, flags, page) = match edit {
        Edit::Map { gfn, access, .. } => (BatchOp::MAP, element_flags(access), gfn),
        Edit::Unmap(How::Batch(flags)) => (BatchOp::UNMAP, flags, 0),
        Edit::Unmap(How::Alone) | Edit::Grant { .. } => unreachable!("these are no items"),
    };
    element(op, flags, at.bfn, page, at.pages)
}
