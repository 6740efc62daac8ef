//! A buffer as the driver's API is given it, and where its bytes are once it is mapped.

use pviommu_guest::dma::{Buffer, Segment};

use super::pieces::Piece;
use crate::replay::checks::Stretch;
use crate::replay::spans::Span;

/// Memory that the driver of a device owns, in pieces.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Memory {
    pub(super) pieces: Vec<Piece>,
}

impl Buffer for Memory {
    fn pieces(&self) -> impl Iterator<Item = pviommu_guest::dma::Piece> + Clone {
        let piece = |piece: &Piece| {
            let Piece { address, length } = *piece;
            pviommu_guest::dma::Piece { address, length }
        };
        self.pieces.iter().map(piece)
    }
}

/// Where each byte of `pieces` is on the bus, by what the device is told; `None` if that is not as
/// many bytes.
pub(super) fn stretches(
    pieces: &[Piece],
    segments: impl Iterator<Item = Segment>,
) -> Option<Vec<Stretch>> {
    let mut stretches = Vec::new();
    let mut pieces = pieces.iter().copied();
    let mut rest = Piece { address: 0, length: 0 };
    for segment in segments {
        let (mut bus, mut left) = (segment.address, segment.length);
        while left > 0 {
            if rest.length == 0 {
                rest = pieces.next()?;
            }
            let length = left.min(rest.length);
            stretches.push(Stretch { bus, memory: rest.address, length });
            (bus, left) = (bus + length, left - length);
            rest = Piece { address: rest.address + length, length: rest.length - length };
        }
    }
    (rest.length == 0 && pieces.next().is_none()).then_some(stretches)
}

/// The bus frames from the first to the last that a device is told.
pub(super) fn bus_frames(stretches: &[Stretch]) -> Option<Span> {
    let first = stretches.iter().map(|stretch| stretch.bus).min()?;
    let last = stretches.iter().map(|stretch| stretch.bus + (stretch.length - 1)).max()?;
    Some(Span::of_bytes(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[(u64, u64)], segments: &[(u64, u64)]) -> Option<Vec<(u64, u64, u64)>> {
        let pieces: Vec<Piece> = pieces
            .iter()
            .map(|(address, length)| Piece { address: *address, length: *length })
            .collect();
        let segments =
            segments.iter().map(|(address, length)| Segment { address: *address, length: *length });
        let told = stretches(&pieces, segments)?;
        Some(told.iter().map(|told| (told.bus, told.memory, told.length)).collect())
    }

    #[test]
    fn pieces_and_segments_need_not_end_together() {
        let pieces = [(0x5800, 0x800), (0x9000, 0x1000), (0x3000, 8)];
        let found = told(&pieces, &[(0x10_0800, 0x1800), (0x10_2000, 8)]);
        let expected =
            vec![(0x10_0800, 0x5800, 0x800), (0x10_1000, 0x9000, 0x1000), (0x10_2000, 0x3000, 8)];
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn bytes_that_are_missing_or_too_many_are_noticed() {
        assert_eq!(told(&[(0x5000, 8)], &[(0x1000, 7)]), None);
        assert_eq!(told(&[(0x5000, 8)], &[(0x1000, 9)]), None);
        assert_eq!(told(&[(0x5000, 8), (0x6000, 8)], &[(0x1000, 8)]), None);
        assert_eq!(told(&[(0x5000, 8)], &[]), None);
    }
}
