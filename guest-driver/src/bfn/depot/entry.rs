//! Entries: a range each, in the order of their addresses.

#![forbid(unsafe_code)]

/// The number of an entry. The first is 1: so a table of unused entries is all zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bfn) struct Id(pub(super) u32);

impl Id {
    /// No entry.
    pub(in crate::bfn) const NONE: Self = Self(0);

    pub(super) const fn index(self) -> Option<usize> {
        match self.0.checked_sub(1) {
            Some(index) => Some(index as usize),
            None => None,
        }
    }
}

/// What a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No range: the entry can be had.
    Unused,
    /// In the free list of its zone and size. Two that touch lie in different zones.
    Free,
    /// Handed out, or in a magazine.
    Out,
    /// Never handed out.
    Reserved,
}

/// A range. All of them together are the aperture, without holes.
#[derive(Clone, Copy, Debug)]
pub(in crate::bfn) struct Entry {
    pub(super) first: u64,
    pub(super) pages: u64,
    /// The range that ends where this begins.
    pub(super) before: Id,
    /// The range that begins where this ends.
    pub(super) after: Id,
    /// Neighbours in a free list; of an unused entry, `next` is the next unused one.
    pub(super) previous: Id,
    pub(super) next: Id,
    pub(super) state: State,
    /// Of its first frame. Free ranges lie in one zone as a whole.
    pub(super) zone: u8,
}

impl Entry {
    pub(in crate::bfn) const UNUSED: Self = Self {
        first: 0,
        pages: 0,
        before: Id::NONE,
        after: Id::NONE,
        previous: Id::NONE,
        next: Id::NONE,
        state: State::Unused,
        zone: 0,
    };

    pub(super) const fn last(&self) -> u64 {
        self.first.saturating_add(self.pages.saturating_sub(1))
    }
}
