//! Batches of several elements: each does what it would do alone, in their order.
//!
//! If something fails meanwhile, the model does what the batch says it has done: the elements that are finished, and
//! of the one behind them so many pages.

use pviommu_abi::{Batch, BatchElement, BatchFlags, BatchOp, ElementFlags, Subop};
use pviommu_guest::Hypercall;
use zerocopy::IntoBytes;

use super::{
    edits::{Edit, How, Target, element_flags},
    ops::{By, Item, Place},
    run::Run,
};
use crate::vm::{element, err};

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
        let nr_ops = u32::try_from(elements.len()).unwrap();
        let mut header = Batch { ctx_id: u32::from(ctx), flags, nr_ops, ..Batch::default() };
        let buffer = Some(elements.as_mut_bytes());
        let status = self.vm(dom).guest.iommu_op(Subop::BATCH, header.as_mut_bytes(), buffer);
        if let Some(errno) = self.refused(dom, ctx, true) {
            return self.answered(status, err(errno));
        }
        self.answered(status, 0);
        let finished = header.nr_done as usize;
        let (mut begun, mut stopped) = (true, false);
        for (number, ((at, edit), element)) in edits.iter().zip(&elements).enumerate() {
            if number < finished {
                assert!(!stopped, "element {number} is run, and one before it has failed");
                self.follow(*at, *edit, element);
                stopped = element.status != 0 && !run_all;
            } else {
                assert!(status != 0 || stopped, "element {number} is not run");
                assert_eq!(element.status, 0, "of element {number}, which is not finished");
                assert!(begun || element.done == 0, "element {number} is not the next");
                self.done(*at, *edit, element.done);
                begun = false;
            }
        }
    }

    /// Does in the model what a finished element says: so many pages, and why no more.
    fn follow(&mut self, at: Target, edit: Edit, element: &BatchElement) {
        self.done(at, edit, element.done);
        let (status, pages) = (i64::from(element.status), element.done);
        if (status, pages) == (0, at.pages) {
            return;
        }
        let before = self.told.is_some().then(|| self.world.clone());
        let expected = self.expected(at.behind(pages), edit.behind(pages));
        self.answered((0, status, 0), expected);
        if let Some(before) = before {
            self.world = before;
        }
    }

    /// The first pages of an element are done, and that well.
    fn done(&mut self, at: Target, edit: Edit, pages: u32) {
        assert!(pages <= at.pages, "{pages} pages of {at:?}");
        if pages > 0 {
            let expected = self.expected(Target { pages, ..at }, edit);
            assert_eq!(expected, (0, 0, i64::from(pages)), "of {edit:?} at {at:?}");
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
