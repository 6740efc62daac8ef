//! What must be mapped in one address space, kept beside the service and independent of it.

use std::collections::BTreeMap;

use pviommu_hypervisor::platform::Access;

use super::spans::Span;

/// Consecutive pages that one call mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// First bus frame.
    pub(super) bfn: u64,
    /// First guest frame.
    pub(super) gfn: u64,
    /// Pages, at least one.
    pub(super) pages: u64,
    /// What the device may do.
    pub(super) access: Access,
}

impl Extent {
    pub(super) fn bus(&self) -> Span {
        Span::of_pages(self.bfn, self.pages)
    }

    /// The part of the extent inside `span`.
    pub(super) fn part(&self, span: Span) -> Option<Self> {
        let common = self.bus().common(span)?;
        let gfn = self.gfn + (common.first - self.bfn);
        Some(Self { bfn: common.first, gfn, pages: common.pages(), access: self.access })
    }
}

/// The live maps of an address space.
#[derive(Default, Debug)]
pub(super) struct Shadow {
    live: BTreeMap<u64, Extent>,
}

impl Shadow {
    /// Number of live maps; one that an unmap has split counts once a piece.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Extent> {
        self.live.values()
    }

    /// The first bus frame of `span` that is mapped.
    pub(super) fn first_mapped(&self, span: Span) -> Option<u64> {
        self.within(span).first().map(|extent| extent.bfn)
    }

    /// Adds an extent, of which nothing is mapped yet.
    pub(super) fn insert(&mut self, extent: Extent) {
        debug_assert_eq!(self.first_mapped(extent.bus()), None, "{extent:?} is mapped twice");
        self.live.insert(extent.bfn, extent);
    }

    /// What is mapped inside `span`, in order.
    pub(super) fn within(&self, span: Span) -> Vec<Extent> {
        let before = self.live.range(..span.first).next_back();
        let inside = self.live.range(span.first..=span.last);
        before.into_iter().chain(inside).filter_map(|(_, extent)| extent.part(span)).collect()
    }

    /// Forgets what is mapped inside `span`; what sticks out on either side stays.
    pub(super) fn remove(&mut self, span: Span) {
        let before = self.live.range(..span.first).next_back();
        let inside = self.live.range(span.first..=span.last);
        let hit: Vec<Extent> = before
            .into_iter()
            .chain(inside)
            .map(|(_, extent)| *extent)
            .filter(|extent| extent.bus().overlaps(span))
            .collect();
        for extent in hit {
            self.live.remove(&extent.bfn);
            let whole = extent.bus();
            let left = (whole.first < span.first)
                .then(|| Span { first: whole.first, last: span.first - 1 });
            let right =
                (whole.last > span.last).then(|| Span { first: span.last + 1, last: whole.last });
            for rest in [left, right].into_iter().flatten().filter_map(|rest| extent.part(rest)) {
                self.live.insert(rest.bfn, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(bfn: u64, gfn: u64, pages: u64) -> Extent {
        Extent { bfn, gfn, pages, access: Access::READ }
    }

    #[test]
    fn an_unmap_in_the_middle_leaves_both_ends() {
        let mut shadow = Shadow::default();
        shadow.insert(extent(100, 7, 10));
        let hole = Span { first: 103, last: 105 };
        assert_eq!(shadow.within(hole), [extent(103, 10, 3)]);
        shadow.remove(hole);
        let left: Vec<Extent> = shadow.iter().copied().collect();
        assert_eq!(left, [extent(100, 7, 3), extent(106, 13, 4)]);
        assert_eq!(shadow.first_mapped(hole), None);
        assert_eq!(shadow.first_mapped(Span { first: 104, last: 200 }), Some(106));
    }

    #[test]
    fn one_unmap_removes_many_maps() {
        let mut shadow = Shadow::default();
        for i in 0..8 {
            shadow.insert(extent(i * 2, i, 2));
        }
        shadow.remove(Span { first: 1, last: 14 });
        let left: Vec<Extent> = shadow.iter().copied().collect();
        assert_eq!(left, [extent(0, 0, 1), extent(15, 8, 1)]);
    }
}
