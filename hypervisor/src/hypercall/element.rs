//! One element of a batch: from its bytes to an operation that cannot be wrong in itself.

use pviommu_abi::{BatchElement, BatchOp, Bfn, DomId, ElementFlags, Errno, Gfn, GuestPtr};

use crate::{
    addr::{BfnRange, GfnRange},
    platform::Access,
    policy::{MapHow, Pages, UnmapHow},
};

/// What is left to do of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Map(Pages),
    /// The guest frames stand in the caller's memory, at `list`.
    MapList {
        bfns: BfnRange,
        list: GuestPtr,
        how: MapHow,
    },
    MapGrant {
        bfn: Bfn,
        reference: u64,
        how: MapHow,
    },
    Unmap {
        bfns: BfnRange,
        how: UnmapHow,
    },
    /// `None`: all of the context.
    Flush(Option<BfnRange>),
    Lookup(Bfn),
}

const MAP_FLAGS: ElementFlags = ElementFlags::READ
    .union(ElementFlags::WRITE)
    .union(ElementFlags::CACHE)
    .union(ElementFlags::NO_FLUSH)
    .union(ElementFlags::NOEXEC)
    .union(ElementFlags::MMIO)
    .union(ElementFlags::PRIVILEGED);
const UNMAP_FLAGS: ElementFlags = ElementFlags::NO_FLUSH.union(ElementFlags::SKIP_HOLES);

