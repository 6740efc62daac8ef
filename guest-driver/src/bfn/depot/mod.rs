//! All ranges of an aperture: which are free, and where the best of them is.
//!
//! A table of entries that follow each other in the order of addresses, and lists of the free ones.
//! Taking cuts a range from the top of a free one; giving back joins it with free neighbours, and
//! never needs an entry.

#![forbid(unsafe_code)]

mod entry;
mod free_lists;
mod give;
mod reserve;
mod table;
mod take;
mod zones;

pub(super) use self::entry::{Entry, Id};
pub(super) use self::reserve::NotReserved;
pub(super) use self::take::{Taken, Unmet};
pub(super) use self::zones::{LOW_LAST, LOWEST_HIGH, Reach};

use self::entry::State;
use self::free_lists::FreeLists;
use self::zones::{last_of, zone_of};

/// The ranges of one aperture, in a table of type `T`.
#[derive(Debug)]
pub(super) struct Depot<T: ?Sized> {
    /// The last frame of the aperture.
    last: u64,
    /// The entry of the first frame. It stays the same: what is cut off lies above.
    lowest: Id,
    free: FreeLists,
    free_pages: u64,
    /// Entries from this index on were never used.
    fresh: usize,
    /// Of those before, the unused ones.
    unused: Id,
    unused_count: usize,
    /// How many callers want the magazines to stay empty.
    closed: usize,
    entries: T,
}

impl<T> Depot<T> {
    /// A depot of nothing.
    pub(super) const fn new(entries: T) -> Self {
        Self {
            last: 0,
            lowest: Id::NONE,
            free: FreeLists::EMPTY,
            free_pages: 0,
            fresh: 0,
            unused: Id::NONE,
            unused_count: 0,
            closed: 0,
            entries,
        }
    }
}

impl Depot<[Entry]> {
    /// Begins anew, with `first..=last` free. False if there are fewer entries than zones that it
    /// has frames in.
    pub(super) fn reset(&mut self, first: u64, last: u64) -> bool {
        self.free.clear();
        (self.last, self.lowest, self.free_pages) = (last, Id::NONE, 0);
        (self.fresh, self.unused, self.unused_count) = (0, Id::NONE, 0);
        self.closed = 0;
        let (mut below, mut at) = (Id::NONE, first);
        // A turn for each zone.
        loop {
            let zone = zone_of(at);
            let end = last_of(zone).min(last);
            let pages = end.wrapping_sub(at).saturating_add(1);
            let Some(id) = self.insert(below, at, pages, zone as u8) else { return false };
            if below == Id::NONE {
                self.lowest = id;
            }
            self.link(id);
            below = id;
            self.free_pages = self.free_pages.saturating_add(pages);
            match end.checked_add(1) {
                Some(next) if end < last => at = next,
                _ => return true,
            }
        }
    }

    /// Keeps the magazines from being filled until [`open`](Self::open).
    pub(super) fn close(&mut self) {
        self.closed = self.closed.saturating_add(1);
    }

    /// Ends what [`close`](Self::close) began.
    pub(super) fn open(&mut self) {
        self.closed = self.closed.saturating_sub(1);
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed != 0
    }

    pub(super) const fn free_pages(&self) -> u64 {
        self.free_pages
    }

    /// How many entries there are.
    pub(super) fn capacity(&self) -> usize {
        // An entry's number has 32 bits.
        self.entries.len().min(u32::MAX as usize)
    }
}
