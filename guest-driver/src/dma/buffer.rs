//! What is mapped: a buffer in pieces, and where each lies once it is.
//!
//! Pieces that touch in memory are one. Each other piece begins in a page of its own on the bus, so
//! pieces that end and begin at page boundaries touch on the bus although they do not in memory.

use pviommu_abi::{Bfn, Gfn, PAGE_SIZE};

/// Bytes that follow each other in the guest's physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// The guest physical address of the first byte.
    pub address: u64,
    /// How many bytes.
    pub length: u64,
}

/// Memory that devices are given. A list of pieces is mapped as a whole.
///
/// A kernel implements it for what owns its memory: a page, a list of pages, a network buffer. What
/// is mapped has it, so nobody else uses the memory before it comes back. Borrowed memory cannot be
/// mapped, for a borrow can end before the mapping does. [`Piece`]s alone own nothing: whoever maps
/// those sees to it that the memory is not used.
///
/// The pieces must be the same every time, for as long as the buffer is mapped. What else lies in
/// their pages can be reached by the device as well.
pub trait Buffer {
    /// Its pieces, in the order in which the device sees them. Those of 0 bytes are left out.
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone;
}

impl Buffer for Piece {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        core::iter::once(*self)
    }
}

impl Buffer for [Piece] {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.iter().copied()
    }
}

impl<const N: usize> Buffer for [Piece; N] {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.iter().copied()
    }
}

impl<B: Buffer + ?Sized> Buffer for &B {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        (**self).pieces()
    }
}

#[cfg(feature = "alloc")]
impl<B: Buffer + ?Sized> Buffer for alloc::boxed::Box<B> {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        (**self).pieces()
    }
}

#[cfg(feature = "alloc")]
impl Buffer for alloc::vec::Vec<Piece> {
    fn pieces(&self) -> impl Iterator<Item = Piece> + Clone {
        self.iter().copied()
    }
}

/// Bytes that follow each other on the bus: what a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The bus address of the first byte.
    pub address: u64,
    /// How many bytes.
    pub length: u64,
}

/// Guest frames that follow each other, for bus frames that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) first: Gfn,
    pub(crate) pages: u32,
}

/// Items of which those that touch are joined.
#[derive(Clone)]
pub(crate) struct Joined<I, T> {
    items: I,
    next: Option<T>,
    join: fn(&mut T, &T) -> bool,
}

impl<T, I: Iterator<Item = T>> Joined<I, T> {
    fn new(mut items: I, join: fn(&mut T, &T) -> bool) -> Self {
        let next = items.next();
        Self { items, next, join }
    }
}

impl<T, I: Iterator<Item = T>> Iterator for Joined<I, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut item = self.next.take()?;
        for next in self.items.by_ref() {
            if !(self.join)(&mut item, &next) {
                self.next = Some(next);
                break;
            }
        }
        Some(item)
    }
}

/// The pieces of a buffer, of which none is empty and no two touch.
fn whole_pieces<B: Buffer + ?Sized>(buffer: &B) -> impl Iterator<Item = Piece> + Clone {
    let some = buffer.pieces().filter(|piece| piece.length > 0);
    Joined::new(some, |piece, next| {
        let touches = piece.address.checked_add(piece.length) == Some(next.address);
        let length = piece.length.checked_add(next.length).filter(|_| touches);
        piece.length = length.unwrap_or(piece.length);
        length.is_some()
    })
}

/// The offset of a piece in its first page, and the pages it lies in; `None` if it wraps around, or
/// has more than 2^32 - 1 pages.
fn pages_of(piece: &Piece) -> Option<(u64, Run)> {
    let offset = piece.address % PAGE_SIZE;
    piece.address.checked_add(piece.length)?;
    let pages = offset.checked_add(piece.length)?.div_ceil(PAGE_SIZE);
    let first = Gfn::containing(piece.address);
    Some((offset, Run { first, pages: u32::try_from(pages).ok()? }))
}

/// How many pages a buffer takes on the bus; `None` if it has none, or a piece that is not possible.
pub(crate) fn bus_pages<B: Buffer + ?Sized>(buffer: &B) -> Option<u32> {
    let mut pages: u32 = 0;
    for piece in whole_pieces(buffer) {
        pages = pages.checked_add(pages_of(&piece)?.1.pages)?;
    }
    (pages > 0).then_some(pages)
}

/// The offset of the first byte in its page; 0 for a buffer without one.
pub(crate) fn first_offset<B: Buffer + ?Sized>(buffer: &B) -> u64 {
    whole_pieces(buffer).next().map_or(0, |piece| piece.address % PAGE_SIZE)
}

