//! The memory behind bus addresses of a trace, in pieces, as a driver would name them.

use crate::replay::shadow::Shadow;
use crate::replay::spans::Span;
use crate::trace::DmaRange;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Bytes that follow each other in the guest's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The first byte, guest physical.
    pub(super) address: u64,
    /// How many.
    pub(super) length: u64,
}

impl Piece {
    fn end(self) -> u64 {
        self.address + self.length
    }
}

/// What is behind these ranges of bus addresses, of which all is mapped; `None` if not, or if one is
/// empty. What follows on in memory is one piece, unless one of `starts`, which are in order, is the
/// beginning of the next.
pub(super) fn behind(mapped: &Shadow, bus: &[DmaRange], starts: &[u64]) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    for range in bus {
        let last = range.bus.checked_add(range.size.checked_sub(1)?)?;
        let span = Span::of_bytes(range.bus, last);
        let extents = mapped.within(span);
        if extents.iter().map(|extent| extent.pages).sum::<u64>() != span.pages() {
            return None;
        }
        for extent in extents {
            let start = range.bus.max(extent.bfn * PAGE);
            let end = (last + 1).min((extent.bfn + extent.pages) * PAGE);
            let address = extent.gfn * PAGE + (start - extent.bfn * PAGE);
            add(&mut pieces, Piece { address, length: end - start }, start == range.bus);
        }
    }
    Some(cut(&pieces, starts))
}

/// Adds a piece, joined with the one before it if both follow on on the bus and in memory.
fn add(pieces: &mut Vec<Piece>, piece: Piece, is_first: bool) {
    match pieces.last_mut() {
        Some(before) if !is_first && before.end() == piece.address => before.length += piece.length,
        _ => pieces.push(piece),
    }
}

/// Cuts pieces where the next of those begins that the trace names.
fn cut(pieces: &[Piece], starts: &[u64]) -> Vec<Piece> {
    let mut starts = starts.iter().copied().peekable();
    let mut all = Vec::with_capacity(pieces.len().max(starts.len()));
    for piece in pieces {
        starts.next_if_eq(&piece.address);
        let mut rest = *piece;
        while let Some(start) = starts.next_if(|start| rest.address < *start && *start < rest.end())
        {
            all.push(Piece { address: rest.address, length: start - rest.address });
            rest = Piece { address: start, length: rest.end() - start };
        }
        all.push(rest);
    }
    all
}

#[cfg(test)]
mod tests {
    use pviommu_hypervisor::platform::Access;

    use super::*;
    use crate::replay::shadow::Extent;

    fn mapped(extents: &[(u64, u64, u64)]) -> Shadow {
        let mut mapped = Shadow::default();
        for (bfn, gfn, pages) in extents.iter().copied() {
            mapped.insert(Extent { bfn, gfn, pages, access: Access::READ });
        }
        mapped
    }

    fn found(mapped: &Shadow, bus: &[(u64, u64)], starts: &[u64]) -> Option<Vec<(u64, u64)>> {
        let bus: Vec<DmaRange> =
            bus.iter().map(|(bus, size)| DmaRange { bus: *bus, size: *size }).collect();
        let pieces = behind(mapped, &bus, starts)?;
        Some(pieces.iter().map(|piece| (piece.address, piece.length)).collect())
    }

    #[test]
    fn a_buffer_is_a_part_of_its_pages() {
        let mapped = mapped(&[(0x100, 5, 1), (0x101, 6, 1), (0x102, 9, 2)]);
        assert_eq!(found(&mapped, &[(0x10_0800, 8)], &[]), Some(vec![(0x5800, 8)]));
        assert_eq!(found(&mapped, &[(0x10_0ff8, 0x10)], &[]), Some(vec![(0x5ff8, 0x10)]));
        let across = Some(vec![(0x6800, 0x800), (0x9000, 0x100)]);
        assert_eq!(found(&mapped, &[(0x10_1800, 0x900)], &[]), across);
    }

    #[test]
    fn pieces_that_touch_are_told_apart_by_where_they_begin() {
        let mapped = mapped(&[(0x100, 5, 4)]);
        let bus = [(0x10_0800, 0x2800)];
        assert_eq!(found(&mapped, &bus, &[0x5800]), Some(vec![(0x5800, 0x2800)]));
        let three = Some(vec![(0x5800, 0x800), (0x6000, 0x1000), (0x7000, 0x1000)]);
        assert_eq!(found(&mapped, &bus, &[0x5800, 0x6000, 0x7000]), three);
    }

    #[test]
    fn ranges_are_pieces_of_their_own_whatever_they_are_of() {
        let mapped = mapped(&[(0x100, 5, 2)]);
        let two = Some(vec![(0x5000, 0x1000), (0x6000, 0x10)]);
        assert_eq!(found(&mapped, &[(0x10_0000, 0x1000), (0x10_1000, 0x10)], &[0x5000]), two);
    }

    #[test]
    fn a_hole_or_nothing_is_refused() {
        let mapped = mapped(&[(0x100, 5, 1), (0x102, 9, 1)]);
        assert_eq!(found(&mapped, &[(0x10_0000, 0x2000)], &[]), None);
        assert_eq!(found(&mapped, &[(0x10_0000, 0)], &[]), None);
        assert_eq!(found(&mapped, &[(u64::MAX, 1)], &[]), None);
    }
}
