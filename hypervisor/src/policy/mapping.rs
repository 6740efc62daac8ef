//! Which bus frames a guest may map and unmap: whole ranges, before anything is touched.

use pviommu_abi::{Bfn, DomId, Errno};

use super::request::{MapHow, MapRequest, Pages, UnmapHow, UnmapRequest};
use crate::{
    addr::{BfnRange, GfnRange},
    context::{Facts, State},
    reserved::Reserved,
};

/// What a range is checked against.
pub(crate) struct Area<'f> {
    /// The context; `None` for ids that mean nothing.
    pub(crate) context: Option<&'f Facts>,
    /// False for the default context while it is the hypervisor's (INV-70).
    pub(crate) guests: bool,
    /// Bus frames that are nobody's on this machine: listed, and not memory.
    pub(crate) reserved: [&'f [Reserved]; 2],
}

/// A map that may go ahead, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapPlan {
    pub(crate) epoch: u64,
    pub(crate) bfns: BfnRange,
    pub(crate) owner: DomId,
    pub(crate) gfns: GfnRange,
    pub(crate) how: MapHow,
}

/// A map of listed guest frames that may go ahead, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListPlan {
    pub(crate) epoch: u64,
    pub(crate) bfns: BfnRange,
    pub(crate) owner: DomId,
    pub(crate) how: MapHow,
}

/// A map of a granted page that may go ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GrantPlan {
    pub(crate) epoch: u64,
    pub(crate) bfn: Bfn,
    pub(crate) granter: DomId,
    pub(crate) reference: u64,
    pub(crate) how: MapHow,
}

/// An unmap that may go ahead, page by page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnmapPlan {
    pub(crate) epoch: u64,
    pub(crate) bfns: BfnRange,
    pub(crate) how: UnmapHow,
}