/// The guest frames of a buffer, in the order of the bus. Ends early at a piece that is not possible.
pub(crate) fn runs<B: Buffer + ?Sized>(buffer: &B) -> impl Iterator<Item = Run> + Clone {
    let pieces = whole_pieces(buffer).map_while(|piece| Some(pages_of(&piece)?.1));
    Joined::new(pieces, |run, next| {
        let follows = run.first.checked_add(run.pages.into()) == Some(next.first);
        let pages = run.pages.checked_add(next.pages).filter(|_| follows);
        run.pages = pages.unwrap_or(run.pages);
        pages.is_some()
    })
}

/// Where a buffer is on the bus that is mapped at `pages` bus frames from `first` on. Ends where
/// these do, whatever the buffer says.
pub(crate) fn segments<B: Buffer + ?Sized>(
    buffer: &B,
    first: Bfn,
    pages: u32,
) -> impl Iterator<Item = Segment> + Clone {
    let end = first.address().and_then(|start| start.checked_add(u64::from(pages) * PAGE_SIZE));
    let each = whole_pieces(buffer).scan(first, move |bfn, piece| {
        let (offset, run) = pages_of(&piece)?;
        let address = bfn.address()?.checked_add(offset)?;
        let within = address.checked_add(piece.length)? <= end?;
        *bfn = bfn.checked_add(run.pages.into())?;
        within.then_some(Segment { address, length: piece.length })
    });
    Joined::new(each, |segment, next| {
        let touches = segment.address.checked_add(segment.length) == Some(next.address);
        let length = segment.length.checked_add(next.length).filter(|_| touches);
        segment.length = length.unwrap_or(segment.length);
        length.is_some()
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    const fn piece(address: u64, length: u64) -> Piece {
        Piece { address, length }
    }

    const fn run(first: u64, pages: u32) -> Run {
        Run { first: Gfn(first), pages }
    }

    fn told(buffer: &[Piece]) -> (Option<u32>, Vec<Run>, Vec<(u64, u64)>) {
        let pages = bus_pages(buffer);
        let segments = segments(buffer, Bfn(0x100), pages.unwrap_or(0));
        let segments = segments.map(|segment| (segment.address, segment.length));
        (pages, runs(buffer).collect(), segments.collect())
    }

    #[test]
    fn a_buffer_takes_the_pages_it_touches() {
        let of = |address, length| told(&[piece(address, length)]);
        assert_eq!(of(0x5000, 1), (Some(1), [run(5, 1)].into(), [(0x10_0000, 1)].into()));
        assert_eq!(of(0x5fff, 2), (Some(2), [run(5, 2)].into(), [(0x10_0fff, 2)].into()));
        let three = (Some(3), [run(5, 3)].into(), [(0x10_0800, 0x2000)].into());
        assert_eq!(of(0x5800, 0x2000), three);
    }

    #[test]
    fn pieces_that_touch_in_memory_are_one() {
        let (pages, runs, segments) = told(&[piece(0x5100, 0x80), piece(0x5180, 0x80)]);
        assert_eq!((pages, runs), (Some(1), [run(5, 1)].into()));
        assert_eq!(segments, [(0x10_0100, 0x100)]);
    }

    #[test]
    fn whole_pages_touch_on_the_bus_wherever_they_are() {
        let list = [piece(0x5800, 0x800), piece(0x9000, 0x1000), piece(0x2000, 0x10)];
        let (pages, runs, segments) = told(&list);
        assert_eq!((pages, runs), (Some(3), [run(5, 1), run(9, 1), run(2, 1)].into()));
        assert_eq!(segments, [(0x10_0800, 0x1810)]);
    }

    #[test]
    fn other_pieces_begin_in_a_page_of_their_own() {
        let list = [piece(0x5000, 0x10), piece(0x5800, 0x10), piece(0x6000, 0x10)];
        let (pages, runs, segments) = told(&list);
        assert_eq!(pages, Some(3));
        assert_eq!(runs, [run(5, 1), run(5, 2)], "the last two pages follow each other");
        assert_eq!(segments, [(0x10_0000, 0x10), (0x10_1800, 0x10), (0x10_2000, 0x10)]);
    }

    #[test]
    fn what_is_nothing_or_wraps_around_has_no_pages() {
        assert_eq!(bus_pages(&[piece(0x5000, 0)]), None);
        assert_eq!(bus_pages(&[] as &[Piece]), None);
        assert_eq!(bus_pages(&[piece(0x5000, 1), piece(u64::MAX, 2)]), None);
        assert_eq!(bus_pages(&[piece(0, 1 << 45)]), None, "more pages than a call can name");
    }

    #[test]
    fn a_buffer_that_grows_is_told_no_address_beyond_its_bus_frames() {
        let list = [piece(0x5000, 0x1000), piece(0x9000, 0x1000)];
        let segments: Vec<_> = segments(&list, Bfn(0x100), 1).collect();
        assert_eq!(segments, [Segment { address: 0x10_0000, length: 0x1000 }]);
    }
}
