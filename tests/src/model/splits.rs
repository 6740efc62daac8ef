//! What a split of a large leaf is flushed as.
//!
//! DMA does not tell: a unit that is told of leaves only forgets the large one as well. It may go on with what it
//! knows of the entries above, and one of them is another now.

use super::{
    edits::{Edit, Target},
    run::Run,
    told::Numbers,
};
use crate::iommu::Direction;

/// Before an unmap: which of its ends lie within a large leaf, and invalidations of more than leaves so far.
#[derive(Debug)]
pub(super) struct Splits {
    first: bool,
    last: bool,
    flushes: u64,
}

impl Run<'_> {
    pub(super) fn count_splits(&self, at: Target, edit: Edit) -> Splits {
        let unmaps = matches!(edit, Edit::Unmap(_));
        let behind = at.bfn + u64::from(at.pages);
        let is_within = |bfn: u64| unmaps && bfn > 0 && self.are_of_one_leaf(at, bfn - 1, bfn);
        Splits { first: is_within(at.bfn), last: is_within(behind), flushes: self.table_flushes() }
    }

    /// INV-06: after an unmap of a part of a large leaf, that more than leaves were flushed.
    pub(super) fn check_splits(&self, before: &Splits, at: Target, (_, _, done): Numbers) {
        let split = (before.first && done > 0) || (before.last && done == i64::from(at.pages));
        let flushed = self.table_flushes() > before.flushes;
        assert!(!split || flushed || self.told.is_some(), "a leaf is split, and flushed as a leaf");
    }

    fn table_flushes(&self) -> u64 {
        let counters = self.bed.counters();
        counters.iotlb_flushes - counters.leaf_flushes
    }

    /// True if a device finds both bus frames by one leaf.
    fn are_of_one_leaf(&self, at: Target, one: u64, other: u64) -> bool {
        let here = |device: &usize| {
            let its = &self.world.devices[*device];
            (its.owner, its.context) == (Some(at.dom), Some(at.ctx)) && !self.is_unknown(*device)
        };
        let Some(device) = (0..self.world.devices.len()).find(here) else { return false };
        let (its, board) = (&self.world.devices[device], self.bed.board());
        let unit = board.unit(its.unit).unwrap();
        let found = unit.peek(board.memory(), its.function, one << 12, Direction::Read);
        found.is_ok_and(|leaf| {
            let all = leaf.bfn..leaf.bfn + leaf.pages();
            all.contains(&one) && all.contains(&other)
        })
    }
}