/// Decodes what is left of `element` after its first `done` pages; `owner` is whose pages it maps.
/// `None`: nothing is.
///
/// # Errors
/// What its status is to be.
pub(crate) fn decode(
    element: &BatchElement,
    owner: DomId,
    done: u32,
) -> Result<Option<Operation>, Errno> {
    let known = match element.op {
        BatchOp::MAP | BatchOp::MAP_LIST | BatchOp::MAP_GRANT => MAP_FLAGS,
        BatchOp::UNMAP => UNMAP_FLAGS,
        BatchOp::FLUSH | BatchOp::LOOKUP => ElementFlags::empty(),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !known.contains(element.flags) || done > element.nr {
        return Err(Errno::EINVAL);
    }
    match element.op {
        BatchOp::FLUSH => return flush(element).map(Some),
        BatchOp::LOOKUP if element.nr == 1 && element.page == 0 => {
            return Ok(Some(Operation::Lookup(element.bfn)));
        }
        BatchOp::LOOKUP => return Err(Errno::EINVAL),
        _ => {}
    }
    // All of it is checked, also what is done already.
    let all = BfnRange::of_pages(element.bfn, u64::from(element.nr)).ok_or(Errno::EINVAL)?;
    let left =
        all.first().checked_add(u64::from(done)).and_then(|at| BfnRange::new(at, all.last()));
    match element.op {
        BatchOp::MAP => {
            let how = map_how(element)?;
            let pages = u64::from(element.nr);
            let gfns = GfnRange::of_pages(Gfn(element.page), pages).ok_or(Errno::EINVAL)?;
            let rest = gfns.first().checked_add(u64::from(done));
            let rest = rest.and_then(|at| GfnRange::new(at, gfns.last()));
            Ok(left.zip(rest).map(|(bfns, gfns)| Operation::Map(Pages { bfns, owner, gfns, how })))
        }
        BatchOp::MAP_LIST => {
            let how = map_how(element)?;
            let skipped = u64::from(done).saturating_mul(8);
            let list = element.page.checked_add(skipped).map(GuestPtr).ok_or(Errno::EFAULT)?;
            Ok(left.map(|bfns| Operation::MapList { bfns, list, how }))
        }
        BatchOp::MAP_GRANT => {
            let how = map_how(element)?;
            if element.nr != 1 {
                return Err(Errno::EINVAL);
            }
            let reference = element.page;
            Ok(left.map(|bfns| Operation::MapGrant { bfn: bfns.first(), reference, how }))
        }
        _ if element.page != 0 => Err(Errno::EINVAL),
        _ => {
            let how = UnmapHow {
                later: element.flags.contains(ElementFlags::NO_FLUSH),
                skip_holes: element.flags.contains(ElementFlags::SKIP_HOLES),
                whole_leaves: false,
            };
            Ok(left.map(|bfns| Operation::Unmap { bfns, how }))
        }
    }
}

/// True if `other` is one page that is mapped or unmapped as that of `element`, which was decoded, is: what
/// [`decode`] says of the two differs by their frames only.
pub(crate) fn is_single_like(element: &BatchElement, other: &BatchElement) -> bool {
    let alike = other.op == element.op && other.flags == element.flags;
    let page = other.op == BatchOp::MAP || (other.op == BatchOp::UNMAP && other.page == 0);
    alike && page && other.nr == 1
}

/// The pages of `element` that an earlier call has done, by what the guest's memory says.
pub(crate) fn begun(element: &BatchElement) -> u32 {
    match element.op {
        // Done again from the start: there is little to it.
        BatchOp::FLUSH | BatchOp::LOOKUP => 0,
        _ => element.done,
    }
}

/// `CACHE` and `NOEXEC` need nothing: leaves enforce snooping wherever the units can, and allow no
/// device to fetch instructions.
fn map_how(element: &BatchElement) -> Result<MapHow, Errno> {
    if element.flags.contains(ElementFlags::PRIVILEGED) {
        // No entry here tells privileged requests from others.
        return Err(Errno::EOPNOTSUPP);
    }
    let mut access = Access::empty();
    access.set(Access::READ, element.flags.contains(ElementFlags::READ));
    access.set(Access::WRITE, element.flags.contains(ElementFlags::WRITE));
    if access.is_empty() {
        return Err(Errno::EINVAL);
    }
    Ok(MapHow {
        access,
        mmio_only: element.flags.contains(ElementFlags::MMIO),
        sync_later: element.flags.contains(ElementFlags::NO_FLUSH),
    })
}

fn flush(element: &BatchElement) -> Result<Operation, Errno> {
    if element.page != 0 || (element.nr == 0 && element.bfn != Bfn(0)) {
        return Err(Errno::EINVAL);
    }
    if element.nr == 0 {
        return Ok(Operation::Flush(None));
    }
    let bfns = BfnRange::of_pages(element.bfn, u64::from(element.nr)).ok_or(Errno::EINVAL)?;
    Ok(Operation::Flush(Some(bfns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: DomId = DomId(3);

    fn element(op: BatchOp, flags: ElementFlags, bfn: u64, page: u64, nr: u32) -> BatchElement {
        BatchElement { op, flags, bfn: Bfn(bfn), page, nr, ..BatchElement::default() }
    }

    #[test]
    fn flags_and_fields_that_mean_nothing_for_an_operation_are_refused() {
        let none = ElementFlags::empty();
        let refused = [
            element(BatchOp::MAP, none, 1, 1, 1),
            element(BatchOp::MAP, ElementFlags::READ | ElementFlags::SKIP_HOLES, 1, 1, 1),
            element(BatchOp::MAP, ElementFlags::READ, 1, 1, 0),
            element(BatchOp::MAP, ElementFlags::READ, u64::MAX, 1, 2),
            element(BatchOp::MAP, ElementFlags::READ, 1, u64::MAX, 2),
            element(BatchOp::MAP_GRANT, ElementFlags::READ, 1, 7, 2),
            element(BatchOp::MAP_GRANT, none, 1, 7, 1),
            element(BatchOp::UNMAP, ElementFlags::READ, 1, 0, 1),
            element(BatchOp::UNMAP, none, 1, 7, 1),
            element(BatchOp::UNMAP, none, 1, 0, 0),
            element(BatchOp::FLUSH, none, 1, 0, 0),
            element(BatchOp::FLUSH, none, 1, 1, 1),
            element(BatchOp::FLUSH, ElementFlags::NO_FLUSH, 1, 0, 1),
            element(BatchOp::LOOKUP, none, 1, 0, 2),
            element(BatchOp::LOOKUP, ElementFlags::READ, 1, 0, 1),
            element(BatchOp::UNMAP, ElementFlags::from_bits_retain(1 << 15), 1, 0, 1),
        ];
        for element in refused {
            assert_eq!(decode(&element, OWNER, 0), Err(Errno::EINVAL), "{element:?}");
        }
        for op in [BatchOp(0), BatchOp(7), BatchOp(u16::MAX)] {
            assert_eq!(decode(&element(op, none, 1, 0, 1), OWNER, 0), Err(Errno::EOPNOTSUPP));
        }
    }

    #[test]
    fn what_is_like_a_page_that_is_mapped_is_decoded_alike() {
        let (read, none) = (ElementFlags::READ, ElementFlags::empty());
        let map = element(BatchOp::MAP, read, 1, 1, 1);
        let unmap = element(BatchOp::UNMAP, none, 1, 0, 1);
        let others = [
            element(BatchOp::MAP, read, u64::MAX, u64::MAX, 1),
            element(BatchOp::MAP, read, 0, 0, 2),
            element(BatchOp::MAP, read, 0, 0, 0),
            element(BatchOp::MAP, read | ElementFlags::WRITE, 2, 2, 1),
            element(BatchOp::MAP_GRANT, read, 2, 2, 1),
            element(BatchOp::UNMAP, none, u64::MAX, 0, 1),
            element(BatchOp::UNMAP, none, 2, 1, 1),
            element(BatchOp::UNMAP, ElementFlags::SKIP_HOLES, 2, 0, 1),
        ];
        let alike = |like: &BatchElement| others.each_ref().map(|it| is_single_like(like, it));
        assert_eq!(alike(&map), [true, false, false, false, false, false, false, false]);
        assert_eq!(alike(&unmap), [false, false, false, false, false, true, false, false]);
        for like in [map, unmap] {
            for other in others.iter().filter(|other| is_single_like(&like, other)) {
                match decode(other, OWNER, 0) {
                    Ok(Some(Operation::Map(Pages { bfns, gfns, .. }))) => {
                        assert_eq!(bfns, BfnRange::single(other.bfn));
                        assert_eq!(gfns, GfnRange::single(Gfn(other.page)));
                    }
                    Ok(Some(Operation::Unmap { bfns, .. })) => {
                        assert_eq!(bfns, BfnRange::single(other.bfn));
                    }
                    other => assert_eq!(other, Ok(None), "not decoded alike"),
                }
            }
        }
    }

    /// INV-50: how far a call has come stands in the guest's memory, and is checked again.
    #[test]
    fn progress_beyond_the_end_of_an_element_is_refused() {
        let unmap = element(BatchOp::UNMAP, ElementFlags::empty(), 10, 0, 4);
        assert_eq!(decode(&unmap, OWNER, 4), Ok(None));
        assert_eq!(decode(&unmap, OWNER, 5), Err(Errno::EINVAL));
        let left = BfnRange::new(Bfn(11), Bfn(13)).unwrap();
        let how = UnmapHow::default();
        assert_eq!(decode(&unmap, OWNER, 1), Ok(Some(Operation::Unmap { bfns: left, how })));
    }
}