impl Area<'_> {
    /// The context's epoch, if `bfns` may be edited there: all of them, not just the first
    /// (INV-30).
    pub(crate) fn editable(&self, bfns: BfnRange) -> Result<u64, Errno> {
        let facts = self.editable_context()?;
        if bfns.first() < facts.aperture.first() || bfns.last() > facts.aperture.last() {
            return Err(Errno::EINVAL);
        }
        if self.reserved_ranges(facts).any(|range| range.overlaps(bfns)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        Ok(facts.epoch)
    }

    /// The context's epoch, and as many bus frames around `bfn` as may be edited: all that are between what is
    /// reserved or beyond the aperture.
    ///
    /// # Errors
    /// As [`may_map`], if `bfn` may not be edited.
    pub(crate) fn editable_around(&self, bfn: Bfn) -> Result<(u64, BfnRange), Errno> {
        let epoch = self.editable(BfnRange::single(bfn))?;
        let facts = self.editable_context()?;
        let (mut first, mut last) = (facts.aperture.first(), facts.aperture.last());
        for range in self.reserved_ranges(facts) {
            // `bfn` is in none of them, so a neighbour of each is on its side.
            if range.last() < bfn {
                first = first.max(Bfn(range.last().0.saturating_add(1)));
            } else {
                last = last.min(Bfn(range.first().0.saturating_sub(1)));
            }
        }
        Ok((epoch, BfnRange::new(first, last).unwrap_or_else(|| BfnRange::single(bfn))))
    }

    /// All bus frames that nobody edits in the context that `facts` are of.
    fn reserved_ranges(&self, facts: &Facts) -> impl Iterator<Item = BfnRange> {
        let of_machine = self.reserved.iter().copied().flatten();
        let of_machine = of_machine.filter(|r| r.enforced()).map(|r| r.range);
        of_machine.chain(facts.reserved.iter().copied())
    }

    /// The context, if the guest may edit it.
    fn editable_context(&self) -> Result<&Facts, Errno> {
        self.live().and_then(|facts| self.guests.then_some(facts).ok_or(Errno::EINVAL))
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
    area.editable_context()?;
    let Some(pages) = request.pages else { return Ok(None) };
    let epoch = area.editable(pages.bfns)?;
    let Pages { bfns, owner, gfns, how } = pages;
    Ok(Some(MapPlan { epoch, bfns, owner, gfns, how }))
}

/// Checks a map of listed guest frames at `bfns`.
///
/// # Errors
/// As [`may_map`].
pub(crate) fn may_map_list(
    area: &Area<'_>,
    bfns: BfnRange,
    owner: DomId,
    how: MapHow,
) -> Result<ListPlan, Errno> {
    Ok(ListPlan { epoch: area.editable(bfns)?, bfns, owner, how })
}

/// Checks that `bfns` may be flushed. `None`: there is nothing to flush.
///
/// # Errors
/// `-EINVAL`: the context is unknown or not the guest's to edit, or the range leaves the aperture.
pub(crate) fn may_flush(
    area: &Area<'_>,
    bfns: Option<BfnRange>,
) -> Result<Option<BfnRange>, Errno> {
    area.editable_context()?;
    bfns.map(|bfns| may_look(area, bfns)).transpose().map(|_| bfns)
}

/// Checks that bus frames may be asked about; the context's epoch.
///
/// # Errors
/// `-EINVAL`: the context is unknown, or the range leaves the aperture.
pub(crate) fn may_look(area: &Area<'_>, bfns: BfnRange) -> Result<u64, Errno> {
    let facts = area.live()?;
    let inside = facts.aperture.first() <= bfns.first() && bfns.last() <= facts.aperture.last();
    inside.then_some(facts.epoch).ok_or(Errno::EINVAL)
}

/// Checks an unmap. `None`: there is nothing to unmap.
///
/// # Errors
/// As [`may_map`].
pub(crate) fn may_unmap(
    area: &Area<'_>,
    request: &UnmapRequest,
) -> Result<Option<UnmapPlan>, Errno> {
    area.editable_context()?;
    let Some(bfns) = request.bfns else { return Ok(None) };
    let epoch = area.editable(bfns)?;
    Ok(Some(UnmapPlan { epoch, bfns, how: request.how }))
}

#[cfg(test)]
mod tests {
    use pviommu_abi::ContextId;

    use super::*;
    use crate::{platform::Access, reserved::ReservedKind};

    fn bfns(first: u64, pages: u64) -> BfnRange {
        BfnRange::of_pages(Bfn(first), pages).unwrap()
    }

    fn facts(state: State, reserved: &[BfnRange]) -> Facts {
        Facts {
            epoch: 6,
            state,
            aperture: bfns(0, 1 << 36),
            reserved: reserved.iter().copied().collect(),
        }
    }

    const HOLES: [Reserved; 1] = [Reserved {
        range: BfnRange::fixed(Bfn(0xfee00), Bfn(0xfeeff)),
        kind: ReservedKind::Msi,
        access: Access::empty(),
    }];

    fn area<'f>(context: Option<&'f Facts>, reserved: &'f [Reserved]) -> Area<'f> {
        Area { context, guests: true, reserved: [reserved, &HOLES] }
    }

    fn unmap(first: u64, pages: u64) -> UnmapRequest {
        let how = UnmapHow::default();
        UnmapRequest { context: ContextId(1), bfns: Some(bfns(first, pages)), how }
    }

    /// INV-30: each page of a request is checked, wherever the reserved range lies in it.
    #[test]
    fn a_reserved_range_is_refused_at_every_position_of_a_request() {
        let machine = [Reserved {
            range: bfns(1000, 3),
            kind: ReservedKind::Reserved,
            access: Access::empty(),
        }];
        let live = facts(State::Live, &[bfns(2000, 1)]);
        for (start, pages) in [(1000, 3), (2000, 1), (0xfee00, 0x100)] {
            for first in start - 8..start + pages + 4 {
                for length in 1..12 {
                    let expected = if bfns(first, length).overlaps(bfns(start, pages)) {
                        Err(Errno::EADDRNOTAVAIL)
                    } else {
                        let how = UnmapHow::default();
                        Ok(Some(UnmapPlan { epoch: 6, bfns: bfns(first, length), how }))
                    };
                    let area = area(Some(&live), &machine);
                    assert_eq!(may_unmap(&area, &unmap(first, length)), expected);
                }
            }
        }
    }

    /// INV-30: what is said of the frames around one is what is said of each.
    #[test]
    fn the_frames_around_one_are_those_that_may_be_edited_one_by_one() {
        let machine = [Reserved {
            range: bfns(40, 3),
            kind: ReservedKind::Reserved,
            access: Access::empty(),
        }];
        let live = Facts { aperture: bfns(16, 64), ..facts(State::Live, &[bfns(60, 1)]) };
        let area = area(Some(&live), &machine);
        let may = |bfn: u64| area.editable(bfns(bfn, 1)).is_ok();
        for bfn in 0..100 {
            match area.editable_around(Bfn(bfn)) {
                Err(_) => assert!(!may(bfn), "{bfn}"),
                Ok((epoch, around)) => {
                    assert_eq!(epoch, 6);
                    let (first, last) = (around.first().0, around.last().0);
                    assert!((first..=last).contains(&bfn) && (first..=last).all(may), "{bfn}");
                    assert!(!may(first - 1) && !may(last + 1), "{bfn}");
                }
            }
        }
    }

    #[test]
    fn a_relaxable_range_is_told_but_not_enforced() {
        let machine = [Reserved {
            range: bfns(0, 4096),
            kind: ReservedKind::DirectRelaxable,
            access: Access::READ,
        }];
        let live = facts(State::Live, &[]);
        assert!(may_unmap(&area(Some(&live), &machine), &unmap(0, 4096)).is_ok());
    }

    #[test]
    fn the_aperture_ends_where_the_table_does() {
        let live = facts(State::Live, &[]);
        let whole = area(Some(&live), &[]);
        assert!(may_unmap(&whole, &unmap((1 << 36) - 1, 1)).is_ok());
        assert_eq!(may_unmap(&whole, &unmap((1 << 36) - 1, 2)), Err(Errno::EINVAL));
        assert_eq!(may_unmap(&whole, &unmap(u64::MAX, 1)), Err(Errno::EINVAL));
        let narrow = Facts { aperture: bfns(16, 16), ..live };
        let narrow = area(Some(&narrow), &[]);
        for (first, pages, fits) in [(16, 16, true), (15, 2, false), (31, 2, false), (0, 8, false)]
        {
            assert_eq!(may_unmap(&narrow, &unmap(first, pages)).is_ok(), fits);
            assert_eq!(may_look(&narrow, bfns(first, pages)).is_ok(), fits);
        }
    }

    /// INV-70: a context that is the hypervisor's may be looked at, and nothing else.
    #[test]
    fn a_context_of_the_hypervisor_is_not_edited() {
        let live = facts(State::Live, &[]);
        let area = Area { guests: false, ..area(Some(&live), &[]) };
        assert_eq!(may_unmap(&area, &unmap(1, 1)), Err(Errno::EINVAL));
        assert_eq!(may_flush(&area, Some(bfns(1, 1))), Err(Errno::EINVAL));
        assert_eq!(may_flush(&area, None), Err(Errno::EINVAL));
        assert_eq!(may_look(&area, bfns(1, 1)), Ok(6));
        let how = UnmapHow::default();
        let nothing = UnmapRequest { context: ContextId(0), bfns: None, how };
        assert_eq!(may_unmap(&area, &nothing), Err(Errno::EINVAL));
    }

    #[test]
    fn a_context_that_is_not_live_is_refused_before_anything_else() {
        for state in [State::Free, State::Dying] {
            let facts = facts(state, &[]);
            assert_eq!(may_unmap(&area(Some(&facts), &[]), &unmap(0xfee00, 1)), Err(Errno::EINVAL));
        }
        let how = UnmapHow::default();
        let nothing = UnmapRequest { context: ContextId(0), bfns: None, how };
        assert_eq!(may_unmap(&area(None, &[]), &nothing), Err(Errno::EINVAL));
    }
}
