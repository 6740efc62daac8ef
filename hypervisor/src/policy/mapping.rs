//! Which bus frames a guest may map and unmap: whole ranges, before anything is touched.

use pviommu_abi::{Bfn, ContextId, Errno, Gfn};

use crate::{
    addr::{BfnRange, GfnRange},
    context::{Facts, State},
    machine::Reserved,
    platform::Access,
};

/// A request to map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapRequest {
    pub(crate) context: ContextId,
    /// `None`: no pages at all, which is fine.
    pub(crate) pages: Option<Pages>,
}

/// Equally many bus frames and guest frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pages {
    pub(crate) bfns: BfnRange,
    pub(crate) gfns: GfnRange,
    /// Not empty: an entry without access does not exist (D7b).
    pub(crate) access: Access,
}

/// A request to unmap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnmapRequest {
    pub(crate) context: ContextId,
    /// `None`: no pages at all, which is fine.
    pub(crate) bfns: Option<BfnRange>,
}

/// What a range is checked against.
pub(crate) struct Area<'f> {
    /// The context; `None` for the default one and for ids that mean nothing.
    pub(crate) context: Option<&'f Facts>,
    /// Bus frames that a table of the machine can hold.
    pub(crate) aperture: BfnRange,
    /// Bus frames that are nobody's on this machine.
    pub(crate) reserved: &'f [Reserved],
    /// The x86 interrupt range.
    pub(crate) interrupts: BfnRange,
}

/// A map that may go ahead, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapPlan {
    pub(crate) epoch: u64,
    pub(crate) bfns: BfnRange,
    pub(crate) gfns: GfnRange,
    pub(crate) access: Access,
}

impl MapPlan {
    pub(crate) fn bfn(&self, page: u64) -> Option<Bfn> {
        self.bfns.first().checked_add(page)
    }

    pub(crate) fn gfn(&self, page: u64) -> Option<Gfn> {
        self.gfns.first().checked_add(page)
    }
}

/// An unmap that may go ahead, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnmapPlan {
    pub(crate) epoch: u64,
    pub(crate) bfns: BfnRange,
}

impl Area<'_> {
    /// The context's epoch, if `bfns` may be edited there: all of them, not just the first
    /// (INV-30).
    fn editable(&self, bfns: BfnRange) -> Result<u64, Errno> {
        let facts = self.live()?;
        if bfns.last() > self.aperture.last() {
            return Err(Errno::EINVAL);
        }
        let of_machine = self.reserved.iter().filter(|r| r.enforced()).map(|r| r.range);
        let of_devices = facts.reserved.iter().copied();
        let mut reserved = of_machine.chain(of_devices).chain([self.interrupts]);
        if reserved.any(|range| range.overlaps(bfns)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(facts.epoch)
    }

    fn live(&self) -> Result<&Facts, Errno> {
        self.context.filter(|facts| facts.state == State::Live).ok_or(Errno::EINVAL)
    }
}

/// Checks a map. `None`: there is nothing to map.
///
/// # Errors
/// `-EINVAL`: the context is unknown or not the guest's to edit, or the range leaves the
/// aperture. `-EADDRNOTAVAIL`: a bus frame of it is reserved.
pub(crate) fn may_map(area: &Area<'_>, request: &MapRequest) -> Result<Option<MapPlan>, Errno> {
    area.live()?;
    let Some(pages) = request.pages else { return Ok(None) };
    let epoch = area.editable(pages.bfns)?;
    Ok(Some(MapPlan { epoch, bfns: pages.bfns, gfns: pages.gfns, access: pages.access }))
}

/// Checks an unmap. `None`: there is nothing to unmap.
///
/// # Errors
/// As [`may_map`].
pub(crate) fn may_unmap(
    area: &Area<'_>,
    request: &UnmapRequest,
) -> Result<Option<UnmapPlan>, Errno> {
    area.live()?;
    let Some(bfns) = request.bfns else { return Ok(None) };
    let epoch = area.editable(bfns)?;
    Ok(Some(UnmapPlan { epoch, bfns }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ReservedKind;

    fn bfns(first: u64, pages: u64) -> BfnRange {
        BfnRange::of_pages(Bfn(first), pages).unwrap()
    }

    fn facts(state: State, reserved: &[BfnRange]) -> Facts {
        Facts { epoch: 6, state, reserved: reserved.iter().copied().collect() }
    }

    fn area<'f>(context: Option<&'f Facts>, reserved: &'f [Reserved]) -> Area<'f> {
        Area { context, aperture: bfns(0, 1 << 36), reserved, interrupts: bfns(0xfee00, 0x100) }
    }

    fn unmap(first: u64, pages: u64) -> UnmapRequest {
        UnmapRequest { context: ContextId(1), bfns: Some(bfns(first, pages)) }
    }

    /// INV-30: each page of a request is checked, wherever the reserved range lies in it.
    #[test]
    fn a_reserved_range_is_refused_at_every_position_of_a_request() {
        let machine = [Reserved { range: bfns(1000, 3), kind: ReservedKind::Reserved }];
        let live = facts(State::Live, &[bfns(2000, 1)]);
        for (start, pages) in [(1000, 3), (2000, 1), (0xfee00, 0x100)] {
            for first in start - 8..start + pages + 4 {
                for length in 1..12 {
                    let expected = if bfns(first, length).overlaps(bfns(start, pages)) {
                        Err(Errno::EADDRNOTAVAIL)
                    } else {
                        Ok(Some(UnmapPlan { epoch: 6, bfns: bfns(first, length) }))
                    };
                    let area = area(Some(&live), &machine);
                    assert_eq!(may_unmap(&area, &unmap(first, length)), expected);
                }
            }
        }
    }

    #[test]
    fn a_relaxable_range_is_told_but_not_enforced() {
        let machine = [Reserved { range: bfns(0, 4096), kind: ReservedKind::DirectRelaxable }];
        let live = facts(State::Live, &[]);
        assert!(may_unmap(&area(Some(&live), &machine), &unmap(0, 4096)).is_ok());
    }

    #[test]
    fn the_aperture_ends_where_the_table_does() {
        let live = facts(State::Live, &[]);
        let area = area(Some(&live), &[]);
        assert!(may_unmap(&area, &unmap((1 << 36) - 1, 1)).is_ok());
        assert_eq!(may_unmap(&area, &unmap((1 << 36) - 1, 2)), Err(Errno::EINVAL));
        assert_eq!(may_unmap(&area, &unmap(u64::MAX, 1)), Err(Errno::EINVAL));
    }

    #[test]
    fn a_context_that_is_not_live_is_refused_before_anything_else() {
        for state in [State::Free, State::Dying] {
            let facts = facts(state, &[]);
            assert_eq!(may_unmap(&area(Some(&facts), &[]), &unmap(0xfee00, 1)), Err(Errno::EINVAL));
        }
        let nothing = UnmapRequest { context: ContextId(0), bfns: None };
        assert_eq!(may_unmap(&area(None, &[]), &nothing), Err(Errno::EINVAL));
    }
}
